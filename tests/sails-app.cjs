// A Sails app as `sails new --minimal` with sockets has it: `node sails-app.cjs PORT`. It knows of no balancer but for `trust proxy`.

const sails = require("sails").constructor;
const app = new sails();
app.lift(
  {
    appPath: require("node:os").tmpdir(),
    port: Number(process.argv[2]),
    explicitHost: "127.0.0.1",
    log: { level: "error" },
    hooks: { grunt: false, sockets: require("sails-hook-sockets"), views: false, i18n: false, pubsub: false },
    http: { trustProxy: true },
    security: { cors: { allRoutes: false } },
    sockets: { onlyAllowOrigins: undefined, transports: ["polling", "websocket"] },
    session: { secret: "of this test alone" },
    routes: {
      "GET /hello": (request, response) => response.json({ hello: request.param("name"), secure: request.isSocket || request.secure, socket: Boolean(request.isSocket) }),
    },
  },
  (error) => {
    if (!error) return;
    console.error(error);
    process.exit(1);
  },
);
process.on("SIGTERM", () => app.lower(() => process.exit(0)));
