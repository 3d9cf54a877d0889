// What the commands of apps print for programs (`--json`, with the keys that docs/commands.md names), and `monit` on a terminal.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { Home, SOCKEYE, until } from "../harness/keeper.mjs";
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

function holds(object, keys) {
  for (const key of keys) assert.ok(key in object, `${key} is missing in ${JSON.stringify(object)}`);
}

/** A command in a terminal of 120 columns. */
function terminal(command, env) {
  return spawn("script", ["-qefc", `stty cols 120 rows 40; exec ${command}`, "/dev/null"], { env: { ...env, TERM: "xterm" }, stdio: ["pipe", "pipe", "inherit"] });
}
