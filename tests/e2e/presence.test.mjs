// Presence: every node knows who is in a room, on all nodes, and hears who comes and goes; whoever was at a node that dies has left within a named time.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { backend, missing } from "../harness/backends.mjs";
import { official, sockeye } from "../harness/cluster.mjs";
import { binary, LONG, REFERENCE } from "../harness/target.mjs";
import { eventually } from "../harness/waiting.mjs";

/** How long what a node said holds. When exactly it ends is tested with a clock of its own, in `crates/cluster`. */
const TIMEOUT_MS = 2_000;
const CLUSTERS = [
  { name: "a directory", server: "directory", url: (_, directory) => `mesh:${directory}/mesh`, knows: true },
  { name: "Redis", server: "redis", url: (port) => `redis://127.0.0.1:${port}`, node: true },
  { name: "Redis, sharded", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}`, long: true },
  { name: "Redis Streams", server: "redis", url: (port) => `redis+streams://127.0.0.1:${port}`, long: true },
  { name: "NATS", server: "nats", url: (port) => `nats://127.0.0.1:${port}` },
  { name: "Postgres", server: "postgres", url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`, long: true },
  { name: "MongoDB", server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io`, long: true },
].filter(({ long }) => LONG || !long);
const SKIP = REFERENCE ? "the official server has none" : existsSync(binary("conformance")) ? false : "conformance is not built";

for (const cluster of CLUSTERS) {
  describe(`presence on ${cluster.name}`, { skip: SKIP || missing(cluster.server) }, () => {
    let server;
    const nodes = [];
    before(async () => {
      server = await backend(cluster.server);
      const url = cluster.url(server.port, server.directory);
      const args = ["--presence", TIMEOUT_MS];
      // What servers of Node.js hear of it they pass over.
      if (cluster.node) nodes.push(await official(url));
      nodes.unshift(await sockeye(url, { args }), await sockeye(url, { args }), await sockeye(url, { args }));
      for (const node of nodes) {
        node.told = [];
        node.control.on("presence-event", (nsp, ...event) => node.told.push(event));
      }
    });
    after(async () => {
      await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
      await server?.stop();
    });

    const present = async (node, room) => (await node.ask("presence", {}, room))[1];
    const all = (check) => eventually(async () => (await Promise.all(nodes.slice(0, 3).map(check))).every(Boolean));

    test("all nodes know who is in a room, with what each says of itself, and hear who comes and goes", async () => {
      const clients = await Promise.all(nodes.slice(0, 3).map((node, index) => node.client({ auth: { name: `client ${index}` } })));
      for (const [index, client] of clients.entries()) await nodes[index].do("sockets-join", { rooms: [client.id] }, ["kitchen"]);
      await all(async (node) => (await present(node, "kitchen")).length === 3);
      const expected = clients.map((client, index) => [client.id, { name: `client ${index}` }]).sort();
      for (const node of nodes.slice(0, 3)) assert.deepEqual((await present(node, "kitchen")).sort(), expected);
      // A join that was said on another node is one like any other.
      await nodes[1].do("sockets-join", { rooms: ["kitchen"] }, ["attic"]);
      await all(async (node) => (await present(node, "attic")).length === 3);
      const gone = clients[0].id;
      clients[0].close();
      await nodes[2].do("sockets-leave", { rooms: [clients[1].id] }, ["attic"]);
      await all(async (node) => (await present(node, "kitchen")).length === 2 && (await present(node, "attic")).length === 1);
      await all((node) => node.told.length >= 9);
      for (const node of nodes.slice(0, 3)) {
        const of = (what, room) => node.told.filter((event) => event[0] === what && event[1] === room).map(([, , id]) => id).sort();
        assert.deepEqual(of("joined", "kitchen"), expected.map(([id]) => id));
        assert.deepEqual(of("joined", "attic"), expected.map(([id]) => id));
        assert.deepEqual(of("left", "kitchen"), [gone]);
        assert.deepEqual(of("left", "attic"), [gone, clients[1].id].sort());
      }
      for (const client of clients) client.close();
      await all(async (node) => (await present(node, "kitchen")).length === 0);
    });

    test("who was at a node that is killed has left within the named time, and one that comes knows who is there", async () => {
      const survivor = await nodes[0].client({ auth: { name: "survivor" } });
      const victim = await nodes[1].client({ auth: { name: "victim" }, reconnection: false });
      for (const [node, client] of [[nodes[0], survivor], [nodes[1], victim]]) await node.do("sockets-join", { rooms: [client.id] }, ["cellar"]);
      await all(async (node) => (await present(node, "cellar")).length === 2);
      const { id: gone } = victim;
      // Its clients have no time to say goodbye.
      nodes[1].process.kill("SIGKILL");
      await nodes[1].stop("SIGKILL");
      const left = (node) => node.told.some(([what, room, id]) => what === "left" && room === "cellar" && id === gone);
      for (const node of [nodes[0], nodes[2]]) {
        await eventually(async () => (await present(node, "cellar")).length === 1 && left(node));
      }
      nodes[1] = await sockeye(cluster.url(server.port, server.directory), { args: ["--presence", TIMEOUT_MS] });
      await eventually(async () => (await present(nodes[1], "cellar")).length === 1);
      assert.deepEqual(await present(nodes[1], "cellar"), [[survivor.id, { name: "survivor" }]]);
    });

    test("a node that is frozen is seen to leave, and to come again", async () => {
      const client = await nodes[2].client({ auth: {} });
      await nodes[2].do("sockets-join", { rooms: [client.id] }, ["roof"]);
      await eventually(async () => (await present(nodes[0], "roof")).length === 1);
      if (cluster.knows) return; // The kernel keeps its connections: it is there.
      nodes[2].process.kill("SIGSTOP");
      try {
        await eventually(async () => (await present(nodes[0], "roof")).length === 0);
      } finally {
        nodes[2].process.kill("SIGCONT");
      }
      await eventually(async () => (await present(nodes[0], "roof")).length === 1);
    });
  });
}
