// What the commands of apps print for programs (`--json`, with the keys that docs/commands.md names), and `monit` on a terminal.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import net from "node:net";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { Home, kill, SOCKEYE, until } from "../harness/keeper.mjs";
import { CLUSTER_ONLY } from "../harness/target.mjs";

const ROW = ["id", "name", "namespace", "instance", "mode", "pid", "uptime", "status", "restarts", "unstable_restarts", "cpu", "memory", "user", "watching", "sessions", "port", "listening", "exit", "keeper"];
const WORKER = ["place", "pid", "status", "uptime", "restarts", "unstable_restarts", "memory", "cpu", "sessions", "port", "exit"];
const CHANGE = ["name", "status", "error", "env", "heard"];
const DESCRIBED = ["name", "namespace", "sessions", "wanted", "program", "args", "cwd", "listening", "relayed", "trouble", "logs", "instances", "spec"];
const TALKER = `process.stdin.on("data", (text) => console.log("heard " + text)); console.log("up " + process.env.WORD); setInterval(() => {}, 1000)`;

describe("commands", { skip: CLUSTER_ONLY }, () => {
  let home;
  before(() => {
    home = new Home();
    home.file("talker.js", TALKER);
  });
  after(() => home?.stop());

  /** What a command says of itself, which must be JSON, whole. */
  async function json(...words) {
    return JSON.parse(await home.ok(...words, "--json"));
  }

  test("each of those that change something names the apps, their instances and what differs", async () => {
    home.env.WORD = "one";
    const [started] = await json("start", "talker.js", "--name", "talker", "-i", "2", "--ready", "started", "--namespace", "n");
    holds(started, CHANGE);
    assert.deepEqual([started.name, started.error, started.status.workers.length], ["talker", null, 2]);
    for (const worker of started.status.workers) holds(worker, WORKER);
    home.env.WORD = "two";
    for (const [words, instances, running] of [
      [["restart", "talker"], 2, 2],
      [["reload", "n"], 2, 2],
      [["scale", "talker", "+1"], 3, 3],
      [["stop", "talker"], 3, 0],
      [["start", "talker"], 3, 3],
      [["signal", "SIGCONT", "all"], 3, 3],
      [["flush", "talker"], 3, 3],
    ]) {
      const changes = await json(...words);
      assert.equal(changes.length, 1, words);
      const [change] = changes;
      holds(change, CHANGE);
      assert.deepEqual([change.name, change.error], ["talker", null], words);
      const rows = await home.rowsOf("talker");
      assert.deepEqual([rows.length, rows.filter((row) => row.pid !== null).length], [instances, running], words);
      if (words[0] === "restart") assert.match(JSON.stringify(change.env), /WORD/);
      if (words[0] === "signal") assert.equal(change.heard, 3);
    }
  });

  test("each of those that tell something has the keys that are written down", async () => {
    const list = await json("list");
    assert.equal(list.length, 3);
    for (const row of list) holds(row, ROW);
    const [described] = await json("describe", "talker");
    holds(described, DESCRIBED);
    for (const row of described.instances) holds(row, ROW);
    const { name, env } = await json("env", "talker");
    assert.deepEqual([name, env.WORD], ["talker", "two"]);
    assert.deepEqual(await json("ping"), { running: true });
    const { saved, file } = await json("save");
    assert.ok(existsSync(file), `${saved}: ${file}`);
    holds(await json("startup", "--print"), ["unit", "text"]);
    await home.ok("restart", "talker");
    await until("a line was written", () => home.lines("talker").lines.length > 0);
    for (const line of (await home.ok("logs", "--no-follow", "--json")).trim().split("\n")) holds(JSON.parse(line), ["app", "instance", "stream", "line"]);
  });

  test("monit shows apps and lines on a terminal, and leaves it by q", async () => {
    const child = terminal(`${SOCKEYE} monit`, home.env);
    // Without blanks: where one stands already, the cursor is moved instead.
    let screen = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (screen += stripVTControlCharacters(text).replaceAll(/\s/g, "")));
    const ended = new Promise((resolve) => child.once("close", resolve));
    try {
      for (const part of ["3instances", "0sessions", "%cpu", "talker", "online", "uptwo"]) {
        await until(() => `${part} is on the screen:\n${screen.slice(-4000)}`, () => screen.includes(part));
      }
      child.stdin.write("q");
      assert.equal(await ended, 0);
    } finally {
      child.kill("SIGKILL");
    }
    const { code, err } = await home.run("monit");
    assert.equal(code, 1);
    assert.match(err, /terminal/);
  });

  test("monit for programs is a list each second", async () => {
    const child = spawn(SOCKEYE, ["monit", "--json"], { env: home.env, stdio: ["ignore", "pipe", "ignore"] });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
    try {
      await until("two lists came", () => out.split("\n").length > 2);
      for (const line of out.split("\n").slice(0, 2)) assert.equal(JSON.parse(line).length, 3);
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("those that end everything, and bring it back, say what", async () => {
    const attached = spawn(SOCKEYE, ["attach", "talker", "--json"], { env: home.env, stdio: ["pipe", "pipe", "ignore"] });
    let out = "";
    attached.stdout.setEncoding("utf8").on("data", (text) => (out += text));
    try {
      attached.stdin.write("a word\n");
      await until("it was heard", () => out.includes("heard a word"));
      holds(JSON.parse(out.slice(0, out.indexOf("\n"))), ["app", "instance", "stream", "line"]);
    } finally {
      attached.kill("SIGKILL");
    }
    const [killed] = await json("kill");
    holds(killed, CHANGE);
    assert.deepEqual(new Set((await home.list()).map((row) => row.status)), new Set(["stopped"]));
    const [back] = await json("resurrect");
    holds(back, CHANGE);
    assert.equal((await home.rowsOf("talker")).length, 3);
    const [gone] = await json("delete", "talker");
    holds(gone, CHANGE);
    assert.deepEqual(await home.list(), []);
  });
});

describe("what is easily said wrong", { skip: CLUSTER_ONLY }, () => {
  let home;
  before(() => {
    home = new Home();
    home.file("idle.js", "setInterval(() => {}, 1000)");
  });
  after(() => home?.stop());

  /** A command that must fail, and what it says. */
  async function refused(...words) {
    const { code, err } = await home.run(...words);
    assert.equal(code, 1, `${words}: ${err}`);
    return err;
  }

  test("a profile that is not there changes nothing", async () => {
    home.file("some.toml", '[app.some]\ncommand = "idle.js"\n[app.some.profile.production]\nMODE = "p"\n[app.some.profile.test]\nMODE = "t"\n');
    assert.match(await refused("start", "some.toml", "--env", "bogus"), /some\.toml: profile bogus is not there: expected one of production, test/);
    assert.match(await refused("up", "some.toml", "--env", "bogus"), /profile bogus is not there: expected one of production, test/);
    await home.ok("start", "some.toml", "--env", "production");
    for (const command of ["restart", "reload", "start"]) {
      assert.match(await refused(command, "some", "--env", "bogus"), /profile bogus is not there: expected one of production, test/);
    }
    assert.match(await home.ok("env", "some"), /^MODE=p$/m);
    await home.ok("restart", "some", "--env", "test");
    assert.match(await home.ok("env", "some"), /^MODE=t$/m);
    await home.ok("delete", "some");
  });

  test("flags that cannot count are refused, and those of pm2 that change nothing are taken", async () => {
    await home.ok("start", "idle.js", "--no-vizion", "--merge-logs", "--cron-restart=0", "--source-map-support", "-s");
    const before = await home.pids("idle");
    assert.match(await refused("start", "idle", "--name", "other", "-i", "3", "--port", "9999"), /idle is in the list.* --name, --instances, --port cannot be said of it now/);
    assert.match(await refused("reload", "idle", "--drain", "3"), /--drain is said at the start/);
    assert.match(await refused("start", "idle.js", "--no-daemon"), /sockeye up FILE/);
    assert.match(await refused("start", "idle.js"), /idle runs already/);
    assert.deepEqual(await home.pids("idle"), before);
    await home.ok("restart", "idle", "--update-env", "--no-color");
    await home.ok("start", "idle.js", "-f", "-i", "0", "--ready", "started");
    assert.equal((await home.rowsOf("idle")).length, availableParallelism());
    await home.ok("delete", "idle", "-s");
  });

  test("a port that was taken and is free again is no trouble any more", async () => {
    const other = net.createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address();
    home.file("web.js", `require("node:http").createServer((_, answer) => answer.end()).listen(${port}, "127.0.0.1")`);
    try {
      assert.match(await refused("start", "web.js", "-i", "2", "--max-restarts", "1"), new RegExp(`${port}`));
    } finally {
      other.close();
      await once(other, "close");
    }
    const { code, err } = await home.run("restart", "web");
    assert.deepEqual([code, err], [0, ""]);
    await home.ok("delete", "web");
  });

  test("a process file stands for its apps: reload and restart take on what it says now, stop and delete end them", async () => {
    const write = (instances, word, more = "") =>
      home.file("eco.config.js", `module.exports = { apps: [{ name: "one", script: "talker.js", instances: ${instances}, exec_mode: "cluster", wait_ready: true, env: { WORD: "${word}" } }${more}] }`);
    home.file("talker.js", "console.log(process.env.WORD); process.send?.('ready'); setInterval(() => {}, 1000)");
    write(1, "first");
    assert.match(await refused("stop", "eco.config.js"), /no app of the process file is in the list/);
    await home.ok("start", "eco.config.js");
    assert.match(await refused("start", "eco.config.js"), /one runs already: sockeye reload eco\.config\.js takes on what the file says now/);
    const [{ keeper }] = await home.rowsOf("one");
    write(2, "second");
    await home.ok("reload", "eco.config.js");
    const rows = await home.rowsOf("one");
    assert.deepEqual(rows.map((row) => [row.status, row.keeper]), [["online", keeper], ["online", keeper]]);
    await until("both say the new word", () => [0, 1].every((place) => home.lines("one", "out", place).lines.at(-1) === "second"));
    write(1, "third", ', { name: "two", script: "idle.js" }');
    await home.ok("restart", "eco.config.js");
    assert.deepEqual((await home.list()).map((row) => [row.name, row.status]), [["one", "online"], ["two", "online"]]);
    await until("it says the new word", () => home.lines("one").lines.at(-1) === "third");
    await home.ok("stop", "eco.config.js", "--only", "two");
    assert.deepEqual((await home.list()).map((row) => row.status), ["online", "stopped"]);
    await home.ok("delete", "eco.config.js");
    assert.deepEqual(await home.list(), []);
  });

  test("a keeper that cannot be asked does not make its app one that is stopped", async () => {
    await home.ok("start", "idle.js");
    const [{ keeper }] = await home.rowsOf("idle");
    kill(keeper, "SIGSTOP");
    try {
      const [row] = await home.rowsOf("idle");
      assert.deepEqual([row.status, row.keeper], ["unknown", keeper]);
    } finally {
      kill(keeper, "SIGCONT");
    }
    await until("it says how it is", async () => (await home.rowsOf("idle"))[0].status === "online");
  });

  test("another XDG_RUNTIME_DIR, or none, leads to the daemon that has the list", async () => {
    const [before, here] = [await home.pids("idle"), home.env.XDG_RUNTIME_DIR];
    const daemon = home.daemon();
    try {
      for (const there of [join(home.dir, "r2"), undefined]) {
        home.env = { ...home.env, HOME: home.dir, XDG_RUNTIME_DIR: there };
        if (there === undefined) delete home.env.XDG_RUNTIME_DIR;
        assert.deepEqual(await home.pids("idle"), before);
        await home.ok("ping");
        await home.ok("flush");
      }
      await home.ok("restart", "idle", "--keep-env");
    } finally {
      home.env = { ...home.env, XDG_RUNTIME_DIR: here };
    }
    assert.deepEqual([home.daemon(), home.keepers().length], [daemon, 1]);
    assert.notDeepEqual(await home.pids("idle"), before);
  });

  test("a runtime directory that was removed is told, nothing runs twice, and kill ends it all", async () => {
    const before = await home.pids("idle");
    rmSync(join(home.dir, "r/sockeye"), { recursive: true });
    assert.deepEqual((await home.list()).map((row) => row.status), ["unknown"]);
    for (const words of [["ping"], ["reload", "idle"]]) {
      assert.match(await refused(...words), new RegExp(`process ${home.daemon()}, holds .* cannot be reached: its sockets in .* are gone.*sockeye kill`));
    }
    assert.equal(home.keepers().length, 1);
    await home.ok("kill");
    assert.deepEqual(home.processes(), []);
    assert.deepEqual((await home.list()).map((row) => row.status), ["stopped"]);
    await home.ok("start", "idle");
    assert.notDeepEqual(await home.pids("idle"), before);
  });
});

function holds(object, keys) {
  for (const key of keys) assert.ok(key in object, `${key} is missing in ${JSON.stringify(object)}`);
}

/** A command in a terminal of 120 columns. */
function terminal(command, env) {
  return spawn("script", ["-qefc", `stty cols 120 rows 40; exec ${command}`, "/dev/null"], { env: { ...env, TERM: "xterm" }, stdio: ["pipe", "pipe", "inherit"] });
}
