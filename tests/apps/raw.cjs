// A server of bytes beside one of HTTP.

"use strict";

const { createServer } = require("http");
const net = require("net");

const port = Number(process.env.PORT);
createServer((request, response) => response.end(`pid ${process.pid}`)).listen(port, "127.0.0.1");
if (process.env.RAW) net.createServer((socket) => socket.pipe(socket).write(`pid ${process.pid}\n`)).listen(port + 1, "127.0.0.1");
