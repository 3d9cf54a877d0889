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

/** What the contract leaves out, an event a feature: the words of `examples/chat/src/features.rs`. */
export function features(io) {
  const main = io.of("/");
  main.use((socket, next) => {
    socket.use(([event], next) => next(event === "forbidden" ? new Error("not you") : undefined));
    next();
  });
  main.on("hello", (x, ack) => {
    main.local.emit("hello", x);
    ack?.({ heard: x });
  });
  for (const what of ["create-room", "join-room", "leave-room", "delete-room"]) {
    main.adapter.on(what, (room) => room.startsWith("seen ") && main.local.to("watch").emit("room", what, room));
  }
  io.on("new_namespace", (namespace) => main.local.emit("namespace", namespace.name));
  main.on("connection", (socket) => {
    toldToOne(socket);
    toldToMany(main, socket);
    asked(main, socket);
    moved(main, socket);
    socket.on("server-side-emit", (x) => main.serverSideEmit("hello", x));
    socket.on("server-side-ask", async (x, ack) => ack(await main.serverSideEmitWithAck("hello", x)));
    socket.onAny((event, ...args) => event === "any" && socket.emit("any-in", ...args));
    socket.on("any", (...args) => socket.emit("any-out", ...args));
    socket.onAnyOutgoing((event, ...args) => event === "any-out" && main.local.emit("any-went-out", ...args));
    socket.on("error", (error) => socket.emit("refused", error.message));
  });
  const rooms = io.of(/^\/room-.*$/);
  rooms.on("connection", (socket) => {
    socket.on("say", (...args) => socket.nsp.emit("said", ...args));
    socket.on("say-to-all-rooms", (...args) => rooms.emit("said", ...args));
  });
  io.of((name, auth, next) => next(null, name.startsWith("/team/") && auth.token === "member")).on("connection", (socket) =>
    socket.on("say", (...args) => socket.nsp.emit("said", ...args)),
  );
}

function toldToOne(socket) {
  const { auth, query, headers } = socket.handshake;
  socket.on("message", (...args) => socket.send(...args));
  socket.on("handshake", (ack) =>
    ack({ auth, query: query.who ?? null, header: headers["x-who"] ?? null, cookie: headers.cookie ?? null }),
  );
  socket.on("volatile-flood", async (count, text) => {
    for (let number = 0; number < count; number += 1) {
      socket.volatile.emit("flood", number, text);
      await new Promise(setImmediate);
    }
    socket.join("flooded");
    socket.emit("flooded", count);
  });
  socket.on("compress", (compress, text) => socket.compress(compress).emit("long", text));
}

function toldToMany(main, socket) {
  const chosen = (operator, to, except) => (to.length > 0 ? operator.to(to) : operator).except(except);
  socket.on("join", (rooms, ack) => (socket.join(rooms), ack()));
  socket.on("leave", (room, ack) => (socket.leave(room), ack()));
  socket.on("say", (to, except, ...args) => chosen(main, to, except).emit("said", ...args));
  socket.on("say-others", (to, except, ...args) => chosen(socket.broadcast, to, except).emit("said", ...args));
  socket.on("say-here", (...args) => main.local.emit("said", ...args));
  socket.on("say-volatile", (...args) => main.volatile.emit("said", ...args));
}

function asked(main, socket) {
  socket.on("ask-within", async (ms, ack) => {
    const said = await socket.timeout(ms).emitWithAck("question").catch((error) => error);
    ack(said instanceof Error ? { error: said.message } : { said });
  });
  socket.on("ask-room", (room, ms, ack) => {
    main.to(room).timeout(ms).emit("question", (error, said) => ack({ said, timedOut: Boolean(error) }));
  });
  socket.on("ask-room-bytes", async (room, bytes, ack) => ack(await main.to(room).timeout(10_000).emitWithAck("question", room, bytes)));
}

function moved(main, socket) {
  socket.on("set-data", (data, ack) => (Object.assign(socket.data, data), ack()));
  socket.on("fetch", async (room, ack) => {
    const sockets = await main.to(room).fetchSockets();
    ack(sockets.map(({ id, rooms, data }) => ({ id, rooms: [...rooms].sort(), data })));
  });
  socket.on("tell-each", async (room, text) => {
    for (const one of await main.to(room).fetchSockets()) one.emit("said", text);
  });
  socket.on("sockets-join", (room, other) => main.to(room).socketsJoin(other));
  socket.on("sockets-leave", (room, other) => main.to(room).socketsLeave(other));
  socket.on("disconnect-sockets", (room, close) => main.to(room).disconnectSockets(close));
  socket.on("disconnecting", (reason) => main.to("watch").emit("leaving", { id: socket.id, rooms: [...socket.rooms].sort(), reason }));
}
