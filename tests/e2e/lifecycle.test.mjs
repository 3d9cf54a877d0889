// What an app's file says of its life, kept: order, users, exit codes, words before signals, causes of restarts; and every kind of file that may say so.

import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { Home, until } from "../harness/keeper.mjs";
import { CLUSTER_ONLY, freePort, LONG } from "../harness/target.mjs";

const skip = CLUSTER_ONLY;
const IDLE = "setInterval(() => {}, 1000)";

describe("lifecycle", { skip }, () => {
  let home;
  before(() => (home = new Home()));
  afterEach(() => home.run("delete", "all"));
  after(() => home?.stop());

  test("sockeye.toml with several apps: each waits until those that it names serve", async () => {
    home.file("base.js", `setTimeout(() => { console.log("at " + Date.now()); process.send("ready") }, 700); ${IDLE}`);
    home.file("top.js", `console.log("at " + Date.now()); ${IDLE}`);
    home.file("sockeye.toml", `[app.top]\ncommand = "top.js"\nafter = ["base"]\n[app.base]\ncommand = "base.js"\nready = "ipc"\nnamespace = "low"\n[app.base.env]\nA = "1"\n`);
    await home.ok("start", "sockeye.toml");
    assert.deepEqual((await home.list()).map((row) => [row.name, row.namespace, row.status]), [["base", "low", "online"], ["top", "default", "online"]]);
    const at = (name) => until(`${name} has said when`, () => home.lines(name).lines.map((line) => Number(/^at (\d+)$/.exec(line)?.[1]))[0]);
    assert.ok((await at("top")) >= (await at("base")), "the one below was ready first");
    home.file("bad.js", "process.exit(1)");
    home.file("late.toml", `[app.above]\ncommand = "top.js"\nafter = ["bad"]\n[app.bad]\ncommand = "bad.js"\nready = "ipc"\nmax_restarts = 1\n`);
    const { code, err } = await home.run("start", "late.toml");
    assert.equal(code, 1);
    assert.match(err, /above: after: bad/);
    const circle = home.file("circle.toml", `[app.a]\ncommand = "top.js"\nafter = ["b"]\n[app.b]\ncommand = "top.js"\nafter = ["a"]\n`);
    assert.equal((await home.run("start", circle)).code, 1);
  });

  test("two apps of one name are refused, and none is started", async () => {
    home.file("idle.js", IDLE);
    const { code, err } = await home.run("start", "idle.js", "idle.js");
    assert.equal(code, 1);
    assert.match(err, /two apps are called idle/);
    assert.deepEqual(home.keepers(), []);
  });

  const APPS = `{ apps: [{ name: "one", script: "idle.js", env: { WHO: "one" } }, { name: "two", script: "idle.js", args: ["x"], instances: 2 }] }`;
  const files = {
    "ecosystem.config.js": `module.exports = ${APPS}`,
    "ecosystem.config.cjs": `module.exports = ${APPS}`,
    "ecosystem.config.mjs": `export default ${APPS}`,
    "ecosystem.json": `{ "apps": [{ "name": "one", "script": "idle.js", "env": { "WHO": "one" } }, { "name": "two", "script": "idle.js", "args": ["x"], "instances": 2 }] }`,
    "ecosystem.yaml": `apps:\n  - name: one\n    script: idle.js\n    env:\n      WHO: one\n  - name: two\n    script: idle.js\n    args: [x]\n    instances: 2\n`,
  };
  for (const [name, text] of Object.entries(files)) {
    test(`${name} of pm2`, async () => {
      home.file("idle.js", `console.log(process.env.WHO, process.argv[2]); if (process.argv[2]) require("http").createServer().listen(process.env.PORT); else ${IDLE}`);
      home.file(name, text);
      home.env.PORT = String(await freePort());
      try {
        await home.ok("start", name);
      } finally {
        delete home.env.PORT;
      }
      const rows = (await home.list()).map((row) => [row.name, row.mode, row.status]);
      assert.deepEqual(rows, [["one", "fork", "online"], ["two", "cluster", "online"], ["two", "cluster", "online"]]);
      await until("each has its own", () => home.lines("one").lines[0] === "one undefined" && home.lines("two", "out", 1).lines.at(-1) === "undefined x");
    });
  }

  test("exit codes that mean stop stop, and others do not", async () => {
    home.file("exit.js", `process.on("SIGUSR2", () => process.exit(7)); process.on("SIGHUP", () => process.exit(8)); console.log("up"); ${IDLE}`);
    await home.ok("start", "exit.js", "--stop-exit-codes", "7,9", "--min-uptime", "0");
    await until("it is up", () => home.lines("exit").lines.length === 1);
    await home.ok("signal", "SIGHUP", "exit");
    await until("it was started again", () => home.lines("exit").lines.length === 2);
    await home.ok("signal", "SIGUSR2", "exit");
    await until("it is stopped", async () => (await home.rowsOf("exit"))[0].status === "stopped");
    assert.equal((await home.rowsOf("exit"))[0].exit, "exit status: 7");
  });

  test("--shutdown-with-message: the word comes, and ends it", async () => {
    home.file("polite.js", `process.on("message", (word) => { console.log("heard " + word); process.exit(0) }); process.on("SIGINT", () => {}); console.log("up"); ${IDLE}`);
    await home.ok("start", "polite.js", "--shutdown-with-message", "--kill-timeout", "30s");
    await until("it is up", () => home.lines("polite").lines.includes("up"));
    await home.ok("stop", "polite");
    assert.deepEqual(home.lines("polite").lines, ["up", "heard shutdown"]);
  });

  test("a user of one's own", { skip: process.getuid() !== 0 && "only root can say so" }, async () => {
    chmodSync(home.dir, 0o755);
    home.file("who.toml", `[app.who]\ncommand = "sh"\nargs = ["-c", "id -un; sleep 1000"]\nuser = "nobody"\ncwd = "/"\n`);
    await home.ok("start", "who.toml");
    await until("it says who it is", () => home.lines("who").lines[0] === "nobody");
    home.file("none.toml", `[app.none]\ncommand = "sh"\nuser = "no-such-user"\n`);
    assert.match((await home.run("start", "none.toml")).err, /there is no no-such-user in \/etc\/passwd/);
  });

  test("watch and the limit of memory with several instances: all for a file, the one alone that is too large", async () => {
    const port = await freePort();
    home.file("several.js", `require("http").createServer((q, r) => { if (q.url === "/eat") global.kept = Buffer.alloc(250e6, 1); r.end(process.env.NODE_APP_INSTANCE) }).listen(${port}); console.log("up")`);
    await home.ok("start", "several.js", "-i", "2", "--watch", "--max-memory-restart", "200M", "--drain", "1s");
    const restarts = async () => (await home.rowsOf("several")).map((row) => row.restarts);
    assert.deepEqual(await restarts(), [0, 0]);
    const eater = Number(await (await fetch(`http://127.0.0.1:${port}/eat`)).text());
    await until("it is restarted", async () => (await restarts())[eater] === 1);
    assert.equal((await restarts())[1 - eater], 0);
    home.file("several.js", `require("http").createServer((q, r) => r.end("second")).listen(${port}); console.log("again")`);
    await until("both run the other text", () => [0, 1].every((place) => home.lines("several", "out", place).lines.at(-1) === "again"));
    await until("both serve", async () => (await home.rowsOf("several")).every((row) => row.status === "online"));
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "second");
  });

  test("cron restarts at its minute", { skip: LONG ? false : "waits for the minute (--long)" }, async () => {
    home.file("clock.js", `console.log("up"); ${IDLE}`);
    await home.ok("start", "clock.js", "--cron", "* * * * *");
    const [{ pid }] = await home.list();
    await until("it is another process", async () => (await home.list())[0].pid !== pid);
  });
});
