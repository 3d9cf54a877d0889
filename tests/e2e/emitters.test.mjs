// The official emitters, as npm has them, reach Sockeye's nodes: programs that are no servers, on a cluster without Node.js servers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { MongoClient } from "mongodb";
import pg from "pg";
import { Emitter as MongoEmitter } from "@socket.io/mongo-emitter";
import { Emitter as PostgresEmitter } from "@socket.io/postgres-emitter";
import { Emitter as RedisEmitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { backend, missing } from "../harness/backends.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { binary, REFERENCE } from "../harness/target.mjs";
import { eventually } from "../harness/waiting.mjs";

/** Each emitter, what it needs, and how that is closed. */
const EMITTERS = [
  {
    name: "@socket.io/redis-emitter",
    server: "redis",
    url: (port) => `redis://127.0.0.1:${port}`,
    async open(port) {
      const client = createClient({ url: `redis://127.0.0.1:${port}` });
      await client.connect();
      return { emitter: new RedisEmitter(client), close: () => client.disconnect() };
    },
  },
  {
    // As published it names no namespace in its messages; official servers drop them (0.5.0), ours do not.
    name: "@socket.io/postgres-emitter",
    server: "postgres",
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    async open(port) {
      const pool = new pg.Pool({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres` });
      // The server ends while the last connections are closing, and says so to them.
      pool.on("error", () => {});
      return { emitter: new PostgresEmitter(pool), close: () => pool.end() };
    },
  },
  {
    name: "@socket.io/mongo-emitter",
    server: "mongo",
    url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io`,
    async open(port) {
      const client = await MongoClient.connect(`mongodb://127.0.0.1:${port}/test?directConnection=true`);
      return { emitter: new MongoEmitter(client.db().collection("socket_io"), "/", { addCreatedAtField: true }), close: () => client.close() };
    },
  },
];
const SKIP = REFERENCE ? "the nodes are ours" : existsSync(binary("conformance")) ? false : "conformance is not built";

for (const { name, server, url, open } of EMITTERS) {
  describe(name, { skip: SKIP || missing(server) }, () => {
    let backplane;
    let nodes = [];
    let said;
    before(async () => {
      backplane = await backend(server);
      nodes = [await sockeye(url(backplane.port)), await sockeye(url(backplane.port))];
      said = await open(backplane.port);
    });
    after(async () => {
      await said?.close();
      await Promise.all(nodes.map((node) => node.stop()));
      await backplane?.stop();
    });
    /** A client at each node, with what it hears. */
    const clients = async (nsp) => {
      const both = await Promise.all(nodes.map((node) => node.client({ nsp })));
      for (const client of both) client.on("news", (...args) => (client.news ??= []).push(args));
      return both;
    };

    test("speaks to all, to rooms and without rooms, in text and bytes, of any length", async () => {
      const { emitter } = said;
      const [one, two] = await clients("/");
      await nodes[0].do("sockets-join", { rooms: [one.id] }, ["kitchen"]);
      await eventually(async () => (await nodes[1].ask("count", { rooms: ["kitchen"] }))[1] === 1);
      const long = "ü".repeat(10_000);
      await emitter.emit("news", 1, { a: [true, null] }, "ü");
      await emitter.to("kitchen").emit("news", 2);
      await emitter.except("kitchen").emit("news", 3);
      // A volatile event may be lost on a client that still has something before it.
      await eventually(() => two.news?.length >= 2);
      await emitter.to(two.id).volatile.emit("news", 4);
      await eventually(() => two.news.length >= 3);
      await emitter.to(["kitchen", two.id]).except(two.id).emit("news", 5);
      await emitter.emit("news", { body: Buffer.from([0, 1, 255]) });
      await emitter.emit("news", long);
      await eventually(() => one.news?.length >= 5 && two.news?.length >= 5);
      const body = { body: Buffer.from([0, 1, 255]) };
      // A backplane that carries long messages another way may let them pass by others.
      const sorted = (news) => news.map((args) => JSON.stringify(args)).sort();
      assert.deepEqual(sorted(one.news), sorted([[1, { a: [true, null] }, "ü"], [2], [5], [body], [long]]));
      assert.deepEqual(sorted(two.news), sorted([[1, { a: [true, null] }, "ü"], [3], [4], [body], [long]]));
      const bytes = one.news.find(([arg]) => arg?.body)[0].body;
      assert.deepEqual([...bytes], [0, 1, 255]);
    });

    test("speaks in another namespace, and there alone", async () => {
      const [main] = await clients("/");
      const custom = await clients("/custom");
      await said.emitter.of("/custom").emit("news", "custom");
      await said.emitter.emit("news", "main");
      await eventually(() => main.news?.length >= 1 && custom.every(({ news }) => news?.length >= 1));
      assert.deepEqual([main.news, ...custom.map(({ news }) => news)], [[["main"]], [["custom"]], [["custom"]]]);
    });

    test("lets sockets join, leave and go", async () => {
      const { emitter } = said;
      const [one, two] = await clients("/");
      const count = async () => (await nodes[0].ask("count", { rooms: ["attic"] }))[1];
      await emitter.in([one.id, two.id]).socketsJoin(["attic", "roof"]);
      await eventually(async () => (await count()) === 2);
      await emitter.in(one.id).socketsLeave("attic");
      await eventually(async () => (await count()) === 1);
      const gone = once(two, "disconnect");
      await emitter.in("attic").disconnectSockets(true);
      assert.match((await gone)[0], /^(transport close|io server disconnect)$/);
      const told = once(one, "disconnect");
      await emitter.in(one.id).disconnectSockets();
      assert.equal((await told)[0], "io server disconnect");
    });

    test("speaks to the servers themselves", async () => {
      const heard = nodes.map((node) => once(node.control, "server-side-event"));
      await said.emitter.serverSideEmit("hello", 1, { a: "ü" });
      for (const event of await Promise.all(heard)) assert.deepEqual(event, ["/", "hello", [1, { a: "ü" }]]);
    });
  });
}
