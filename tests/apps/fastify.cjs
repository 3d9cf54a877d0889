// fastify listens twice on one port, for both addresses of localhost.

"use strict";

const fastify = require("fastify")();
const { Server } = require("socket.io");

fastify.get("/who", async (request) => ({ pid: process.pid, ip: request.ip }));
fastify.ready(() => require("./handlers.cjs")(new Server(fastify.server)));
fastify.listen({ port: Number(process.env.PORT) });
