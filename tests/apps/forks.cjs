// Forks its own cluster: before its workers listen, or, as with @socket.io/sticky, after its primary does.

"use strict";

const cluster = require("cluster");
const { createServer } = require("http");

const server = createServer((request, response) => response.end(`pid ${process.pid}`));
const fork = () => [1, 2].forEach(() => cluster.fork());

if (cluster.isPrimary && process.env.FIRST === "listen") {
  cluster.on("message", () => {});
  server.listen(Number(process.env.PORT), "127.0.0.1");
  fork();
} else if (cluster.isPrimary) fork();
else if (process.env.FIRST !== "listen") server.listen(Number(process.env.PORT), "127.0.0.1");
