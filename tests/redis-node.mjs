// A Node.js server with the official packages on a Redis, for tests of other servers on the same one: node redis-node.mjs PORT KIND
// KIND is classic, classic-specific, sharded-static, sharded-dynamic, sharded-dynamic-private, streams, streams-4, or emitter (no server).
// A line of JSON in is an order, a line out what came of it or what was heard. Binary parts are {"$bin": "hex"}.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const [port, kind] = process.argv.slice(2);
const url = `redis://127.0.0.1:${port}`;

const out = (value) => process.stdout.write(`${JSON.stringify(packed(value))}\n`);
const packed = (value) => {
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return { $bin: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(packed);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, packed(item)]));
  return value;
};
const unpacked = (value) => {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value && typeof value === "object") {
    if (typeof value.$bin === "string") return Buffer.from(value.$bin, "hex");
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpacked(item)]));
  }
  return value;
};

const redis = async () => {
  const client = createClient({ url });
  client.on("error", () => {});
  return client.connect();
};

const adapters = {
  classic: async () => createAdapter(await redis(), await redis()),
  "classic-specific": async () => createAdapter(new Redis(url), new Redis(url), { publishOnSpecificResponseChannel: true }),
  streams: async () => createStreamsAdapter(await redis()),
  "streams-4": async () => createStreamsAdapter(new Redis(url), { streamCount: 4 }),
};
for (const subscriptionMode of ["static", "dynamic", "dynamic-private"]) {
  adapters[`sharded-${subscriptionMode}`] = async () => createShardedAdapter(await redis(), await redis(), { subscriptionMode });
}

const target = (from, order) => {
  let operator = from;
  for (const room of order.rooms ?? []) operator = operator.to(room);
  for (const room of order.except ?? []) operator = operator.except(room);
  if (order.volatile) operator = operator.volatile;
  if (order.compress !== undefined) operator = operator.compress(order.compress);
  if (order.timeout) operator = operator.timeout(order.timeout);
  return operator;
};

const orders = (from) => ({
  emit: (order) => target(from, order).emit(...unpacked(order.args)),
  join: (order) => target(from, order).socketsJoin(order.names),
  leave: (order) => target(from, order).socketsLeave(order.names),
  disconnect: (order) => target(from, order).disconnectSockets(order.close),
  tell: (order) => from.serverSideEmit(...order.args),
});

async function main() {
  if (kind === "emitter") {
    serve(orders(new Emitter(await redis())));
    return;
  }
  const http = createServer();
  const io = new Server(http, { adapter: await adapters[kind](), connectionStateRecovery: kind.startsWith("streams") ? {} : undefined });
  io.on("connection", (socket) => {
    if (!socket.recovered) {
      socket.data = { n: 1 };
      socket.join("kitchen");
    }
    out({ connected: socket.id, pid: socket.pid, recovered: socket.recovered, rooms: [...socket.rooms], data: socket.data });
    socket.on("disconnect", (reason) => out({ disconnected: reason }));
  });
  io.on("asked", (...args) => {
    const answer = args.pop();
    out({ told: ["asked", ...args] });
    answer(`${args[0]} from node`);
  });
  io.on("told", (...args) => out({ told: ["told", ...args] }));
  await new Promise((done) => http.listen(0, "127.0.0.1", done));
  const client = connect(`http://127.0.0.1:${http.address().port}`, { transports: ["websocket"], reconnection: false });
  client.onAny((...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
    out({ heard: args });
    answer?.({ got: args[1] });
  });
  await new Promise((done) => client.once("connect", done));
  serve({
    ...orders(io),
    ask: (order) => target(io, order).emit(...unpacked(order.args), (error, answers) => out({ answers, error: error?.message })),
    fetch: async (order) => {
      const sockets = await target(io, order).fetchSockets();
      out({ sockets: sockets.map(({ id, rooms, data }) => ({ id, rooms: [...rooms], data })) });
    },
    "ask-servers": (order) => io.serverSideEmit(...order.args, (error, answers) => out({ answers, error: error?.message })),
    rooms: async () => out({ rooms: [...(await io.of("/").adapter.allRooms())] }),
    who: async () => {
      const [{ id, data }] = await io.local.fetchSockets();
      out({ connected: id, pid: io.sockets.sockets.get(id).pid, data });
    },
    lose: () => client.io.engine.close(),
    return: () => client.connect(),
  });
}

function serve(orders) {
  createInterface({ input: process.stdin }).on("line", async (line) => {
    const order = JSON.parse(line);
    await orders[order.do](order);
    out({ done: order.do });
  }).on("close", () => process.exit(0));
  out({ ready: true });
}

main();
