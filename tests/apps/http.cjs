// Plain http, in the words of socket.io 2 where that is asked for.

"use strict";

const socketio = require(process.env.SOCKETIO ?? "socket.io");
const handlers = require("./handlers.cjs");

const server = require("http").createServer((request, response) => response.end("hello"));
handlers(socketio.Server ? new socketio.Server(server, { allowEIO3: true }) : socketio(server));
server.listen(process.env.PORT, "127.0.0.1");
