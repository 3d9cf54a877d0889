// Machines under `sockeye up` that share a backplane: what is said on one is heard on all, and any of them takes any request.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { backend, missing } from "../harness/backends.mjs";
import { randomBalancer } from "../harness/balancer.mjs";
import { closeAll, collect, connectMany, untroubled } from "../harness/clients.mjs";
import { binary, CLUSTER_ONLY, freePort, up } from "../harness/target.mjs";

const CONNECTS = 40;
const SECRET = "a secret of some length";
const CLUSTERS = [
  { name: "two machines with a node link and certificates", server: "redis", url: (port) => `redis://127.0.0.1:${port}`, apart: true, tls: true },
  // Of each a directory of its own for Unix sockets, as on two machines.
  { name: "two machines with a node link", server: "redis", url: (port) => `redis://127.0.0.1:${port}`, apart: true },
  { name: "two machines with a node link", server: "nats", url: (port) => `nats://127.0.0.1:${port}`, apart: true },
  { name: "two houses of one machine", server: "redis", url: (port) => `redis+sharded://127.0.0.1:${port}`, apart: false },
];

describe("sockeye up --adapter", { skip: CLUSTER_ONLY }, () => {
  for (const { name, server, url, apart, tls } of CLUSTERS) {
    test(`${name} on ${server} take each other's requests`, { skip: missing(server) || (tls && noOpenssl()) }, async () => {
      const backplane = await backend(server);
      const own = mkdtempSync(join(tmpdir(), "sk-run-"));
      const houses = [];
      let balancer;
      try {
        const link = await freePort(8);
        for (const index of [0, 1]) {
          const XDG_RUNTIME_DIR = apart ? join(own, String(index)) : own;
          const env = { XDG_RUNTIME_DIR, SOCKEYE_ADAPTER: url(backplane.port, ""), ...(tls ? {} : { SOCKEYE_NODE_SECRET: SECRET }) };
          const args = apart ? ["--node-link", `127.0.0.1:${link}`] : [];
          if (tls) {
            const [certificate, key, authority] = certified(own, `machine${index}`);
            // One machine is told by flags, the other by its environment.
            if (index === 0) args.push("--node-link-cert", certificate, "--node-link-key", key, "--node-link-ca", authority);
            else Object.assign(env, { SOCKEYE_NODE_LINK_CERT: certificate, SOCKEYE_NODE_LINK_KEY: key, SOCKEYE_NODE_LINK_CA: authority });
          }
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
        if (tls) await silentToStrangers(link);
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
      [["--node-link", "10.0.0.7:4000", "--node-link-cert", "/c"], { SOCKEYE_ADAPTER: "redis://127.0.0.1" }, /--node-link-ca is missing/],
      [["--node-link", "10.0.0.7:4000", "--node-link-cert", "/no/c", "--node-link-key", "/no/k", "--node-link-ca", "/no/a"], { SOCKEYE_ADAPTER: "redis://127.0.0.1" }, /cannot read \/no\/c/],
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

/** Makes a machine's certificate as docs/up.md does, and the authority where there is none yet: the paths of certificate, key and authority. */
function certified(directory, name) {
  const at = (file) => join(directory, file);
  const openssl = (...args) => {
    const { status, stderr } = spawnSync("openssl", args, { encoding: "utf8" });
    assert.equal(status, 0, stderr);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  if (!existsSync(at("ca.pem"))) openssl("req", "-x509", ...key, "-days", "3650", "-subj", "/CN=cluster", "-keyout", at("ca.key"), "-out", at("ca.pem"));
  openssl("req", "-new", ...key, "-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`, "-keyout", at(`${name}.key`), "-out", at(`${name}.csr`));
  openssl("x509", "-req", "-in", at(`${name}.csr`), "-copy_extensions", "copy", "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "365", "-out", at(`${name}.pem`));
  return [`${name}.pem`, `${name}.key`, "ca.pem"].map(at);
}

/** Who shows no certificate gets no answer on the port of a worker. */
async function silentToStrangers(port) {
  const stranger = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false });
  const heard = [];
  stranger.on("data", (bytes) => heard.push(bytes));
  stranger.on("secureConnect", () => stranger.write("GET /health HTTP/1.1\r\nHost: a\r\n\r\n"));
  const ended = new Promise((resolve) => stranger.on("error", () => {}).on("close", resolve));
  await ended;
  assert.deepEqual(heard, []);
}

function noOpenssl() {
  return spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";
}
