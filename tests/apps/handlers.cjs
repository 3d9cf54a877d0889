// What each app does with its Socket.IO server; everything here is socket.io's own, in any version from 2.5 on.

"use strict";

module.exports = (io) => {
  io.on("connection", (socket) => {
    socket.on("whoami", (ack) => ack({ pid: process.pid, id: socket.id, sid: socket.client.id, address: socket.handshake.address, recovered: Boolean(socket.recovered) }));
    socket.on("say", (...args) => io.emit("said", ...args));
    socket.on("others", (x) => socket.broadcast.emit("said", x));
    socket.on("to", (room, x) => io.to(room).emit("said", x));
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack();
    });
    socket.on("echo", (x, ack) => ack(x));
    socket.on("count", (ack) => io.timeout(5000).emit("question", (error, answers) => ack({ error: error?.message, answers })));
    socket.on("fetch", async (room, ack) => ack((await io.in(room).fetchSockets()).map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, address: handshake.address }))));
    socket.on("all", async (ack) => ack([...(await io.allSockets())]));
    socket.on("data", (data, ack) => ack((socket.data = data)));
    socket.on("servers", (x, ack) => io.serverSideEmit("which", x, (error, answers) => ack({ error: error?.message, answers })));
    socket.on("gather", (from, room) => io.in(from).socketsJoin(room));
    socket.on("scatter", (room) => io.in(room).socketsLeave(room));
    socket.on("kick", (room) => io.in(room).disconnectSockets(true));
    socket.on("drop", () => socket.conn.close());
  });
  io.on("which", (x, ack) => ack({ pid: process.pid, x }));
  return io;
};
