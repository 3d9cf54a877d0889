// A server of the official software for the tests of our client (crates/client/tests). What it does, the example `conformance` does
// with --for-client: the same rows are run against both.
//
//   node client-node.mjs [<json options of the server>] [<port>]
//
// With the environment's TLS_KEY and TLS_CERT (PEM) it speaks HTTPS. It says {"port":N} when it listens, and ends when stdin does.

import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { Server } from "socket.io";

const [json = "{}", port = "0"] = process.argv.slice(2);
const { TLS_KEY: key, TLS_CERT: cert } = process.env;
const http = key ? createSecureServer({ key, cert }) : createServer();
const io = new Server(http, JSON.parse(json));

let lastCookie = "";
io.engine.on("headers", (_headers, request) => (lastCookie = request.headers.cookie ?? ""));

io.of("/guarded").use((socket, next) => {
  if (socket.handshake.auth.token === "good") return next();
  next(Object.assign(new Error("wrong token"), { data: { code: 42 } }));
});
for (const name of ["/", "/custom", "/guarded"]) serve(io.of(name));

http.listen(Number(port), "127.0.0.1", () => console.log(JSON.stringify({ port: http.address().port })));
process.stdin.on("end", () => process.exit()).resume();

function serve(nsp) {
  nsp.on("connection", (socket) => {
    if (!socket.recovered) socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
    socket.on("say", (...args) => nsp.emit("said", ...args));
    socket.on("ask", (...args) => socket.emit("question", ...args, (...answer) => socket.emit("heard", ...answer)));
    socket.on("handshake", (done) => done(socket.handshake.headers["x-test"] ?? null, socket.handshake.query.a ?? null));
    socket.on("cookie", (done) => done(lastCookie));
    socket.on("out", () => socket.disconnect());
    socket.on("disconnect", (reason) => nsp.emit("left", reason));
  });
}
