// The oracle: the apps that Sockeye bundles, written with the official packages, in one Node.js process.
//
// Every end-to-end scenario that makes sense for one process must pass against this server too
// (`node run.mjs --reference`): what it does is right by definition. It is a test fixture and no part of the product.
//
//   node server.mjs --app chat|contract|features|msgpack --port 3000
//                                                        serves the page, the client and the app, as `sockeye up` does
//                   [--client own]                       Sockeye's own small browser client instead of the official one
//   node server.mjs --app conformance [--engine] --port  the test server of the official protocol suites
//                   [--allow-eio3] [--msgpack]           clients of Engine.IO v3 as well; the other parser

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Server as EngineServer } from "engine.io";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";
import { chat, conformance, contract, features } from "./apps.mjs";

const { values: flags } = parseArgs({
  options: {
    app: { type: "string", default: "chat" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "3000" },
    engine: { type: "boolean", default: false },
    "per-message-deflate": { type: "boolean", default: false },
    "context-takeover": { type: "boolean", default: false },
    patient: { type: "boolean", default: false },
    "allow-eio3": { type: "boolean", default: false },
    msgpack: { type: "boolean", default: false },
    client: { type: "string", default: "official" },
  },
});

const here = dirname(fileURLToPath(import.meta.url));
const publicDir = join(here, "../../examples/chat/public");
const ownClient = join(here, "../../crates/sockeye/client/socket.io.js");
const http = createServer(plain);

if (flags.app === "conformance") {
  const alone = { serverNoContextTakeover: true, clientNoContextTakeover: true };
  const perMessageDeflate = flags["per-message-deflate"] && (flags["context-takeover"] || alone);
  const timings = { pingInterval: 300, pingTimeout: flags.patient ? 20_000 : 200, maxHttpBufferSize: 1e6, cors: { origin: "*" }, allowEIO3: flags["allow-eio3"], perMessageDeflate };
  if (flags.engine) {
    const engine = new EngineServer(timings);
    engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
    engine.attach(http, { path: "/engine.io/" });
  } else {
    const parser = flags.msgpack ? { parser: msgpack } : {};
    conformance(new Server(http, { ...timings, ...parser, connectTimeout: flags.patient ? 45_000 : 1000 }));
  }
} else {
  const all = { allowEIO3: true, cleanupEmptyChildNamespaces: true, cookie: true, cors: { origin: true, credentials: true }, pingInterval: 1000, pingTimeout: 3000 };
  const [define, options] = {
    chat: [chat, {}],
    contract: [contract, {}],
    features: [features, all],
    msgpack: [features, { ...all, parser: msgpack }],
  }[flags.app];
  const io = new Server(http, { serveClient: flags.client === "official", ...options });
  define(io);
  if (flags.client === "own") beforeEngine("/socket.io/socket.io.js", plain);
}

http.on("error", (error) => {
  console.error(`cannot listen on ${flags.host}:${flags.port}: ${error.code}`);
  process.exit(1);
});
http.listen(Number(flags.port), flags.host, () => console.log(`reference listens on ${flags.host}:${flags.port}`));
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));

/** Takes a path away from the engine, which otherwise answers all of `/socket.io/`. */
function beforeEngine(path, answer) {
  const rest = http.listeners("request");
  http.removeAllListeners("request");
  http.on("request", (request, response) => {
    for (const listener of request.url === path ? [answer] : rest) listener(request, response);
  });
}

/** Answers everything that is not Socket.IO: health checks and the page. */
async function plain(request, response) {
  const path = new URL(request.url, "http://x").pathname;
  if (path === "/health" || path === "/ready") return response.end(request.method === "HEAD" ? undefined : "ok\n");
  const inPublic = normalize(join(publicDir, path === "/" ? "index.html" : decodeURIComponent(path)));
  const file = path === "/socket.io/socket.io.js" ? ownClient : inPublic;
  try {
    if (file === inPublic && !file.startsWith(publicDir)) throw new Error("outside");
    const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".txt": "text/plain", ".svg": "image/svg+xml" };
    const body = await readFile(file);
    response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
    response.end(request.method === "HEAD" ? undefined : body);
  } catch {
    response.statusCode = 404;
    response.end("not found\n");
  }
}
