// What a cluster does when a node dies, freezes, or its backplane goes away: nobody hangs, nothing comes twice, and what is lost is what
// the documentation of the backplane says is lost. Messages are numbered and counted one by one.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { backend, missing } from "../harness/backends.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { binary, REFERENCE } from "../harness/target.mjs";

/** By backplane: its URL, and whether what is published while the connection is away comes later (`kept`). */
const CLUSTERS = [
  { name: "Redis, classic", server: "redis", url: (port) => `redis://127.0.0.1:${port}` },
  { name: "Redis, sharded", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}` },
  { name: "Redis Streams", server: "redis", url: (port) => `redis+streams://127.0.0.1:${port}` },
  { name: "Postgres", server: "postgres", url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres` },
  { name: "MongoDB", server: "mongo on disk", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io` },
  { name: "NATS", server: "nats", url: (port) => `nats://127.0.0.1:${port}` },
  { name: "a directory", server: "directory", url: (_, directory) => `mesh:${directory}/mesh`, alone: true },
];
/** A node that says nothing is thought to live for 10 s; what is counted by its backplane goes with its connection. */
const FORGOTTEN_MS = 20_000;
const BACK_MS = 30_000;

for (const cluster of CLUSTERS) {
  const built = existsSync(binary("conformance")) ? false : "conformance is not built";
  describe(`${cluster.name}: faults`, { skip: (REFERENCE && "the nodes are ours") || missing(cluster.server) || built }, () => {
    let server;
    let url;
    let nodes = [];
    before(async () => {
      server = await backend(cluster.server);
      url = cluster.url(server.port, server.directory);
      nodes = [await sockeye(url), await sockeye(url)];
      await whole(nodes);
    });
    afterEach(async () => {
      for (const node of nodes) node.process.kill("SIGCONT");
    });
    after(async () => {
      await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
      await server?.stop();
    });

    test("a frozen node costs a request its timeout, and the answer says who is missing", async () => {
      const [one, two] = nodes;
      const clients = [await one.client(), await two.client()];
      for (const client of clients) client.on("ask", (answer) => answer(client.id));
      two.process.kill("SIGSTOP");
      const [error, answers] = await one.ask("emit-ack", { flags: { timeout: 400 } }, "ask");
      assert.equal(error, "operation has timed out");
      assert.deepEqual(answers, [clients[0].id]);
      const [late, sockets] = await one.ask("fetch-sockets", { flags: { timeout: 400 } });
      assert.equal(late, "timeout reached: missing 1 responses");
      assert.deepEqual(sockets.map(({ id }) => id), [clients[0].id]);
      two.process.kill("SIGCONT");
      await whole(nodes);
      const [none, both] = await one.ask("emit-ack", {}, "ask");
      assert.equal(none, null);
      assert.deepEqual(both.sort(), clients.map(({ id }) => id).sort());
      for (const client of clients) client.close();
    });

    test("what is said while a node is frozen comes once and in order when it goes on", async () => {
      const [one, two] = nodes;
      const client = await two.client();
      const heard = [];
      client.on("tick", (number) => heard.push(number));
      for (let number = 0; number < 100; number += 1) {
        if (number === 20) two.process.kill("SIGSTOP");
        if (number === 80) two.process.kill("SIGCONT");
        await one.do("emit", {}, "tick", number);
      }
      await eventually(() => heard.at(-1) === 99);
      assert.deepEqual(heard, Array.from({ length: 100 }, (_, number) => number));
      client.close();
      await whole(nodes);
    });

    test("a backplane that restarts loses what it may lose: nothing comes twice, order holds, and it goes on", { skip: cluster.alone && "there is no server between the nodes" }, async () => {
      const [one, two] = nodes;
      const client = await two.client();
      const own = await one.client();
      const heard = [];
      const here = [];
      client.on("tick", (number) => heard.push(number));
      own.on("tick", (number) => here.push(number));
      let said = 0;
      const say = () => one.do("emit", {}, "tick", said++);
      for (let count = 0; count < 50; count += 1) await say();
      await eventually(() => heard.length === 50);
      await server.halt("SIGKILL");
      for (let count = 0; count < 20; count += 1) await say();
      await server.start();
      await eventually(async () => {
        const before = heard.length;
        await say();
        await sleep(50);
        return heard.length > before;
      }, BACK_MS);
      await whole(nodes);
      const mark = said;
      for (let count = 0; count < 50; count += 1) await say();
      await eventually(() => heard.at(-1) === said - 1);
      assert.deepEqual(heard, [...new Set(heard)], "something came twice");
      assert.deepEqual(heard, [...heard].sort((a, b) => a - b), "something came out of order");
      assert.deepEqual(heard.slice(0, 50), Array.from({ length: 50 }, (_, index) => index));
      assert.deepEqual(heard.filter((number) => number >= mark), Array.from({ length: 50 }, (_, index) => mark + index));
      // A client hears its own node whatever becomes of the backplane.
      assert.deepEqual(here, Array.from({ length: said }, (_, index) => index));
      const [error, answers] = await one.ask("server-side-emit-ack", {}, "there?");
      assert.deepEqual([error, answers.length], [null, 1]);
      client.close();
      own.close();
    });

    test("a killed node is forgotten, and requests are whole again", async () => {
      const [one, two] = nodes;
      const client = await one.client();
      client.on("ask", (answer) => answer("here"));
      const started = Date.now();
      const asked = one.ask("emit-ack", { flags: { timeout: 2000 } }, "ask");
      two.process.kill("SIGKILL");
      await asked;
      // No call hangs, whatever is known of the dead one.
      await one.ask("fetch-sockets", { flags: { timeout: 1000 } });
      assert.ok(Date.now() - started < 10_000);
      await eventually(async () => {
        const [error, answers] = await one.ask("emit-ack", { flags: { timeout: 500 } }, "ask");
        return error === null && answers.length === 1;
      }, FORGOTTEN_MS);
      client.close();
      // And another takes its place.
      await two.stop();
      nodes[1] = await sockeye(url);
      await whole(nodes);
    });
  });
}

/** Both nodes know and answer each other. */
async function whole(nodes) {
  for (const node of nodes) {
    await eventually(async () => {
      const [error, answers] = await node.ask("server-side-emit-ack", { flags: { timeout: 1000 } }, "there?");
      return error === null && answers.length === nodes.length - 1;
    }, BACK_MS);
  }
}

async function eventually(check, within = 10_000) {
  for (const end = Date.now() + within; ; await sleep(20)) {
    if (await check()) return;
    assert.ok(Date.now() < end, `not within ${within} ms: ${check}`);
  }
}
