// A Node.js member of a cluster, written with the official packages: what Sockeye's nodes have to get on with.
//
//   node member.mjs --port 3000 --adapter redis://127.0.0.1:6379 [--recovery]
//
// The URL is as Sockeye's: redis://, redis+sharded://…?mode=dynamic, redis+streams://, postgres://, mongodb://…?collection=… The app is the
// conformance server's with --control: the namespaces /, /custom and /dynamic-*, and /control, by which a client drives this member.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "socket.io";

const { values: flags } = parseArgs({
  options: {
    port: { type: "string", default: "3000" },
    adapter: { type: "string" },
    recovery: { type: "boolean", default: false },
  },
});

/** The adapter that a URL names, and what joins the cluster's timings to the server's. */
const ADAPTERS = {
  async redis(url, options) {
    const { createAdapter } = await import("@socket.io/redis-adapter");
    const [pub, sub] = await redis(url, 2);
    return createAdapter(pub, sub, { key: options.get("channel_prefix") ?? "socket.io" });
  },
  async "redis+sharded"(url, options) {
    const { createShardedAdapter } = await import("@socket.io/redis-adapter");
    const [pub, sub] = await redis(url, 2);
    return createShardedAdapter(pub, sub, { subscriptionMode: options.get("mode") ?? "dynamic" });
  },
  async "redis+streams"(url, options) {
    const { createAdapter } = await import("@socket.io/redis-streams-adapter");
    const [client] = await redis(url, 1);
    return createAdapter(client, { streamCount: Number(options.get("stream_count") ?? 1) });
  },
  async postgres(url) {
    const { default: pg } = await import("pg");
    const { createAdapter } = await import("@socket.io/postgres-adapter");
    const pool = new pg.Pool({ connectionString: plain(url) });
    await pool.query(
      "CREATE TABLE IF NOT EXISTS socket_io_attachments (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)",
    );
    return createAdapter(pool);
  },
  async mongodb(url, options) {
    const { MongoClient } = await import("mongodb");
    const { createAdapter } = await import("@socket.io/mongo-adapter");
    const client = await MongoClient.connect(plain(url) + "?directConnection=true");
    const name = options.get("collection") ?? "socket_io";
    const capped = options.get("mode") === "tailable" || options.get("created_at") === "false";
    // As the official documentation has it: it may be there.
    if (capped) await client.db().createCollection(name, { capped: true, size: 1e6 }).catch(() => {});
    return createAdapter(client.db().collection(name), { addCreatedAtField: !capped });
  },
};

/** The URL without its options. */
function plain(url) {
  return url.split("?")[0];
}

async function redis(url, count) {
  const { createClient } = await import("redis");
  const clients = Array.from({ length: count }, () => createClient({ url: plain(url).replace(/^redis\+\w+:/, "redis:") }));
  // An error without a listener ends the process; the client connects again by itself.
  for (const client of clients) client.on("error", () => {});
  await Promise.all(clients.map((client) => client.connect()));
  return clients;
}

const [scheme] = flags.adapter.split("://");
const adapter = await ADAPTERS[scheme](flags.adapter, new URLSearchParams(flags.adapter.split("?")[1] ?? ""));
const http = createServer((_, response) => response.writeHead(404).end());
const io = new Server(http, { adapter, cors: { origin: "*" }, ...(flags.recovery ? { connectionStateRecovery: {} } : {}) });
const control = io.of("/control");

app(io.of("/"));
app(io.of("/custom"));
const dynamic = io.of(/^\/dynamic-.*$/);
dynamic.on("connection", greet);
io.on("new_namespace", (nsp) => nsp.name.startsWith("/dynamic-") && shows(nsp));

function app(nsp) {
  nsp.on("connection", greet);
  shows(nsp);
}

function greet(socket) {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
}

/** The official server has no catch-all for these; its event emitter does. */
function shows(nsp) {
  nsp._onServerSideEmit = (args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : () => {};
    const [event, ...rest] = args;
    control.local.emit("server-side-event", nsp.name, event, rest);
    answer(rest[0]);
  };
}

control.on("connection", (socket) => {
  const chosen = ({ nsp = "/", rooms = [], except = [], flags = {} }) => {
    let broadcast = io.of(nsp).to(rooms).except(except);
    if (flags.local) broadcast = broadcast.local;
    if (flags.volatile) broadcast = broadcast.volatile;
    return flags.timeout ? broadcast.timeout(flags.timeout) : broadcast;
  };
  const told = ({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake });
  const asked = (name, call) =>
    socket.on(name, async (options, ...args) => {
      const answer = args.pop();
      try {
        answer(null, await call(options, ...args));
      } catch (error) {
        answer(error.message, error.responses ?? []);
      }
    });
  const done = (name, call) =>
    socket.on(name, (options, ...args) => {
      const answer = args.pop();
      call(options, ...args);
      answer(null);
    });
  done("emit", (options, ...args) => chosen(options).emit(...args));
  done("sockets-join", (options, rooms) => chosen(options).socketsJoin(rooms));
  done("sockets-leave", (options, rooms) => chosen(options).socketsLeave(rooms));
  done("disconnect-sockets", (options, close) => chosen(options).disconnectSockets(close));
  done("server-side-emit", ({ nsp = "/" }, ...args) => io.of(nsp).serverSideEmit(...args));
  asked("emit-ack", (options, ...args) => chosen({ ...options, flags: { timeout: 5000, ...options.flags } }).emitWithAck(...args));
  asked("fetch-sockets", async (options) => (await chosen(options).fetchSockets()).map(told));
  asked("count", async (options) => (await chosen(options).fetchSockets()).length);
  asked("rooms", async (options) => [...new Set((await chosen(options).fetchSockets()).flatMap(({ rooms }) => [...rooms]))].sort());
  asked("server-side-emit-ack", ({ nsp = "/" }, ...args) => io.of(nsp).serverSideEmitWithAck(...args));
});

// Official servers write a session down when its client goes, and tell nobody when it is written: one that ends at once writes none.
if (flags.recovery) {
  process.once("SIGTERM", () => {
    const end = () => process.exit(0);
    setTimeout(end, 2_000);
    io.close().finally(() => setTimeout(end, 600));
  });
}

http.listen(Number(flags.port), "127.0.0.1", () => console.log("ready"));
