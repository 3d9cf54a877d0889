// Machines under `sockeye up` that share a backplane: what is said on one is heard on all, and any of them takes any request.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { backend, missing } from "../harness/backends.mjs";
import { randomBalancer } from "../harness/balancer.mjs";
import { closeAll, collect, connectMany, untroubled } from "../harness/clients.mjs";
import { binary, CLUSTER_ONLY, freePort, up } from "../harness/target.mjs";

const CONNECTS = 40;
const SECRET = "a secret of some length";
const CLUSTERS = [
  // Of each a directory of its own for Unix sockets, as on two machines.
  { name: "two machines with a node link", server: "redis", url: (port) => `redis://127.0.0.1:${port}`, apart: true },
  { name: "two machines with a node link", server: "nats", url: (port) => `nats://127.0.0.1:${port}`, apart: true },
  { name: "two houses of one machine", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}`, apart: false },
];

describe("sockeye up --adapter", { skip: CLUSTER_ONLY }, () => {
  for (const { name, server, url, apart } of CLUSTERS) {
    test(`${name} on ${server} take each other's requests`, { skip: missing(server) }, async () => {
      const backplane = await backend(server);
      const own = mkdtempSync(join(tmpdir(), "sk-run-"));
      const houses = [];
      let balancer;
      try {
        const link = await freePort(8);
        for (const index of [0, 1]) {
          const XDG_RUNTIME_DIR = apart ? join(own, String(index)) : own;
          const env = { XDG_RUNTIME_DIR, SOCKEYE_ADAPTER: url(backplane.port, ""), SOCKEYE_NODE_SECRET: SECRET };
          const args = apart ? ["--node-link", `127.0.0.1:${link}`] : [];
          houses.push(await up({ workers: 2, args, env }));
        }
        balancer = await randomBalancer(houses.map((house) => house.port));
        for (const transport of ["polling", "websocket", "default"]) {
          const sockets = await connectMany(balancer.url, transport, CONNECTS);
          try {
            const news = collect(sockets, "broadcast");
            sockets[0].emit("broadcast", transport);
            for (const box of await news.reach(1)) assert.deepEqual(box, [[transport]]);
            untroubled(sockets);
          } finally {
            closeAll(sockets);
          }
        }
        assert.deepEqual([...balancer.statuses.keys()].filter((status) => status !== 200 && status !== 101), []);
        // Nobody's session: the official answer, at once.
        for (const house of houses) {
          const answer = await house.knock("/socket.io/?EIO=4&transport=polling&sid=AAAAAAbbbbbbbbbbbbbb");
          assert.deepEqual([answer.status, await answer.json()], [400, { code: 1, message: "Session ID unknown" }]);
        }
      } finally {
        await balancer?.stop();
        for (const house of houses) await house.stop();
        await backplane.stop();
        rmSync(own, { recursive: true, force: true });
      }
    });
  }

  test("what cannot be is told before anything starts", () => {
    const rows = [
      [["--adapter", "kafka://:pw@x"], {}, /--adapter: the scheme is `kafka`(?!.*pw)/],
      [["--adapter", "mesh:/x"], {}, /--adapter: expected a backplane/],
      [["--node-link", "10.0.0.7:4000"], {}, /--node-link 10\.0\.0\.7:4000 needs --adapter/],
      [["--node-link", "10.0.0.7:4000"], { SOCKEYE_ADAPTER: "redis://127.0.0.1" }, /needs SOCKEYE_NODE_SECRET/],
      [["--node-link", "0.0.0.0:4000"], { SOCKEYE_ADAPTER: "redis://127.0.0.1", SOCKEYE_NODE_SECRET: SECRET }, /by which other machines reach/],
    ];
    for (const [args, env, line] of rows) {
      const clean = { ...process.env, SOCKEYE_ADAPTER: "", SOCKEYE_NODE_SECRET: "", ...env };
      const { status, stderr } = spawnSync(binary(), ["up", "--port", "0", ...args], { env: clean, encoding: "utf8", timeout: 20_000 });
      assert.equal(status, 2, stderr);
      assert.match(stderr, line);
    }
  });
});
