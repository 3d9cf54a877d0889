// A server of the official software on a backplane, with one client, driven by the Rust tests of our adapters
// (`sockeye_adapter_suite::official`).
//
//   node official-node.mjs <postgres|mongo> <url> <namespace> [<json options>]
//
// Commands come as lines of JSON on stdin, what happens goes out as lines of JSON on stdout. Bytes are written {"bytes":"<base64>"}.
// It ends when stdin does.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const [kind, url, name, json = "{}"] = process.argv.slice(2);
const options = JSON.parse(json);
const open = {
  async postgres() {
    const [{ default: pg }, { createAdapter }, { Emitter }] = await Promise.all([import("pg"), import("@socket.io/postgres-adapter"), import("@socket.io/postgres-emitter")]);
    const pool = new pg.Pool({ connectionString: url });
    return { adapter: createAdapter(pool, options.adapter), emitter: new Emitter(pool, "/", options.adapter), close: () => pool.end() };
  },
  async mongo() {
    const [{ MongoClient }, { createAdapter }, { Emitter }] = await Promise.all([import("mongodb"), import("@socket.io/mongo-adapter"), import("@socket.io/mongo-emitter")]);
    const client = await MongoClient.connect(url);
    const database = client.db(options.database);
    // As the official documentation has it: it may be there.
    if (options.capped) await database.createCollection(options.collection, { capped: true, size: options.capped }).catch(() => {});
    const collection = database.collection(options.collection);
    return { adapter: createAdapter(collection, options.adapter), emitter: new Emitter(collection, "/", options.adapter), close: () => client.close() };
  },
};
const backplane = await open[kind]();

const http = createServer();
const io = new Server(http, { adapter: backplane.adapter, ...options.server });
const nsp = io.of(name);
nsp.on("connection", (socket) => {
  socket.join("kitchen");
  socket.data = { name: "node's client", n: 1 };
});
nsp.on("tell", (...args) => say({ server: ["tell", ...args] }));
nsp.on("ask", (...args) => {
  const ack = args.pop();
  say({ server: ["ask", ...args] });
  ack({ answer: args[0] });
});
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));

const client = connect(`http://127.0.0.1:${http.address().port}${name}`, { transports: ["websocket"], reconnection: false });
client.on("disconnect", (reason) => say({ disconnect: reason }));
client.onAny((event, ...args) => {
  const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
  say({ client: [event, ...args] });
  ack?.(args.find((arg) => Buffer.isBuffer(arg)) ?? { heard: event });
});
await new Promise((resolve) => client.on("connect", resolve));
say({ ready: client.id });

const commands = {
  emit: ({ to, except, args }) => target(to, except).emit(...bytes(args)),
  async emitWithAck({ args }) {
    say({ acks: await nsp.timeout(4000).emitWithAck(...bytes(args)) });
  },
  async fetchSockets() {
    say({ sockets: (await nsp.fetchSockets()).map(({ id, rooms, data }) => ({ id, rooms: [...rooms], data })) });
  },
  socketsJoin: ({ to, rooms }) => target(to).socketsJoin(rooms),
  socketsLeave: ({ to, rooms }) => target(to).socketsLeave(rooms),
  disconnectSockets: ({ to, close }) => target(to).disconnectSockets(close),
  serverSideEmit: ({ args }) => nsp.serverSideEmit(...bytes(args)),
  async serverSideEmitWithAck({ args }) {
    say({ answers: await nsp.serverSideEmitWithAck(...bytes(args)) });
  },
  emitter({ call, to, args }) {
    const emitter = backplane.emitter.of(name);
    (to ? emitter.to(to) : emitter)[call](...bytes(args));
  },
  async rooms() {
    say({ rooms: (await nsp.local.fetchSockets()).map(({ rooms }) => [...rooms]) });
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  Promise.resolve(commands[command.do](command)).catch((error) => say({ error: error.message }));
}
client.close();
await io.close();
await backplane.close();

function target(to, except) {
  let operator = to ? nsp.to(to) : nsp;
  if (except) operator = operator.except(except);
  return operator;
}

function say(line) {
  process.stdout.write(`${JSON.stringify(line, (_key, value) => (value?.type === "Buffer" ? { bytes: Buffer.from(value.data).toString("base64") } : value))}\n`);
}

function bytes(value) {
  if (Array.isArray(value)) return value.map(bytes);
  if (typeof value?.bytes === "string") return Buffer.from(value.bytes, "base64");
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, bytes(item)]));
}
