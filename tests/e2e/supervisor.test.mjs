// `sockeye start`: any program in the background, whoever dies. Each complaint about pm2 has a test here; the table is in tests/README.md.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { HAS_SYSTEMD, Home, SOCKEYE, kill, load, rss, until } from "../harness/keeper.mjs";
import { CLUSTER_ONLY, LONG, freePort } from "../harness/target.mjs";
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";

const skip = CLUSTER_ONLY;

/** Numbers its lines, many a second. */
const COUNTER = `let n = 0; setInterval(() => { let text = ""; for (let i = 0; i < 10; i++) text += "line " + n++ + "\\n"; process.stdout.write(text) }, 10);`;

describe("commands", { skip }, () => {
  let home;
  before(() => (home = new Home()));
  after(() => home?.stop());

  test("list starts no daemon, and neither does help", async () => {
    assert.deepEqual(await home.list(), []);
    await home.ok("--help");
    assert.deepEqual(home.processes(), []);
    assert.equal((await home.run("ping")).code, 1);
  });

  test("a script is started, listed, restarted, stopped and forgotten", async () => {
    home.file("app.js", `console.log("hello", process.argv[2], process.env.NODE_APP_INSTANCE); setInterval(() => {}, 1000)`);
    await home.ok("start", "app.js", "--name", "web", "--namespace", "front", "--", "argument");
    const [row] = await home.list();
    assert.deepEqual([row.id, row.name, row.namespace, row.mode, row.status, row.restarts], [0, "web", "front", "fork", "online", 0]);
    await until("its line is in its log", () => home.lines("web").lines.includes("hello argument 0"));
    assert.match(await home.ok("logs", "web", "--no-follow"), /^0\|web \| hello argument 0$/m);
    assert.match(await home.ok("list"), /^id +name +namespace +mode +pid +uptime +↺ +status +cpu +mem +user +watching$/m);
    for (const word of ["web", "0", "front", "all"]) await home.ok("restart", word);
    const [again] = await home.list();
    assert.equal(again.restarts, 4);
    assert.notEqual(again.pid, row.pid);
    await home.ok("stop", "web");
    assert.equal((await home.list())[0].status, "stopped");
    await home.ok("start", "web");
    assert.equal((await home.list())[0].status, "online");
    await home.ok("delete", "web");
    assert.deepEqual(await home.list(), []);
  });

  test("what cannot be started says why in one line", async () => {
    for (const [words, expected] of [
      [["gone.js"], /gone: command: there is no gone\.js, neither as a file nor as a program of PATH/],
      [["app.js", "--cron", "soon"], /cron: expected five fields of cron such as 0 3 \* \* \*, got soon/],
      [["app.js", "--name", "7"], /--name: expected a name that is neither a number nor all, got 7/],
    ]) {
      const { code, err } = await home.run("start", ...words);
      assert.equal(code, 1);
      assert.match(err, expected);
      assert.equal(err.trim().split("\n").length, 1);
    }
  });

  test("a process file of pm2 is read, and what is not supported is named", async () => {
    home.file("loop.py", "import time, os\nprint('python', os.environ['MODE'])\nwhile True: time.sleep(1)\n");
    home.file("ecosystem.config.js", `module.exports = { apps: [
      { name: "api", script: "loop.py", env: { MODE: "development" }, env_production: { MODE: "production" }, merge_logs: true },
      { name: "job", script: "sleep", args: ["1000"], namespace: "back" } ] }`);
    const { code, err } = await home.run("start", "ecosystem.config.js", "--env", "production");
    assert.equal(code, 0);
    assert.match(err, /api: merge_logs is not supported/);
    await until("the profile's variable is set", () => home.lines("api").lines.includes("python production"));
    assert.deepEqual((await home.list()).map((row) => [row.name, row.namespace]), [["api", "default"], ["job", "back"]]);
    home.file("more.yaml", "apps:\n  - name: third\n    script: sleep\n    args: '1000'\n");
    await home.ok("start", "more.yaml");
    await home.ok("delete", "all");
  });

  test("the environment is read anew, the difference is named, and secrets are masked (complaint 6)", async () => {
    home.file("env.js", `console.log("A=" + process.env.A); setInterval(() => {}, 1000)`);
    home.env.A = "1";
    home.env.DB_PASSWORD = "hunter2";
    await home.ok("start", "env.js");
    home.env.A = "2";
    home.env.B = "1";
    assert.match(await home.ok("restart", "env"), /environment ~A \+B/);
    await until("the value is there", () => home.lines("env").lines.includes("A=2"));
    assert.match(await home.ok("env", "env"), /^DB_PASSWORD=\*{6}$/m);
    const all = (await home.ok("describe", "env", "--json")) + (await home.ok("describe", "env")) + home.ownLog();
    assert.ok(!all.includes("hunter2"));
    home.env.A = "3";
    await home.ok("restart", "env", "--keep-env");
    assert.match(await home.ok("env", "env", "--json"), /"A":"2"/);
    await home.ok("delete", "env");
  });

  test("one that fails at once is given up at the cap, and not before (complaint 11)", async () => {
    home.file("fail.js", "process.exit(3)");
    await home.run("start", "fail.js", "--max-restarts", "4", "--backoff", "10ms");
    const row = await until("it is given up", async () => (await home.list()).find((one) => one.status === "errored"));
    assert.deepEqual([row.restarts, row.unstable_restarts, row.exit], [3, 4, "exit status: 3"]);
    await home.ok("delete", "fail");
    home.file("end.js", "process.exit(0)");
    await home.run("start", "end.js", "--stop-exit-codes", "0");
    await until("it is stopped", async () => (await home.list())[0].status === "stopped");
    await home.ok("delete", "end");
  });

  test("it is asked by SIGINT, has its time, and its whole group ends, also who left it (complaint 10)", async () => {
    home.file("group.sh", `trap 'echo graceful; sleep 0.2; echo done; exit 0' INT
sleep 1000 & setsid sleep 2000 & (trap '' INT; sleep 3000) & echo up; while true; do sleep 0.05; done`);
    await home.ok("start", "group.sh");
    await until("it is up", () => home.lines("group").lines.includes("up"));
    const sleeping = () => home.processes().filter((one) => one.words[0] === "sleep" && Number(one.words[1]) >= 1000);
    await until("its children are there", () => sleeping().length === 3);
    await home.ok("stop", "group");
    assert.deepEqual(home.lines("group").lines.slice(-2), ["graceful", "done"]);
    assert.deepEqual(sleeping(), []);
    await home.ok("delete", "group");
  });

  test("four ways to be ready", async () => {
    home.file("ipc.js", `setTimeout(() => process.send("ready"), 300); setInterval(() => {}, 1000)`);
    home.file("notify.py", "import os, socket, time\ntime.sleep(0.3)\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\nwhile True: time.sleep(1)\n");
    home.file("http.js", `require("http").createServer((q, r) => { r.statusCode = q.url === "/up" && Date.now() > t ? 200 : 503; r.end() }).listen(process.env.PORT); const t = Date.now() + 300`);
    const port = await freePort();
    await home.ok("start", "ipc.js", "--wait-ready");
    await home.ok("start", "notify.py", "--ready", "notify");
    await home.ok("start", "http.js", "--ready", "http:/up", "--port", port);
    for (const row of await home.list()) assert.equal(row.status, "online", row.name);
    home.file("never.js", `setInterval(() => {}, 1000)`);
    await home.run("start", "never.js", "--wait-ready", "--listen-timeout", "200", "--max-restarts", "1");
    await until("it is given up", async () => (await home.rowsOf("never"))[0].status === "errored");
    await home.ok("delete", "all");
  });

  test("a changed file, too much memory and the saved list", async () => {
    home.file("watched.js", `console.log("version 1"); setInterval(() => {}, 1000)`);
    await home.ok("start", "watched.js", "--watch");
    home.file("watched.js", `console.log("version 2"); setInterval(() => {}, 1000)`);
    await until("it is restarted", () => home.lines("watched").lines.includes("version 2"));
    await home.ok("delete", "all");
    home.file("fat.js", `console.log("begin"); const kept = []; setInterval(() => kept.push(Buffer.alloc(4e6, 1)), 20)`);
    await home.ok("start", "fat.js", "--max-memory-restart", "120M");
    await until("it is restarted", async () => (await home.list())[0].restarts > 0);
    await home.ok("save");
    await home.ok("delete", "all");
    await home.ok("resurrect");
    assert.deepEqual((await home.list()).map((row) => [row.name, row.status]), [["fat", "online"]]);
    await home.ok("delete", "all");
  });

  test("what is typed to attach is the app's standard input", async () => {
    home.file("ears.js", `process.stdin.on("data", (text) => console.log("heard " + text.toString().trim()))`);
    await home.ok("start", "ears.js");
    const { status } = spawnSync(SOCKEYE, ["attach", "ears"], { env: home.env, input: "hello\n" });
    assert.equal(status, 0);
    await until("it heard", () => home.lines("ears").lines.includes("heard hello"));
    const follower = spawn(SOCKEYE, ["logs", "ears", "--follow", "--timestamp", "--json", "--lines", "0"], { env: home.env, stdio: ["ignore", "pipe", "inherit"] });
    try {
      let said = "";
      follower.stdout.setEncoding("utf8").on("data", (text) => (said += text));
      // What comes before it follows is not shown.
      await until("what comes has its time", () => {
        spawnSync(SOCKEYE, ["attach", "ears"], { env: home.env, input: "again\n" });
        return said.includes("\n");
      });
      const { line, time } = JSON.parse(said.split("\n")[0]);
      assert.equal(line, "heard again");
      assert.ok(Math.abs(Date.now() - Date.parse(time)) < 600_000, time);
    } finally {
      follower.kill();
    }
    const { code, err } = await home.run("monit");
    assert.equal(code, 1);
    assert.match(err, /needs a terminal/);
    await home.ok("delete", "ears");
  });

  test("a unit of systemd, and completion", async () => {
    const unit = await home.ok("startup", "--print");
    assert.match(unit, /^ExecStart=.* daemon --resurrect$/m);
    assert.match(unit, /^KillMode=process$/m);
    assert.equal(JSON.parse(await home.ok("startup", "--print", "--json")).text, unit);
    home.file("sockeye.service", unit);
    if (HAS_SYSTEMD) {
      const { stderr } = spawnSync("systemd-analyze", ["verify", join(home.dir, "app/sockeye.service")], { encoding: "utf8" });
      assert.ok(!/sockeye\.service:\d+/.test(stderr), stderr);
    }
    assert.match(await home.ok("completion", "bash"), /_sockeye/);
  });
});

describe("whoever dies", { skip }, () => {
  let home;
  before(() => (home = new Home()));
  after(() => home?.stop());

  test("a keeper that was stopped by a signal is named, and a stop ends it and its app", async () => {
    home.file("frozen.js", "setInterval(() => {}, 1000)");
    await home.ok("start", "frozen.js");
    const [{ keeper, pid }] = await home.rowsOf("frozen");
    kill(keeper, "SIGSTOP");
    try {
      if (LONG) {
        const { code, err } = await home.run("restart", "frozen");
        assert.equal(code, 1);
        assert.match(err, new RegExp(`its keeper, process ${keeper}, does not answer within 10s.*kill -9 ${keeper}`));
      }
      const { err } = await home.run("delete", "frozen");
      assert.match(err, /its keeper did not answer within 10s and was killed/);
      await until("its app is gone too", () => !home.processes().some((one) => [keeper, pid].includes(one.pid)));
    } finally {
      kill(keeper, "SIGCONT");
    }
  });

  test("kill -9 of the daemon while lines and clients come: none lost, none refused, nobody dead, all adopted (complaints 1, 2)", async () => {
    const port = await freePort();
    home.file("web.js", `${COUNTER} require("http").createServer((q, r) => r.end("ok")).listen(${port})`);
    await home.ok("start", "web.js", "--ready", `port:${port}`);
    const clients = load(`http://127.0.0.1:${port}/`);
    const [pid] = await home.pids("web");
    const first = home.daemon();
    for (let round = 0; round < 3; round += 1) {
      kill(home.daemon());
      await until("it is dead", () => !home.daemon());
      assert.deepEqual(await home.pids("web"), [pid], "list needs no daemon");
      const answered = clients.counts.answered;
      await until("clients are served meanwhile", () => clients.counts.answered > answered + 20);
      await home.run("flush", "nobody");
      await until("another daemon is there", () => home.daemon());
    }
    assert.notEqual(home.daemon(), first);
    const { troubles } = await clients.stop();
    assert.deepEqual(troubles, []);
    assert.deepEqual(await home.pids("web"), [pid]);
    await home.ok("stop", "web");
    const { lines } = home.lines("web");
    assert.ok(lines.length > 100);
    lines.forEach((line, number) => assert.equal(line, `line ${number}`));
    await home.ok("delete", "web");
  });

  test("a worker and a keeper that are killed are started again, also without a daemon, and nothing is left of them", async () => {
    home.file("job.sh", "sleep 4000 & while true; do sleep 0.05; done");
    await home.ok("start", "job.sh");
    kill(home.daemon());
    const [worker] = await home.pids("job");
    kill(worker);
    await until("another worker is there", async () => {
      const [row] = await home.rowsOf("job");
      return row.status === "online" && row.pid !== worker;
    });
    assert.equal((await home.run("ping")).code, 1, "nobody started a daemon");
    await home.run("flush");
    const [keeper] = home.keepers();
    kill(keeper);
    await until("another keeper is there", async () => home.keepers().length === 1 && home.keepers()[0] !== keeper);
    await until("it serves", async () => (await home.rowsOf("job"))[0].status === "online");
    const children = () => home.processes().filter((one) => one.words[0] === "sleep" && one.words[1] === "4000");
    await until("its child is there, and no other one", () => children().length === 1);
    await home.ok("delete", "job");
  });

  test("kill -9 of everything, again and again: no orphan, no stale socket, and resurrect brings the list back (complaint 8)", async () => {
    home.file("job.sh", "sleep 5000 & while true; do sleep 0.05; done");
    home.file("other.js", "setInterval(() => {}, 1000)");
    await home.ok("start", "job.sh", "other.js");
    await home.ok("save");
    for (let round = 0; round < (LONG ? 10 : 3); round += 1) {
      await home.massacre();
      await home.ok("resurrect");
      await until("all run", async () => {
        const rows = await home.list();
        return rows.length === 2 && rows.every((row) => row.status === "online");
      });
      const children = () => home.processes().filter((one) => one.words[0] === "sleep" && one.words[1] === "5000");
      await until("one child is there, and no other one", () => children().length === 1);
      const sockets = readdirSync(join(home.dir, "r/sockeye")).filter((name) => name.endsWith(".sock"));
      assert.equal(sockets.length, 3, `${sockets}`);
    }
    await home.ok("kill");
    assert.deepEqual(home.processes(), []);
    assert.deepEqual(readdirSync(join(home.dir, "r/sockeye")), ["daemon.lock"]);
  });
});

describe("logs", { skip }, () => {
  let home;
  before(() => (home = new Home()));
  after(() => home?.stop());

  const LINES = LONG ? 1_000_000 : 100_000;

  test(`${LINES} lines through rotations: all there, once, and the daemon stays as it was (complaints 1, 5)`, async () => {
    home.file("many.js", `const fs = require("fs"); let text = "";
for (let n = 0; n < ${LINES}; n++) { text += "this is the line with the number " + n + "\\n"; if (text.length > 60000) { write(text); text = "" } }
write(text + "end\\n");
function write(text) { let rest = Buffer.from(text); while (rest.length) { try { rest = rest.subarray(fs.writeSync(1, rest)) } catch (e) { if (e.code !== "EAGAIN") throw e } } }
setInterval(() => {}, 1000)`);
    home.file("quiet.sh", "sleep 1000");
    await home.ok("start", "quiet.sh");
    const before = rss(home.daemon());
    await home.ok("start", "many.js", "--log-max-size", `${Math.ceil((LINES * 40) / 2.5 / 1024)}K`);
    await until("the last line is there", () => existsSync(home.state("logs/many-out-0.log")) && readFileSync(home.state("logs/many-out-0.log"), "utf8").endsWith("end\n"));
    const { lines, files } = await until("all is compressed", () => {
      const read = home.lines("many");
      return read.files.every((file) => file.endsWith(".gz")) && read;
    });
    assert.ok(files.length >= 2, `${files}`);
    assert.equal(lines.length, LINES + 1);
    lines.slice(0, -1).forEach((line, number) => assert.ok(line.endsWith(` ${number}`), `${line} at ${number}`));
    assert.ok(rss(home.daemon()) < before + 1e6, `${before} → ${rss(home.daemon())}`);
    await home.ok("flush", "many");
    assert.deepEqual(home.lines("many"), { lines: [], files: [] });
    await home.ok("delete", "all");
  });

  test("logs are filtered, and written with their time or as JSON on demand", async () => {
    home.file("talk.js", `console.log("to out"); console.error("to error"); setInterval(() => {}, 1000)`);
    await home.ok("start", "talk.js", "--time");
    await home.ok("start", "talk.js", "--name", "json", "--log-json");
    await until("all is written", () => ["talk", "json"].every((name) => home.lines(name).lines.length && home.lines(name, "error").lines.length));
    assert.match(home.lines("talk").lines[0], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z to out$/);
    const { app, instance, stream, line } = JSON.parse(home.lines("json", "error").lines[0]);
    assert.deepEqual([app, instance, stream, line], ["json", 0, "error", "to error"]);
    assert.equal((await home.ok("logs", "talk", "--no-follow", "--err", "--raw")).trim().slice(-8), "to error");
    const found = (await home.ok("logs", "--no-follow", "--json", "--grep", "to out")).trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(found.map((one) => [one.app, one.stream]), [["talk", "out"], ["json", "out"]]);
    await home.ok("delete", "all");
  });
});

describe("several behind one port", { skip }, () => {
  let home;
  before(() => (home = new Home()));
  after(() => home?.stop());

  test("a reload of our chat under load refuses nobody, and scaling does not either (complaints 3, 4, 10)", async () => {
    const port = await freePort();
    await home.ok("start", SOCKEYE, "--name", "chat", "-i", "2", "--port", port, "--drain", "1s", "--", "worker", "chat");
    const before = await home.pids("chat");
    const pages = load(`http://127.0.0.1:${port}/`);
    const handshakes = load(`http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`);
    await home.ok("reload", "chat");
    const after = await home.pids("chat");
    assert.ok(after.every((pid) => pid && !before.includes(pid)));
    await home.ok("scale", "chat", "+1");
    assert.equal((await home.list()).length, 3);
    await home.ok("scale", "chat", "1");
    assert.deepEqual((await home.list()).map((row) => row.id), [0]);
    const results = [await pages.stop(), await handshakes.stop()];
    for (const { answered, troubles } of results) {
      assert.deepEqual(troubles, []);
      assert.ok(answered > 20);
    }
    await home.ok("delete", "chat");
  });

  test("a reload whose successor fails leaves the old ones serving (complaint 4)", async () => {
    const port = await freePort();
    home.file("picky.js", `if (process.env.BROKEN) process.exit(1);
require("http").createServer((q, r) => r.end("ok")).listen(process.env.PORT)`);
    await home.ok("start", "picky.js", "-i", "2", "--port", port, "--ready", "port");
    const before = await home.pids("picky");
    home.env.BROKEN = "1";
    const { code, err } = await home.run("reload", "picky");
    delete home.env.BROKEN;
    assert.equal(code, 1);
    assert.match(err, /the others go on as they were/);
    assert.deepEqual(await home.pids("picky"), before);
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "ok");
    await home.ok("delete", "picky");
  });

  test("any program that listens on PORT is one of several, all get their share, and a dead one is not missed (complaint 7)", async () => {
    const port = await freePort();
    home.file("echo.py", `import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["NODE_APP_INSTANCE"].encode(); self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`);
    await home.ok("start", "echo.py", "-i", "2", "--port", port);
    const seen = {};
    for (let i = 0; i < 40; i += 1) {
      const who = await (await fetch(`http://127.0.0.1:${port}/`)).text();
      seen[who] = (seen[who] ?? 0) + 1;
    }
    assert.deepEqual(Object.keys(seen).sort(), ["0", "1"]);
    for (const count of Object.values(seen)) assert.ok(count >= 10, JSON.stringify(seen));
    await home.ok("delete", "echo");
  });

  test("a port that is taken is told at once", async () => {
    const port = await freePort();
    await home.ok("start", SOCKEYE, "--name", "one", "-i", "1", "--port", port, "--", "worker", "chat");
    const { code, err } = await home.run("start", SOCKEYE, "--name", "two", "-i", "1", "--port", port, "--", "worker", "chat");
    assert.equal(code, 1);
    assert.match(err, new RegExp(`two: .*${port} is in use`));
    await home.ok("delete", "all");
  });
});
