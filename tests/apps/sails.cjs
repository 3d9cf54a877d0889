// Sails, with its own hook for sockets; everything that asks for files or builds is off.

"use strict";

const sails = require("sails");

const hooks = { grunt: false, session: false, csrf: false, i18n: false, pubsub: false };
sails.lift({ appPath: __dirname, port: Number(process.env.PORT), hooks, log: { level: "warn" }, sockets: { transports: ["polling", "websocket"] } }, (error) => {
  if (error) throw error;
  require("./handlers.cjs")(sails.io);
  console.log("lifted");
});
