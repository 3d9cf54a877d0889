// What the apps `chat`, `contract` and `conformance` do, in the words of the official server.

/** The chat of requirement S1: welcome to one, messages to all, a silent goodbye to a closed socket. */
export function chat(io) {
  io.on("connection", (socket) => {
    socket.emit("info", { msg: "welcome" });
    socket.on("msg", (msg) => io.sockets.emit("msg", { msg }));
    socket.on("disconnect", () => socket.emit("info", { msg: "bye" }));
  });
}

/** The server half of the end-to-end scenarios: acks, binary, rooms, broadcasts, and the server's own words. */
export function contract(io) {
  for (const name of ["/", "/custom"]) {
    const nsp = io.of(name);
    nsp.use((socket, next) => {
      const { deny } = socket.handshake.auth;
      if (!deny) return next();
      next(Object.assign(new Error(deny), { data: { denied: true } }));
    });
    nsp.on("connection", (socket) => {
      socket.emit("auth", socket.handshake.auth);
      socket.on("message", (...args) => socket.emit("message-back", ...args));
      socket.on("message-with-ack", (...args) => args.pop()(...args));
      socket.on("echo", (x) => socket.emit("echo", x));
      socket.on("echo-ack", (x, ack) => ack(x));
      socket.on("join", (room, ack) => (socket.join(room), ack()));
      socket.on("leave", (room, ack) => (socket.leave(room), ack()));
      socket.on("rooms", (ack) => ack([...socket.rooms]));
      socket.on("room", (room, x) => nsp.to(room).emit("room", x));
      socket.on("broadcast", (x) => nsp.emit("broadcast", x));
      socket.on("broadcast-others", (x) => socket.broadcast.emit("broadcast-others", x));
      socket.on("kick", () => socket.disconnect());
      socket.on("kick-close", () => socket.disconnect(true));
      socket.on("ask", (x, ack) => socket.emit("question", x, (y) => ack(y)));
      socket.on("whoami", (ack) =>
        ack({ worker: "reference", pid: process.pid, transport: socket.conn.transport.name, id: socket.id }),
      );
      socket.on("disconnect", (reason) => nsp.to("watch").emit("gone", { id: socket.id, reason }));
    });
  }
}

/** The server that the official Socket.IO v5 suite expects. */
export function conformance(io) {
  io.on("connection", (socket) => {
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
  });
  io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));
}
