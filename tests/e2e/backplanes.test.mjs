// One Socket.IO over many nodes: a Node.js server with the official packages and two of ours on one real backplane. Whoever speaks,
// whoever is spoken to, on whichever node: all get it, once.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { existsSync } from "node:fs";
import { backend, missing } from "../harness/backends.mjs";
import { official, sockeye } from "../harness/cluster.mjs";
import { binary, REFERENCE } from "../harness/target.mjs";

/** By backplane: the URL that all nodes are given; whether no official adapter is there; whether the official servers hear each other in text alone. */
const CLUSTERS = [
  { name: "Redis, classic", server: "redis", url: (port) => `redis://127.0.0.1:${port}`, text: true },
  { name: "Redis, sharded, static", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}?mode=static` },
  { name: "Redis, sharded, dynamic", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}?mode=dynamic` },
  { name: "Redis, sharded, dynamic-private", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}?mode=dynamic-private` },
  { name: "Redis Streams", server: "redis", url: (port) => `redis+streams://127.0.0.1:${port}` },
  { name: "Redis Streams, four of them", server: "redis", url: (port) => `redis+streams://127.0.0.1:${port}?stream_count=4` },
  { name: "Postgres", server: "postgres", url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres` },
  { name: "MongoDB", server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io`, text: true },
  { name: "MongoDB, a capped collection", server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io&mode=tailable`, text: true },
  { name: "a directory, ours alone", server: "directory", url: (_, directory) => `mesh:${directory}/mesh`, alone: true },
  { name: "NATS, ours alone", server: "nats", url: (port) => `nats://127.0.0.1:${port}`, alone: true },
];
/** A cluster that has heartbeats finds itself within one or two of them. */
const SETTLE_MS = 15_000;

const BEHAVIOUR = {
  async "what any node says to all reaches each client once, bytes included"(nodes) {
    const clients = await one(nodes);
    for (const [index, node] of nodes.entries()) {
      await node.do("emit", {}, "news", index, { body: Buffer.from([index, 255]), text: "ü" });
    }
    await heard(clients, nodes.length);
    for (const client of clients) {
      const got = client.news.map(([index, { body, text }]) => [index, [...body], text]).sort();
      assert.deepEqual(got, nodes.map((_, index) => [index, [index, 255], "ü"]));
    }
    close(clients);
  },

  async "rooms, exceptions, local and volatile are kept on all nodes"(nodes) {
    const clients = await one(nodes);
    const rooms = clients.map((client) => client.id);
    await nodes[1].do("sockets-join", { rooms: rooms.slice(0, 2) }, ["kitchen"]);
    await eventually(async () => (await nodes[0].ask("count", { rooms: ["kitchen"] }))[1] === 2);
    for (const node of nodes) {
      await node.do("emit", { rooms: ["kitchen"] }, "news", "kitchen");
      await node.do("emit", { rooms: ["kitchen", rooms[2]], except: [rooms[0]] }, "news", "not the first");
      await node.do("emit", { flags: { local: true } }, "news", "local");
      await node.do("emit", { except: ["kitchen"] }, "news", "not the kitchen");
    }
    const expected = [
      ["kitchen", "kitchen", "kitchen", "local"],
      ["kitchen", "kitchen", "kitchen", "local", "not the first", "not the first", "not the first"],
      ["local", ...Array(3).fill("not the first"), ...Array(3).fill("not the kitchen")],
    ];
    await eventually(() => clients.every((client, index) => client.news.length >= expected[index].length));
    await sleep(50); // For what should not come.
    assert.deepEqual(clients.map((client) => client.news.map(([word]) => word).sort()), expected);
    for (const [index, node] of nodes.entries()) {
      // To clients at rest: a volatile event may be dropped where another is being written.
      const all = Promise.all(clients.map((client) => once(client, "volatile")));
      await node.do("emit", { flags: { volatile: true } }, "volatile", index);
      await all;
    }
    close(clients);
  },

  async "acks are summed over all nodes, and a client that says nothing is missing"(nodes) {
    const clients = await one(nodes);
    for (const [index, client] of clients.entries()) client.on("ask", (what, answer) => answer({ index, what: Buffer.from([what]) }));
    for (const node of nodes) {
      const [error, answers] = await node.ask("emit-ack", { rooms: clients.map(({ id }) => id) }, "ask", 7);
      assert.equal(error, null);
      assert.deepEqual(answers.map(({ index, what }) => [index, [...what]]).sort(), clients.map((_, index) => [index, [7]]));
    }
    clients[2].off("ask");
    const [error, answers] = await nodes[1].ask("emit-ack", { rooms: clients.map(({ id }) => id), flags: { timeout: 300 } }, "ask", 7);
    assert.equal(error, "operation has timed out");
    assert.equal(answers.length, 2);
    close(clients);
  },

  async "sockets are fetched with rooms and handshake, joined, left and disconnected"(nodes) {
    const clients = await one(nodes, { auth: { token: "t" } });
    const ids = clients.map(({ id }) => id).sort();
    for (const [index, node] of nodes.entries()) {
      const room = `room-${index}`;
      await node.do("sockets-join", { rooms: ids }, [room, "all"]);
      await eventually(async () => (await node.ask("count", { rooms: [room] }))[1] === ids.length);
      const [error, sockets] = await node.ask("fetch-sockets", { rooms: [room] });
      assert.equal(error, null);
      assert.deepEqual(sockets.map(({ id }) => id).sort(), ids);
      for (const { id, rooms, handshake } of sockets) {
        assert.ok([id, room, "all"].every((name) => rooms.includes(name)));
        assert.deepEqual(handshake.auth, { token: "t" });
        assert.equal(handshake.query.EIO, "4");
      }
      await node.do("sockets-leave", { rooms: [room] }, [room]);
      await eventually(async () => (await node.ask("count", { rooms: [room] }))[1] === 0);
    }
    assert.ok((await nodes[1].ask("rooms", { rooms: ["all"] }))[1].includes("all"));
    close(clients);
  },

  async "sockets are disconnected by any node, wherever they are, with and without the connection below"(nodes) {
    for (const [index, node] of nodes.entries()) {
      const closes = index % 2 === 0;
      const clients = await one(nodes);
      const room = `leavers-${index}`;
      await node.do("sockets-join", { rooms: clients.map(({ id }) => id) }, [room]);
      await eventually(async () => (await node.ask("count", { rooms: [room] }))[1] === nodes.length);
      const gone = clients.map((client) => once(client, "disconnect"));
      const closed = clients.map((client) => closes && once(client.io.engine, "close"));
      await node.do("disconnect-sockets", { rooms: [room] }, closes);
      for (const [reason] of await Promise.all(gone)) assert.equal(reason, "io server disconnect");
      await Promise.all(closed);
      await eventually(async () => (await nodes[(index + 1) % nodes.length].ask("count", { rooms: [room] }))[1] === 0);
      close(clients);
    }
  },

  async "servers hear each other and answer"(nodes, { text }) {
    const shown = nodes.map((node) => []);
    for (const [index, node] of nodes.entries()) node.control.on("server-side-event", (...event) => shown[index].push(event));
    for (const [index, node] of nodes.entries()) {
      await node.do("server-side-emit", {}, "hello", index, { b: Buffer.from("x") });
      const [error, answers] = await node.ask("server-side-emit-ack", {}, "question", `from ${index}`);
      assert.equal(error, null);
      assert.deepEqual(answers, [`from ${index}`, `from ${index}`]);
    }
    await eventually(() => shown.every((events) => events.length === 4));
    for (const [index, events] of shown.entries()) {
      const hellos = events.filter(([, event]) => event === "hello").map(([nsp, , [from, { b }]]) => [nsp, from, text || String(b)]);
      assert.deepEqual(hellos.sort(), nodes.map((_, from) => ["/", from, text || "x"]).filter(([, from]) => from !== index));
    }
    for (const node of nodes) node.control.off("server-side-event");
  },

  async "namespaces with a name of their own, and those that clients bring to life, span nodes"(nodes) {
    for (const nsp of ["/custom", "/dynamic-1"]) {
      const clients = await one(nodes, { nsp });
      await eventually(async () => (await nodes[0].ask("count", { nsp }))[1] === nodes.length && (await nodes[1].ask("count", { nsp }))[1] === nodes.length);
      for (const node of nodes) await node.do("emit", { nsp }, "news", nsp);
      await heard(clients, nodes.length);
      assert.ok(clients.every(({ news }) => news.every(([word]) => word === nsp)));
      for (const client of clients) client.on("ask", (answer) => answer(client.id));
      const ids = clients.map(({ id }) => id).sort();
      for (const node of nodes) {
        const [error, answers] = await node.ask("emit-ack", { nsp }, "ask");
        assert.deepEqual([error, answers.sort()], [null, ids]);
        const [failed, sockets] = await node.ask("fetch-sockets", { nsp });
        assert.deepEqual([failed, sockets.map(({ id }) => id).sort()], [null, ids]);
      }
      close(clients);
    }
  },
};

for (const cluster of CLUSTERS) {
  // Of the reference all three are Node.js servers.
  const unbuilt = REFERENCE ? cluster.alone && "there is no official adapter" : !existsSync(binary("conformance")) && "conformance is not built";
  const ours = REFERENCE ? official : sockeye;
  describe(`a cluster on ${cluster.name}`, { skip: missing(cluster.server) || unbuilt || false }, () => {
    let server;
    let nodes = [];
    before(async () => {
      server = await backend(cluster.server);
      const url = cluster.url(server.port, server.directory);
      // The official adapter makes its tables first, as in a cluster that is moved node by node.
      if (!cluster.alone) nodes.push(await official(url));
      nodes.push(await ours(url), await ours(url));
      if (cluster.alone) nodes.push(await ours(url));
      await settled(nodes);
    });
    after(async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await server?.stop();
    });
    for (const [name, body] of Object.entries(BEHAVIOUR)) test(name, () => body(nodes, cluster));
  });
}

/** A client at each node, which collects what it hears as `news`. */
async function one(nodes, options) {
  const clients = await Promise.all(nodes.map((node) => node.client(options)));
  for (const client of clients) {
    client.news = [];
    client.on("news", (...args) => client.news.push(args));
  }
  return clients;
}

/** Each client has heard so many, and no more. */
async function heard(clients, count) {
  await eventually(() => clients.every((client) => client.news.length >= count));
  await sleep(50); // For what should not come.
  assert.deepEqual(clients.map((client) => client.news.length), clients.map(() => count));
}

function close(clients) {
  for (const client of clients) client.close();
}

/** Every node knows of every other, in each namespace that is there from the beginning. */
async function settled(nodes) {
  for (const nsp of ["/", "/custom"]) {
    for (const node of nodes) {
      await eventually(async () => {
        const [error, answers] = await node.ask("server-side-emit-ack", { nsp }, "there?");
        return error === null && answers.length === nodes.length - 1;
      }, SETTLE_MS);
    }
  }
}

async function eventually(check, within = 10_000) {
  for (const end = Date.now() + within; ; await sleep(20)) {
    if (await check()) return;
    assert.ok(Date.now() < end, `not within ${within} ms: ${check}`);
  }
}
