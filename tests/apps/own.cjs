// An id generator and an adapter of the app's own.

"use strict";

const { createServer } = require("http");
const { Server } = require("socket.io");
const { Adapter } = require("socket.io-adapter");

class Mine extends Adapter {
  broadcast(packet, opts) {
    packet.data.push("mine");
    super.broadcast(packet, opts);
  }
}

const server = createServer();
const io = require("./handlers.cjs")(new Server(server));
if (process.env.OWN === "adapter") io.adapter(Mine);
if (process.env.OWN === "ids") {
  let n = 0;
  io.engine.generateId = () => `mine-${process.pid}-${(n += 1)}`;
}
server.listen(process.env.PORT, "127.0.0.1");
