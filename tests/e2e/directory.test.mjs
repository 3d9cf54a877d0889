// An edge alone before a cluster: it finds the nodes by their own directory on the backplane, and routes by their tags. Nothing is configured when they come and go.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { backend, missing } from "../harness/backends.mjs";
import { closeAll, collect, connectMany, TRANSPORTS, untroubled, whereabouts } from "../harness/clients.mjs";
import { overSocket, run, settingsFile, upFile } from "../harness/files.mjs";
import { CLUSTER_ONLY, freePort, up } from "../harness/target.mjs";

const SECRET = "a secret of some length";
const CLUSTERS = [
  { server: "redis", url: (port) => `redis://127.0.0.1:${port}`, apart: true, name: "machines with a node link" },
  { server: "nats", url: (port) => `nats://127.0.0.1:${port}`, apart: false, name: "houses of one machine" },
  { server: "postgres", url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`, apart: true, name: "machines with a node link" },
  { server: "mongo", url: (port) => `mongodb://127.0.0.1:${port}/test?collection=socket_io`, apart: false, name: "houses of one machine" },
];

describe("the cluster's directory as an upstream", { skip: CLUSTER_ONLY }, () => {
  for (const { server, url, apart, name } of CLUSTERS) {
    test(`${name} on ${server} come and go`, { skip: missing(server) }, async () => {
      const backplane = await backend(server);
      const own = mkdtempSync(join(tmpdir(), "sk-run-"));
      const adapter = url(backplane.port);
      const [port, link] = [await freePort(), await freePort(8)];
      const file = settingsFile("");
      const socket = join(file.dir, "admin.sock");
      file.write(`listen = "127.0.0.1:${port}"\nadmin = "unix:${socket}"\n[upstream.chat]\ndirectory = "${adapter}"\n`);
      const houses = [];
      let edge;
      const place = (index) => (apart ? join(own, String(index)) : own);
      const begin = async () => {
        const env = { XDG_RUNTIME_DIR: place(houses.length), SOCKEYE_ADAPTER: adapter, SOCKEYE_NODE_SECRET: SECRET };
        houses.push(await up({ workers: 1, args: apart ? ["--node-link", `127.0.0.1:${link}`] : [], env }));
      };
      const servers = async () => JSON.parse((await overSocket(socket, "/status")).text).groups[0].servers;
      const there = (count) => edge.until(`${count} nodes`, async () => (await servers()).filter(({ state }) => state === "up").length === count);
      const spread = async (transport, count, over) => {
        const sockets = await connectMany(edge.url, transport, count);
        try {
          const news = collect(sockets, "broadcast");
          sockets[0].emit("broadcast", transport);
          for (const box of await news.reach(1)) assert.deepEqual(box, [[transport]]);
          assert.equal(new Set((await whereabouts(sockets)).map(({ pid }) => pid)).size, over);
          untroubled(sockets);
        } finally {
          closeAll(sockets);
        }
      };
      try {
        edge = await upFile(file, port, { env: { XDG_RUNTIME_DIR: place("edge"), SOCKEYE_NODE_SECRET: SECRET } });
        assert.deepEqual(await servers(), []);
        await begin();
        await begin();
        await there(2);
        for (const transport of Object.keys(TRANSPORTS)) await spread(transport, 20, 2);
        const stay = await connectMany(edge.url, "default", 6);
        await begin();
        await there(3);
        await spread("polling", 24, 3);
        untroubled(stay);
        assert.match((await overSocket(socket, "/metrics")).text, /^sockeye_edge_unknown_sids_total 0$/m);
        closeAll(stay);
        await houses[0].stop();
        await there(2);
        await spread("default", 20, 2);
        // Without a word: whoever refuses is out at once, and forgotten with its lease.
        process.kill(houses[1].pid, "SIGKILL");
        await edge.until("only one serves", async () => (await servers()).filter(({ state }) => state === "up").length === 1);
        await spread("default", 10, 1);
        const answer = await edge.knock("/socket.io/?EIO=4&transport=polling&sid=AAAAAAbbbbbbbbbbbbbb");
        assert.deepEqual([answer.status, await answer.json()], [400, { code: 1, message: "Session ID unknown" }]);
      } finally {
        await edge?.stop();
        for (const [index, house] of houses.entries()) await (index === 0 || index === 1 ? house.abandon() : house.stop());
        await backplane.stop();
        file.done();
        rmSync(own, { recursive: true, force: true });
      }
    });
  }

  test("what another edge gave a node counts: a second edge gives its clients to the other node", { skip: missing("redis") }, async () => {
    const backplane = await backend("redis");
    const own = mkdtempSync(join(tmpdir(), "sk-run-"));
    const url = `redis://127.0.0.1:${backplane.port}`;
    const env = { XDG_RUNTIME_DIR: own, SOCKEYE_ADAPTER: url };
    const begun = { houses: [], edges: [], files: [] };
    const house = async () => begun.houses.push(await up({ workers: 1, env }));
    const edge = async () => {
      const port = await freePort();
      const file = settingsFile("");
      begun.files.push(file);
      const socket = join(file.dir, "admin.sock");
      file.write(`listen = "127.0.0.1:${port}"\nadmin = "unix:${socket}"\n[upstream.chat]\ndirectory = "${url}"\n`);
      const target = await upFile(file, port, { env: { XDG_RUNTIME_DIR: own } });
      begun.edges.push(target);
      return { target, servers: async () => JSON.parse((await overSocket(socket, "/status")).text).groups[0].servers };
    };
    const sockets = [];
    try {
      await house();
      const first = await edge();
      await first.target.until("it is there", async () => (await first.servers()).filter(({ state }) => state === "up").length === 1);
      const full = await connectMany(first.target.url, "websocket", 12);
      sockets.push(...full);
      await house();
      const second = await edge();
      await second.target.until("both are there, and one has said what it has", async () => {
        const servers = (await second.servers()).filter(({ state }) => state === "up");
        return servers.length === 2 && servers.some(({ elsewhere }) => elsewhere === 12);
      });
      const news = await connectMany(second.target.url, "websocket", 12);
      sockets.push(...news);
      const [{ pid }] = await whereabouts(full);
      const there = (await whereabouts(news)).filter((one) => one.pid !== pid).length;
      // Without it they would be six. What a node says is up to three seconds old.
      assert.ok(there >= 9, `${there} of 12`);
      untroubled(sockets);
    } finally {
      closeAll(sockets);
      for (const target of [...begun.edges, ...begun.houses]) await target.stop();
      await backplane.stop();
      for (const file of begun.files) file.done();
      rmSync(own, { recursive: true, force: true });
    }
  });

  test("an address that is no backplane's is told before anything starts", async () => {
    const file = settingsFile('[upstream.chat]\ndirectory = "kafka://127.0.0.1"\n');
    try {
      const { code, err } = await run(["up", file.path]);
      assert.equal(code, 1);
      assert.match(err, /upstream\.chat\.directory/);
    } finally {
      file.done();
    }
  });
});
