"use strict";
// The benchmark contract, served by Node's socket.io with its defaults (ws, no compression of frames).

const { createServer } = require("node:http");
const { parseArgs } = require("node:util");
const { Server } = require("socket.io");

const { values: flags } = parseArgs({
  options: {
    port: { type: "string", default: "3000" },
    host: { type: "string", default: "127.0.0.1" },
    threads: { type: "string", default: "1" },
  },
});
if (flags.threads !== "1") {
  console.error("node has one thread; --threads is not for it");
  process.exit(2);
}

const server = createServer((request, response) => {
  response.writeHead(request.url === "/health" ? 200 : 404).end();
});
const io = new Server(server, { serveClient: false });

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

server.listen(Number(flags.port), flags.host, () => console.log(`node on ${flags.host}:${flags.port}`));
