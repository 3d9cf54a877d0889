// Two Socket.IO servers on one port, and a third one on a second port that has the first one's path.

"use strict";

const { createServer } = require("http");
const { Server } = require("socket.io");
const handlers = require("./handlers.cjs");

const [first, second] = [createServer(), createServer()];
handlers(new Server(first));
handlers(new Server(first, { path: "/other" }));
handlers(new Server(second));
first.listen(Number(process.env.PORT), "127.0.0.1");
second.listen(Number(process.env.PORT) + 1, "127.0.0.1");
// Neither is ours: a port of the system's choosing, and a Unix socket.
createServer().listen(0, "127.0.0.1", function () {
  console.log(`port ${this.address().port > 0}`);
});
