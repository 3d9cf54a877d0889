"use strict";
// What @socket.io/pm2 asks of an app: it does not listen, its clients come from the daemon (PM2_PORT). Else as peers/node/server.js.

const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/cluster-adapter");
const { setupWorker } = require("@socket.io/sticky");
const { Server } = require("socket.io");

const io = new Server(createServer(), { serveClient: false, adapter: createAdapter() });
setupWorker(io);

io.on("connection", (socket) => {
  socket.on("echo", (x) => socket.emit("echo", x));
  socket.on("echo-ack", (x, ack) => ack(x));
});
