// The chat of the tutorials: express, http, socket.io.

"use strict";

const express = require("express");
const { createServer } = require("http");
const { Server } = require(process.env.SOCKETIO ?? "socket.io");

const app = express();
const server = createServer(app);
require("./handlers.cjs")(new Server(server, JSON.parse(process.env.OPTIONS ?? "{}")));
app.get("/who", (request, response) => response.json({ pid: process.pid, ip: request.ip, headers: Object.keys(request.headers), raw: request.rawHeaders, port: request.socket.localPort }));
server.listen({ port: process.env.PORT, host: "127.0.0.1" }, () => console.log(`listening ${JSON.stringify(server.address())} PORT=${process.env.PORT}`));
