// Gives Socket.IO an app of uWebSockets.js, as far as that is asked: the package is not on the registry. Its port is taken natively, so here by nobody.

"use strict";

const { Server } = require("socket.io");

const app = new Proxy({}, { get: (target, name) => (name === "then" ? undefined : () => app) });
require("./handlers.cjs")(new Server()).attachApp(app);
console.log("listens by itself");
setInterval(() => {}, 1000);
