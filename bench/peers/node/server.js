"use strict";
// The benchmark contract, served by Node's socket.io with its defaults (ws, no compression of frames). With `--adapter redis://…` as a node
// of a cluster; with `--adapter cluster` two workers of one primary, the second on the port after the first.

const cluster = require("node:cluster");
const { createServer } = require("node:http");
const { parseArgs } = require("node:util");
const { Server } = require("socket.io");

const { values: flags } = parseArgs({
  options: {
    port: { type: "string", default: "3000" },
    host: { type: "string", default: "127.0.0.1" },
    threads: { type: "string", default: "1" },
    adapter: { type: "string" },
  },
});
if (flags.threads !== "1") {
  console.error("node has one thread; --threads is not for it");
  process.exit(2);
}

async function adapterOf(url) {
  if (!url) return undefined;
  if (url === "cluster") return require("@socket.io/cluster-adapter").createAdapter();
  const { createClient } = require("redis");
  const pub = createClient({ url });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  return require("@socket.io/redis-adapter").createAdapter(pub, sub);
}

function serve(adapter) {
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/health" ? 200 : 404).end();
  });
  const io = new Server(server, { serveClient: false, adapter });

  io.on("connection", (socket) => {
    socket.on("echo", (x) => socket.emit("echo", x));
    socket.on("echo-ack", (x, ack) => ack(x));
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack();
    });
    socket.on("room", (room, x) => io.to(room).emit("room", x));
    socket.on("broadcast", (x) => io.emit("broadcast", x));
  });

  const port = Number(flags.port) + (cluster.isWorker ? Number(process.env.NUMBER) : 0);
  server.listen(port, flags.host, () => console.log(`node on ${flags.host}:${port}`));
}

if (flags.adapter === "cluster" && cluster.isPrimary) {
  require("@socket.io/cluster-adapter").setupPrimary();
  for (const number of [0, 1]) cluster.fork({ NUMBER: number });
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill();
    process.exit(0);
  });
} else {
  adapterOf(flags.adapter).then(serve);
}
