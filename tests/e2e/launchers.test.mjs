// Who is the app under `sockeye start -i`, and who is a mere child: launchers, shells, helpers, servers of bytes, and apps that bring a cluster of their own.
// The table is in docs/node-apps.md.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { closeAll, connectMany, untroubled, whereabouts } from "../harness/clients.mjs";
import { reaches } from "../harness/copies.mjs";
import { Home, SOCKEYE, until } from "../harness/keeper.mjs";
import { CLUSTER_ONLY, freePort, ROOT } from "../harness/target.mjs";

const APPS = join(ROOT, "tests/apps");
const skip = CLUSTER_ONLY || (existsSync(join(APPS, "node_modules/@socket.io/sticky")) ? false : "tests/apps is not installed (npm ci)");

describe("who is the app", { skip }, () => {
  let home, port;
  before(() => {
    home = new Home();
    home.file("package.json", JSON.stringify({ scripts: { start: `node ${join(APPS, "http.cjs")}` } }));
    home.file("run.sh", `exec node ${join(APPS, "http.cjs")}`);
    home.file("helped.sh", `node helper.js & exec node ${join(APPS, "http.cjs")}`);
    home.file("helper.js", `require("http").createServer((q, r) => r.end("helper")).on("error", () => process.exit(0)).listen(process.env.HELPER, "127.0.0.1")`);
  });
  after(() => home?.stop());

  /** Starts two under a name, on a free port that is told in the environment, or as a flag. */
  async function start(name, words, env = {}) {
    port = await freePort(1);
    const before = { ...home.env };
    Object.assign(home.env, env);
    if (!words.includes("--port")) home.env.PORT = String(port);
    try {
      const index = words.indexOf("--");
      const flags = ["--name", name, "-i", "2"];
      const all = index < 0 ? [...words, ...flags] : [...words.slice(0, index), ...flags, ...words.slice(index)];
      return await home.run("start", ...all.map((word) => (word === "PORT" ? port : word)));
    } finally {
      home.env = before;
    }
  }

  /** Both copies have clients, who hear each other. */
  async function isOne(copies = 2) {
    const sockets = await connectMany(`http://127.0.0.1:${port}`, "default", 8);
    try {
      untroubled(sockets);
      assert.ok(new Set((await whereabouts(sockets)).map(({ pid }) => pid)).size >= copies);
      await reaches(sockets, "to all");
    } finally {
      closeAll(sockets);
    }
  }

  for (const [what, words] of [
    ["npm start", ["npm", "--", "start"]],
    ["a shell that becomes Node.js, with PORT in the environment", ["run.sh"]],
    ["a shell that becomes Node.js, with --port", ["run.sh", "--port", "PORT"]],
  ]) {
    test(`${what}: the app is one server`, async () => {
      const { code, err } = await start("web", words);
      assert.equal(code, 0, err);
      await isOne();
      await home.ok("delete", "web");
    });
  }

  test("the inspector of each copy listens by itself, and the app is one server", async () => {
    await start("inspected", [join(APPS, "http.cjs")], { NODE_OPTIONS: "--inspect=127.0.0.1:0" });
    await isOne();
    for (const place of [0, 1]) {
      const said = await until("it says where", () => /Debugger listening on ws:\/\/(127\.0\.0\.1:\d+)/.exec(home.lines("inspected", "error", place).lines.join("\n")));
      const targets = await (await fetch(`http://${said[1]}/json/list`)).json();
      assert.match(targets[0].url, /http\.cjs$/);
    }
    await home.ok("delete", "inspected");
  });

  test("a helper that an app starts beside it listens by itself, and the app is one server", async () => {
    const HELPER = String(await freePort());
    const { code, err } = await start("web", ["helped.sh", "--port", "PORT"], { HELPER });
    assert.equal(code, 0, err);
    await until("the helper answers", () => fetch(`http://127.0.0.1:${HELPER}`).then((answer) => answer.text(), () => ""));
    await isOne();
    assert.deepEqual((await home.rowsOf("web"))[0].listening, [`127.0.0.1:${port}`], "the helper's port is not the edge's");
    await home.ok("delete", "web");
  });

  test("a server of bytes is shared by the copies, each connection its own", async () => {
    const { code, err } = await start("raw", [join(APPS, "raw.cjs")], { RAW: "1" });
    assert.equal(code, 0, `${err}${home.lines("raw", "error").lines.join("\n")}`);
    await until("both ports are open", async () => (await home.rowsOf("raw")).every((row) => row.listening.length === 2));
    const hear = () =>
      new Promise((resolve, reject) => {
        let heard = "";
        const socket = net.connect(port + 1, "127.0.0.1", () => socket.write("echo\n"));
        socket.setEncoding("utf8").on("error", reject).on("data", (text) => {
          heard += text;
          if (!heard.endsWith("echo\n")) return;
          socket.destroy();
          resolve(heard.split("\n")[0]);
        });
      });
    const pids = await until("both take connections", async () => {
      const heard = new Set(await Promise.all(Array.from({ length: 8 }, hear)));
      return heard.size === 2 && heard;
    });
    assert.deepEqual(new Set(await home.pids("raw")), new Set([...pids].map((text) => Number(text.slice(4)))));
    assert.match(await (await fetch(`http://127.0.0.1:${port}`)).text(), /^pid/);
    await home.ok("delete", "raw");
  });

  for (const [kind, words] of [["https", /ends TLS itself.*let the edge end TLS/], ["h2", /speaks HTTP\/2.*http\.createServer/]]) {
    test(`a server of ${kind} is refused, and what to do is in its log`, async () => {
      await start("secure", [join(APPS, "secure.cjs"), "--max-restarts", "1"], { KIND: kind });
      await until("it is given up", async () => (await home.rowsOf("secure")).every((row) => row.status === "errored"));
      const said = home.lines("secure", "error").lines.join("\n");
      assert.match(said, words);
      assert.match(said, /code: 'ENOTSUP'/);
      await home.ok("delete", "secure");
    });
  }

  test("@socket.io/sticky with @socket.io/cluster-adapter goes on as one copy, by itself, and that is said", async () => {
    const { code, err } = await start("sticky", [join(APPS, "sticky.cjs")]);
    assert.match(err, /the app cannot run several times: the app forks its own `cluster`.*start it without -i/, `${code}`);
    const url = `http://127.0.0.1:${port}`;
    await until("it listens", () => fetch(`${url}/socket.io/?EIO=4&transport=polling`).then((answer) => answer.ok, () => false));
    // It loses a client now and then, also by itself.
    await until("clients are served", () => isOne(1).then(() => true, () => false));
    const rows = await home.rowsOf("sticky");
    assert.deepEqual([rows[0].status, rows[1].status, rows[1].exit], ["online", "stopped", "exit status: 78"]);
    await home.ok("delete", "sticky");
  });

  test("Bun takes no preload: several copies need --port, and that is said", async () => {
    // A program of that name: what it runs is not looked at.
    mkdirSync(join(home.dir, "bin"));
    writeFileSync(join(home.dir, "bin/bun"), `#!/bin/sh\nexec ${process.execPath} "$@"`, { mode: 0o755 });
    const PATH = `${join(home.dir, "bin")}:${home.env.PATH}`;
    const words = [join(APPS, "http.cjs"), "--interpreter", "bun"];
    const env = { ...home.env, PATH };
    const run = (...flags) => spawnSync(SOCKEYE, ["start", ...words, "--name", "bun", ...flags.map(String)], { env, encoding: "utf8" });
    const refused = run("-i", 2);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /bun: bun takes no preload.*--port/);
    port = await freePort();
    const { status, stderr } = run("-i", 2, "--port", port);
    assert.equal(status, 0, stderr);
    const sockets = await connectMany(`http://127.0.0.1:${port}`, "default", 8);
    try {
      untroubled(sockets);
      assert.equal(new Set((await whereabouts(sockets)).map(({ pid }) => pid)).size, 2);
    } finally {
      closeAll(sockets);
    }
    await home.ok("delete", "bun");
  });

  test("an app on uWebSockets.js goes on as one copy, and that is said", async () => {
    const { err } = await start("native", [join(APPS, "native.cjs")]);
    assert.match(err, /the app cannot run several times: the app listens by uWebSockets\.js.*start it without -i/);
    await until("the other copy ended", async () => (await home.rowsOf("native"))[1].status === "stopped");
    assert.equal((await home.rowsOf("native"))[0].status, "online");
    await home.ok("delete", "native");
  });
});
