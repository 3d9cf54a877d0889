// The official way to use several processes: @socket.io/sticky in front, @socket.io/cluster-adapter between.

"use strict";

const cluster = require("cluster");
const { createServer } = require("http");
const { createAdapter, setupPrimary } = require("@socket.io/cluster-adapter");
const { setupMaster, setupWorker } = require("@socket.io/sticky");
const { Server } = require("socket.io");

if (cluster.isPrimary) {
  const server = createServer();
  setupMaster(server, { loadBalancingMethod: "least-connection" });
  setupPrimary();
  cluster.setupPrimary({ serialization: "advanced" });
  server.listen(Number(process.env.PORT), "127.0.0.1");
  for (let i = 0; i < 2; i += 1) cluster.fork();
} else {
  const io = require("./handlers.cjs")(new Server(createServer()));
  io.adapter(createAdapter());
  setupWorker(io);
}
