// Forks its own cluster.

"use strict";

const cluster = require("cluster");

if (cluster.isPrimary) {
  for (let i = 0; i < 2; i += 1) cluster.fork();
} else {
  require("http").createServer((request, response) => response.end(`pid ${process.pid}`)).listen(Number(process.env.PORT), "127.0.0.1");
}
