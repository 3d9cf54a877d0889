// `sockeye up` as a process: how it starts, what it says when it cannot, and that nothing of it stays.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { closeAll, connectMany } from "../harness/clients.mjs";
import { alive } from "../harness/processes.mjs";
import { binary, CLUSTER_ONLY, freePort, up } from "../harness/target.mjs";

describe("health", () => {
  let target;
  before(async () => (target = await up({ app: "chat" })));
  after(() => target?.stop());

  for (const path of ["/health", "/ready", "/health.txt", "/"]) {
    for (const method of ["GET", "HEAD"]) {
      test(`${method} ${path} is 200`, async () => {
        const answer = await target.knock(path, { method });
        const body = await answer.text();
        assert.equal(answer.status, 200);
        if (method === "HEAD" || path === "/health.txt") assert.equal(body, "");
      });
    }
  }

  test("a path that nobody serves is 404", async () => {
    assert.equal((await target.knock("/nothing-here")).status, 404);
  });

  test("no path leads out of the page's directory", async () => {
    for (const path of ["/../src/main.rs", "/..%2fsrc/main.rs", "/assets/%2e%2e/%2e%2e/Cargo.toml", "//etc/passwd"]) {
      const { status } = await rawGet(target.port, path);
      assert.ok(status === 404 || status === 400 || status === 403, `${path}: ${status}`);
    }
  });
});

describe("the end", { skip: CLUSTER_ONLY }, () => {
  for (const [what, end] of [
    ["SIGTERM", (target) => process.kill(target.pid, "SIGTERM")],
    ["SIGINT", (target) => process.kill(target.pid, "SIGINT")],
    ["Ctrl-C, which a terminal sends to all processes of the job", (target) => process.kill(-target.pid, "SIGINT")],
  ]) {
    test(`${what} with clients connected leaves no process and no file, and exits 0`, async () => {
      const target = await up({ workers: 2 });
      const sockets = await connectMany(target.url, "default", 20, { reconnection: false });
      try {
        assert.equal(target.workers().length, 2);
        end(target);
        const { code } = await Promise.race([target.exited, sleep(15_000, { code: "late" })]);
        assert.equal(code, 0, target.output);
        await target.nothingIsLeft();
      } finally {
        closeAll(sockets);
        await target.stop();
      }
    });
  }

  test("kill -9 of the parent ends the workers by themselves, and the next start sweeps up its files", async () => {
    const target = await up({ workers: 2 });
    const workers = target.workers();
    process.kill(target.pid, "SIGKILL");
    await target.exited;
    const deadline = Date.now() + 2000;
    while (workers.some(alive)) {
      assert.ok(Date.now() < deadline, "a worker outlives its parent");
      await sleep(10);
    }
    const left = readdirSync(target.runtimeDir);
    const successor = await up({ workers: 1, env: { SOCKEYE_RUNTIME_DIR: target.runtimeDir } });
    try {
      const there = readdirSync(target.runtimeDir);
      assert.ok(left.every((name) => !there.includes(name)), `not swept: ${there}`);
    } finally {
      await successor.stop();
      assert.deepEqual(readdirSync(target.runtimeDir), []);
      await target.stop();
    }
  });
});

describe("what cannot start", { skip: CLUSTER_ONLY }, () => {
  test("a taken port is one line that names it", async () => {
    const other = createServer();
    await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address();
    const { code, lines } = await run("up", "--port", port, "-i", 1);
    other.close();
    refusedWith(code, lines, new RegExp(String(port)));
  });

  for (const [what, flags, word] of [
    ["an unknown flag", ["up", "--bogus"], /--bogus/],
    ["a port that is no port", ["up", "--port", "99999"], /99999/],
    ["no workers at all", ["up", "-i", "0"], /0/],
    ["an unknown command", ["uq"], /uq/],
    ["a host that is no address", ["up", "--host", "not an address"], /not an address/],
  ]) {
    test(`${what} is one line that says what to do`, async () => {
      const { code, lines } = await run(...flags);
      refusedWith(code, lines, word);
    });
  }

  test("--help and --version say what they should and exit 0", async () => {
    for (const [flags, word] of [[["--help"], /up/], [["up", "--help"], /--worker-ports/], [["--version"], /\d+\.\d+\.\d+/]]) {
      const { code, lines } = await run(...flags);
      assert.equal(code, 0);
      assert.match(lines.join("\n"), word);
    }
  });
});

function refusedWith(code, lines, word) {
  assert.ok(code > 0, `exit code ${code}`);
  assert.equal(lines.length, 1, lines.join("\n"));
  assert.match(lines[0], word);
}

/** Runs the product to its end; `lines` is all that it printed. */
async function run(...flags) {
  const runtimeDir = mkdtempSync(join(tmpdir(), "sk-"));
  const port = flags.includes("--port") ? [] : flags[0] === "up" && !flags.includes("--help") ? ["--port", await freePort()] : [];
  const child = spawn(binary(), [...flags, ...port].map(String), { env: { ...process.env, SOCKEYE_RUNTIME_DIR: runtimeDir }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const timer = setTimeout(kill, 10_000);
  const code = await new Promise((resolve) => child.on("close", (code) => resolve(code ?? -1)));
  clearTimeout(timer);
  process.off("exit", kill);
  const left = readdirSync(runtimeDir);
  rmSync(runtimeDir, { recursive: true });
  assert.deepEqual(left, [], "files left behind");
  return { code, lines: output.split("\n").filter((line) => line.trim() !== "") };
}

/** A GET whose path is sent as it stands; `fetch` would tidy it up. */
function rawGet(port, path) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`));
    let text = "";
    socket.setEncoding("latin1").on("data", (more) => (text += more));
    socket.on("end", () => resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0) }));
    socket.on("error", reject);
  });
}
