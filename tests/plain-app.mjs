// An unmodified Socket.IO app that knows of no balancer: `node plain-app.mjs NAME PORT [JSON OPTIONS]`.
//
// It says on its standard output which POSTs of `/post` it got, a line each.

import { createServer } from "node:http";
import { Server } from "socket.io";

const [name, port, options = "{}"] = process.argv.slice(2);
const http = createServer((request, response) => {
  if (request.method === "POST") {
    request.resume().on("end", () => {
      process.stdout.write(`post ${new URL(request.url, "http://a").searchParams.get("id")}\n`);
      response.end(name);
    });
  } else if (request.url === "/headers") {
    response.setHeader("content-type", "application/json").end(JSON.stringify(request.headers));
  } else {
    response.end(name);
  }
});
const io = new Server(http, JSON.parse(options));
io.on("connection", (socket) => {
  socket.emit("home", name);
  socket.on("echo", (x, ack) => ack(x));
});
http.listen(Number(port), "127.0.0.1", () => process.stdout.write("ready\n"));
