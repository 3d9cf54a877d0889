// The admin API: programs that are no servers emit, disconnect and ask for sockets over HTTP, on every node of a cluster.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { backend, missing } from "../harness/backends.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { binary, freePort, REFERENCE, ROOT } from "../harness/target.mjs";
import { eventually } from "../harness/waiting.mjs";

const run = promisify(execFile);
const SKIP = REFERENCE ? "the API is ours" : existsSync(binary("conformance")) ? false : "conformance is not built";
const TOKEN = "a token of some length";
const CLUSTERS = [
  { name: "Redis", server: "redis", url: (port) => `redis://127.0.0.1:${port}` },
  { name: "Postgres", server: "postgres", url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres` },
  { name: "a directory", server: "directory", url: (_, directory) => `mesh:${directory}/mesh` },
];

for (const cluster of CLUSTERS) {
  describe(`the admin API of servers on ${cluster.name}`, { skip: SKIP || missing(cluster.server) }, () => {
    let server;
    let port;
    const nodes = [];
    before(async () => {
      server = await backend(cluster.server);
      port = await freePort();
      const url = cluster.url(server.port, server.directory);
      nodes.push(await sockeye(url, { args: ["--admin", `127.0.0.1:${port}`], env: { SOCKEYE_ADMIN_TOKEN: TOKEN } }), await sockeye(url));
      await eventually(async () => (await nodes[0].ask("server-side-emit-ack", {}, "there?"))[1].length === 1);
    });
    after(async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await server?.stop();
    });
    const call = async (method, path, body) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: { authorization: `Bearer ${TOKEN}` },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(20_000),
      });
      return [answer.status, await answer.json()];
    };

    test("Python reaches a client of the other node", async (t) => {
      const client = await nodes[1].client();
      await nodes[1].do("sockets-join", { rooms: [client.id] }, ["kitchen"]);
      const [news, gone] = [once(client, "news"), once(client, "disconnect")];
      const { stdout } = await run("python3", [join(ROOT, "tests/python/admin.py"), `http://127.0.0.1:${port}`, TOKEN], { timeout: 60_000 });
      t.diagnostic(stdout.trim());
      assert.deepEqual(await news, ["from Python", { ü: 1 }]);
      assert.equal((await gone)[0], "io server disconnect");
    });

    test("a namespace that lives on the other node only is reached as well", async () => {
      const client = await nodes[1].client({ nsp: "/dynamic-far" });
      // Those that do not have the namespace say so at once.
      assert.deepEqual(await nodes[1].ask("count", { nsp: "/dynamic-far", flags: { timeout: 15_000 } }), [null, 1]);
      const news = once(client, "news");
      await eventually(async () => (await call("GET", "/sockets?nsp=/dynamic-far"))[1].sockets.length === 1);
      assert.deepEqual(await call("POST", "/emit", { nsp: "/dynamic-far", event: "news", args: [1, 2], flags: { volatile: false } }), [200, { ok: true }]);
      assert.deepEqual(await news, [1, 2]);
      const [status, { complete, sockets }] = await call("GET", `/sockets?nsp=dynamic-far&except=${client.id}`);
      assert.deepEqual([status, complete, sockets], [200, true, []]);
      const gone = once(client, "disconnect");
      assert.deepEqual(await call("POST", "/disconnect", { nsp: "/dynamic-far", rooms: [client.id], close: true }), [200, { ok: true }]);
      await gone;
    });

    test("a node that does not answer is named, with what the others told", async () => {
      const client = await nodes[0].client();
      nodes[1].process.kill("SIGSTOP");
      try {
        const [status, told] = await call("GET", "/sockets?timeout=300");
        assert.deepEqual([status, told.complete, told.missing.length], [200, false, 1], JSON.stringify(told));
        assert.deepEqual([told.sockets.some(({ id }) => id === client.id), told.missing[0].why], [true, "it did not answer in time"]);
        assert.match(told.missing[0].node, /./);
      } finally {
        nodes[1].process.kill("SIGCONT");
      }
      await eventually(async () => (await call("GET", "/sockets"))[1].complete);
    });
  });
}

describe("the admin API", { skip: SKIP }, () => {
  test("is not there without a token", async () => {
    for (const [token, line] of [[undefined, /admin\.token: expected a token of at least 16 characters, got none/], ["short", /expected a secret of at least 16 bytes, got 5/]]) {
      const env = { ...process.env };
      delete env.SOCKEYE_ADMIN_TOKEN;
      if (token) env.SOCKEYE_ADMIN_TOKEN = token;
      const child = spawn(binary("conformance"), ["--port", await freePort(), "--admin", "127.0.0.1:0"], { env, stdio: ["ignore", "pipe", "pipe"], timeout: 20_000 });
      let output = "";
      child.stderr.setEncoding("utf8").on("data", (text) => (output += text));
      const [code] = await once(child, "close");
      assert.equal(code, 1, output);
      assert.match(output, line);
    }
  });

  test("of a server that is alone names a namespace that is not there, and one connection more than there is room for waits", async () => {
    const port = await freePort();
    const admin = await freePort();
    const env = { ...process.env, SOCKEYE_ADMIN_TOKEN: TOKEN };
    const child = spawn(binary("conformance"), ["--port", port, "--admin", `127.0.0.1:${admin}`], { env, stdio: "ignore" });
    try {
      const emit = (nsp) =>
        fetch(`http://127.0.0.1:${admin}/emit`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: JSON.stringify({ event: "news", nsp }) });
      await eventually(async () => (await emit("/").catch(() => ({ ok: false }))).ok);
      const answer = await emit("/typo");
      assert.deepEqual([answer.status, await answer.json()], [
        404,
        { error: "this server has no such namespace, and is alone", field: "nsp", value: "/typo", fix: "known are /, /custom" },
      ]);
      const answers = await Promise.all(Array.from({ length: 200 }, () => emit("/").then((answer) => answer.status)));
      assert.deepEqual([...new Set(answers)], [200]);
    } finally {
      child.kill();
      await once(child, "close");
    }
  });
});
