// Clients whose server ends, in order or by kill -9, and who go on at another one: what was said meanwhile comes once, and in order. The
// sessions are kept by the backplane.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { backend, missing } from "../harness/backends.mjs";
import { switchable } from "../harness/balancer.mjs";
import { official, sockeye } from "../harness/cluster.mjs";
import { binary, REFERENCE } from "../harness/target.mjs";

/**
 * By backplane: its URL, whether Node.js servers recover on it too, and whether they keep the order of what they say (the official adapter for
 * MongoDB inserts over many connections at once: one of ours says it then).
 */
const CLUSTERS = [
  { name: "Redis Streams", server: "redis", url: (port) => `redis+streams://127.0.0.1:${port}`, official: true },
  { name: "Postgres", server: "postgres", url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres?recovery=true` },
  { name: "NATS", server: "nats", url: (port) => `nats://127.0.0.1:${port}?recovery=true` },
  { name: "MongoDB", server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io&recovery=true`, official: true, unordered: true },
  { name: "MongoDB, a capped collection", server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io&recovery=true&mode=tailable`, official: true, unordered: true },
  { name: "the mesh", server: "directory", url: (_, directory) => `mesh:${directory}` },
];
const MESSAGES = 1000;
const CLIENTS = 6;
const PATIENCE_MS = 30_000;
const args = ["--recovery"];

for (const cluster of CLUSTERS) {
  const built = existsSync(binary("conformance")) ? false : "conformance is not built";
  describe(`${cluster.name}: sessions`, { skip: (REFERENCE && "the nodes are ours") || missing(cluster.server) || built }, () => {
    let server;
    let url;
    let nodes = [];
    let sockets = [];
    let proxy;
    before(async () => {
      server = await backend(cluster.server);
      url = cluster.url(server.port, server.directory);
    });
    afterEach(async () => {
      for (const socket of sockets) socket.close();
      await proxy?.stop();
      await Promise.all(nodes.map((node) => node.stop("SIGKILL").catch(() => {})));
      [nodes, sockets, proxy] = [[], [], undefined];
    });
    after(() => server?.stop());

    const CASES = [
      ["the owner is told to end", "SIGTERM", sockeye],
      ["the owner is killed", "SIGKILL", sockeye],
      ...(cluster.official
        ? [
            ["the owner is killed and a Node.js server takes over", "SIGKILL", official],
            ["the owner, a Node.js server, ends and one of ours takes over", "SIGTERM", sockeye, official],
          ]
        : []),
    ];
    for (const [title, signal, heir, first = sockeye] of CASES) {
      test(`${MESSAGES} messages while ${title}: each client has each once, in order`, async () => {
        nodes = [await first(url, { args }), await heir(url, { args })];
        const [owner, next] = nodes;
        const mixed = heir === official || first === official;
        const speaker = cluster.unordered && heir === official ? await sockeye(url, { args }) : next;
        if (speaker !== next) nodes.push(speaker);
        proxy = await switchable(owner.port);
        sockets = await Promise.all(Array.from({ length: CLIENTS }, (_, n) => enter(proxy.url, n % 2 ? "polling" : "websocket")));
        const ids = sockets.map(({ id }) => id);
        // What an official server finds while it reads what a client missed, and hears later, comes twice: it has heard it before.
        const witness = heir === official ? await next.client() : undefined;
        witness?.on("number", (n) => (witness.heard = n));
        const members = witness ? [...ids, witness.id] : ids;
        await speaker.do("sockets-join", { rooms: members }, ["room"]);
        // An event that each meets: official servers know no session from before the first one.
        await eventually(async () => (await speaker.ask("count", { rooms: ["room"] }))[1] === members.length);
        let ended;
        for (let n = 0; n < MESSAGES; n += 1) {
          if (n === MESSAGES / 4) {
            await eventually(() => sockets.every((socket) => socket.numbers.length > 0));
            // What is said while an official server reads what a client missed reaches nobody: it is silent then. And one that ends writes
            // sessions while its clients leave: who comes back sooner has none.
            proxy.target = mixed ? undefined : next.port;
            ended = owner.stop(signal);
          }
          if (n === MESSAGES / 2 && mixed) {
            await ended;
            if (witness) await eventually(() => witness.heard === n - 1);
            proxy.target = next.port;
            await eventually(() => sockets.every((socket) => socket.enters === 2));
          }
          await speaker.do("emit", { rooms: ["room"] }, "number", n);
          await speaker.do("emit", { rooms: ["elsewhere"] }, "number", -1);
        }
        await ended;
        nodes.shift();
        await eventually(() => sockets.every((socket) => socket.numbers.length >= MESSAGES));
        await sleep(100); // For what should not come.
        for (const [index, socket] of sockets.entries()) {
          assert.deepEqual(socket.numbers, Array.from({ length: MESSAGES }, (_, n) => n), `client ${index}`);
          assert.deepEqual([socket.id, socket.recovered, socket.enters], [ids[index], true, 2]);
        }
        // Rooms went along, and what is said to one is heard.
        await speaker.do("emit", { rooms: [ids[0]] }, "number", "own");
        await eventually(() => sockets[0].numbers.at(-1) === "own");
      });
    }
  });
}

async function enter(url, transport) {
  const socket = io(url, { transports: [transport], forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  Object.assign(socket, { numbers: [], enters: 0 });
  socket.on("number", (n) => socket.numbers.push(n));
  socket.on("connect", () => (socket.enters += 1));
  await eventually(() => socket.connected);
  return socket;
}

async function eventually(is) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(20)) {
    if (await is()) return;
  }
  assert.fail(`still not after ${PATIENCE_MS} ms: ${is}`);
}
