// What a cluster promises, whatever carries it: who awaits a join may speak to the room at once, wherever the joined socket is; counts and
// rooms are right on every node and ship nobody's handshake. What the nodes and the backplane say to each other is read as it passes.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { backend, missing } from "../harness/backends.mjs";
import { overheard } from "../harness/balancer.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { binary, REFERENCE } from "../harness/target.mjs";

/** By backplane: its URL. What goes over Unix sockets is not read. */
const CLUSTERS = [
  { name: "Redis, classic", server: "redis", url: (port) => `redis://127.0.0.1:${port}` },
  { name: "Redis, sharded, static", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}?mode=static` },
  { name: "Redis, sharded, dynamic", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}?mode=dynamic` },
  { name: "Redis, sharded, dynamic-private", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}?mode=dynamic-private` },
  { name: "Redis Streams", server: "redis", url: (port) => `redis+streams://127.0.0.1:${port}` },
  { name: "Postgres", server: "postgres", url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres` },
  { name: "MongoDB", server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io&directConnection=true` },
  { name: "MongoDB, a capped collection", server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=capped&mode=tailable&directConnection=true` },
  { name: "NATS", server: "nats", url: (port) => `nats://127.0.0.1:${port}` },
  { name: "the mesh", server: "directory", url: (_, directory) => `mesh:${directory}/mesh`, silent: true },
];
const ROUNDS = 30;
const SETTLE_MS = 20_000;
/** A word of the clients' handshakes, and of nothing else. */
const TOKEN = "a-token-that-only-handshakes-have";

for (const cluster of CLUSTERS) {
  const built = existsSync(binary("conformance")) ? false : "conformance is not built";
  describe(`${cluster.name}: promises`, { skip: (REFERENCE && "the nodes are ours") || missing(cluster.server) || built }, () => {
    let server;
    let wire;
    let nodes = [];
    before(async () => {
      server = await backend(cluster.server);
      wire = cluster.silent ? undefined : await overheard(server.port);
      const url = cluster.url(wire?.port, server.directory);
      nodes = await Promise.all([sockeye(url), sockeye(url)]);
      for (const node of nodes) {
        await eventually(async () => {
          const [error, answers] = await node.ask("server-side-emit-ack", {}, "there?");
          return error === null && answers.length === 1;
        });
      }
    });
    after(async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await wire?.stop();
      await server?.stop();
    });

    test("what is said to a room right after an awaited join reaches the socket on the other node", async () => {
      for (const [here, there] of [nodes, nodes.toReversed()]) {
        const client = await there.client();
        const heard = [];
        client.on("news", (n) => heard.push(n));
        for (let n = 0; n < ROUNDS; n += 1) {
          await here.do("sockets-join", { rooms: [client.id] }, [`room-${n}`]);
          await here.do("emit", { rooms: [`room-${n}`] }, "news", n);
        }
        await eventually(() => heard.length === ROUNDS);
        assert.deepEqual(heard.toSorted((a, b) => a - b), Array.from({ length: ROUNDS }, (_, n) => n));
        client.close();
      }
    });

    test("counts and rooms are right on each node, and ship no handshake", async () => {
      const clients = [];
      for (const node of [...nodes, ...nodes, nodes[1]]) clients.push(await node.client({ auth: { token: TOKEN } }));
      const ids = clients.map(({ id }) => id);
      await nodes[0].do("sockets-join", { rooms: ids.slice(1) }, ["kitchen", "hall"]);
      await nodes[1].do("sockets-join", { rooms: [ids[0]] }, ["hall"]);
      await eventually(async () => (await nodes[0].ask("count", { rooms: ["hall"] }))[1] === 5 && (await nodes[1].ask("count", { rooms: ["hall"] }))[1] === 5);
      wire?.forget();
      for (const node of nodes) {
        assert.deepEqual(await node.ask("count", {}), [null, 5]);
        assert.deepEqual(await node.ask("count", { rooms: ["kitchen", "nobody's"] }), [null, 4]);
        assert.deepEqual(await node.ask("count", { rooms: ["hall"], except: ["kitchen"] }), [null, 1]);
        assert.deepEqual(await node.ask("rooms", {}), [null, [...ids, "kitchen", "hall"].sort()]);
        assert.deepEqual(await node.ask("rooms", { rooms: [ids[0]] }), [null, [ids[0], "hall"].sort()]);
      }
      if (wire) {
        assert.ok(wire.heard("sockeye:count") && wire.heard("sockeye:rooms"), "the questions pass where they are read");
        assert.ok(!wire.heard(TOKEN), "no handshake passes");
        // It would be seen.
        await nodes[0].ask("fetch-sockets", {});
        await eventually(() => wire.heard(TOKEN));
      }
      for (const client of clients) client.close();
    });
  });
}

async function eventually(check) {
  for (const end = Date.now() + SETTLE_MS; ; await sleep(20)) {
    if (await check()) return;
    assert.ok(Date.now() < end, `not within ${SETTLE_MS} ms: ${check}`);
  }
}
