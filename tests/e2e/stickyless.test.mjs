// Two nodes on a backplane behind balancers that send each request where they like: no client notices, none is told 400, and every
// broadcast reaches all.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { backend, missing } from "../harness/backends.mjs";
import { randomBalancer } from "../harness/balancer.mjs";
import { closeAll, collect, connectMany, TRANSPORTS, untroubled } from "../harness/clients.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { front, unavailable } from "../harness/fronts.mjs";
import { binary, REFERENCE } from "../harness/target.mjs";

const CONNECTS = 200;
const CLUSTERS = [
  { name: "Redis", server: "redis", url: (port) => `redis://127.0.0.1:${port}`, fronts: ["a random one", "nginx", "HAProxy", "Apache"] },
  { name: "NATS", server: "nats", url: (port) => `nats://127.0.0.1:${port}`, fronts: ["a random one"] },
  { name: "a directory", server: "directory", url: (_, directory) => `mesh:${directory}/mesh`, fronts: ["a random one", "HAProxy"] },
];
const unbuilt = (REFERENCE && "official nodes know their own sessions only") || (existsSync(binary("conformance")) ? false : "conformance is not built");

for (const cluster of CLUSTERS) {
  describe(`two nodes that share ${cluster.name}`, { skip: unbuilt || missing(cluster.server) }, () => {
    let server;
    let nodes = [];
    before(async () => {
      server = await backend(cluster.server);
      const url = cluster.url(server.port, server.directory);
      nodes = [await sockeye(url), await sockeye(url)];
    });
    after(async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await server?.stop();
    });

    for (const name of cluster.fronts) {
      const random = name === "a random one";
      describe(`behind ${random ? "a balancer that picks at random" : name}`, { skip: random ? false : unavailable(name) }, () => {
        let balancer;
        before(async () => {
          const ports = nodes.map((node) => node.port);
          balancer = random ? await randomBalancer(ports) : await front(name, ports);
        });
        after(() => balancer?.stop());

        for (const transport of Object.keys(TRANSPORTS)) {
          test(`${CONNECTS} clients (${transport}) come and hear everything`, async () => {
            const sockets = await connectMany(balancer.url, transport, CONNECTS);
            try {
              const news = collect(sockets, "news");
              for (const node of nodes) await node.do("emit", {}, "news", node.port);
              for (const box of await news.reach(nodes.length)) {
                assert.deepEqual(box.map(([port]) => port).sort(), nodes.map(({ port }) => port).sort());
              }
              const echoes = await Promise.all(sockets.map((socket, index) => socket.emitWithAck("message-with-ack", index)));
              assert.deepEqual(echoes, sockets.map((_, index) => index));
              untroubled(sockets);
              if (random) assert.deepEqual([...balancer.statuses.keys()].filter((status) => status !== 200 && status !== 101), []);
            } finally {
              closeAll(sockets);
            }
          });
        }
      });
    }

    test("the clients of a killed node come back on the other, and its sids are unknown at once", async () => {
      const balancer = await randomBalancer(nodes.map((node) => node.port));
      const { sid } = JSON.parse((await (await fetch(`${nodes[1].url}/socket.io/?EIO=4&transport=polling`)).text()).slice(1));
      const ask = () => fetch(`${nodes[0].url}/socket.io/?EIO=4&transport=polling&sid=${sid}`, { method: "POST", body: "40" });
      assert.equal(await (await ask()).text(), "ok");
      nodes[1].process.kill("SIGKILL");
      await nodes[1].gone;
      const started = Date.now();
      const answer = await ask();
      assert.deepEqual([answer.status, await answer.text()], [400, '{"code":1,"message":"Session ID unknown"}']);
      assert.ok(Date.now() - started < 1_000, "it was asked for in vain");
      await balancer.stop();
      await nodes[1].stop();
      nodes.pop();
      await sleep(0);
    });
  });
}
