// A file of settings: what `check` says of it, what `up` makes of it, and how it changes under live connections.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";
import { ask, closeAll, collect, connect, connectMany, untroubled } from "../harness/clients.mjs";
import { knock, overSocket, run, settingsFile, upFile } from "../harness/files.mjs";
import { freePort, REFERENCE } from "../harness/target.mjs";

const skip = REFERENCE && "the reference has no file";

describe("a file of settings", { skip }, () => {
  test("check says what is wrong with its line and the fix, and what is right", async () => {
    const file = settingsFile('[listen]\naddress = ":3000"\n[upstream.chat]\nservers = ["127.0.0.1:1"]\nstiky = "sid"\n');
    try {
      const bad = await run(["check", "sockeye.toml"], { cwd: file.dir });
      assert.deepEqual([bad.code, bad.out], [1, ""]);
      assert.equal(bad.err, "sockeye.toml:5:1: upstream.chat.stiky: there is no such key, did you mean sticky?\n");
      file.write('listen = ":3000"\n[app.chat]\ninstances = 1\n');
      const good = await run(["check", "sockeye.toml"], { cwd: file.dir });
      assert.deepEqual(good, { code: 0, out: "good: 1 listener, 1 site, 0 upstreams, 1 app\n", err: "" });
      const variable = await run(["check", "sockeye.toml"], { cwd: file.dir, env: { SOCKEYE_UPSTREEM: "80" } });
      assert.equal(variable.code, 1);
      assert.match(variable.err, /^\$SOCKEYE_UPSTREEM: there is no such variable, did you mean SOCKEYE_UPSTREAM\?\n$/);
      file.write('[listen]\ncertificate = "nope.pem"\nkey = "nope.key"\n[app.chat]\ninstances = 1\n');
      const unread = await run(["check", "sockeye.toml"], { cwd: file.dir });
      assert.equal(unread.code, 1);
      assert.match(unread.err, /^sockeye\.toml:2:15: listen\.certificate = "nope\.pem": cannot read .*nope\.pem: No such file.*: check the path, or make one with sockeye cert self-signed\n$/);
      file.write('[listen]\naddress = ":3000"\nredirect = "https"\n');
      const warned = await run(["check", "sockeye.toml"], { cwd: file.dir });
      assert.deepEqual([warned.code, warned.out], [0, "good: 1 listener, 0 sites, 0 upstreams, 0 apps\n"]);
      assert.match(warned.err, /^warning: sockeye\.toml:3:12: listen\.redirect = "https": each request gets a 400/);
      const missing = await run(["check", "nothing.toml"], { cwd: file.dir });
      assert.match(missing.err, /^cannot read nothing\.toml: No such file/);
    } finally {
      file.done();
    }
  });

  test("ports lists what has to be open", async () => {
    const file = settingsFile('listen = [":80", "127.0.0.1:3000"]\n[cluster]\nadapter = "redis://127.0.0.1"\nnode_link = "10.0.0.7:7000"\n');
    try {
      const { code, out } = await run(["ports", file.path]);
      assert.equal(code, 0);
      assert.deepEqual(out.trim().split("\n").map((line) => line.split(/\s{2,}/)), [
        ["in", "tcp", "0.0.0.0:80", "main: HTTP and WebSocket", "clients"],
        ["in", "tcp", "10.0.0.7:7000", "node link", "the other machines of the cluster"],
      ]);
    } finally {
      file.done();
    }
  });
});

describe("up with a file", { skip }, () => {
  let file, port, second, target, socket, settings;
  before(async () => {
    [port, second] = [await freePort(), await freePort()];
    file = settingsFile("");
    socket = join(file.dir, "admin.sock");
    settings = (more = "") => `admin = "unix:${socket}"\n[[listen]]\naddress = "127.0.0.1:${port}"\n${more}\n[app.chat]\nbundled = "contract"\ninstances = 2\n`;
    file.write(settings());
    target = await upFile(file, port, { workers: 2 });
  });
  after(async () => {
    await target?.stop();
    file.done();
  });

  test("another listener opens and closes, and no client notices", async () => {
    const sockets = [...(await connectMany(target.url, "websocket", 10)), ...(await connectMany(target.url, "polling", 10))];
    let guest;
    try {
      file.write(settings(`[[listen]]\naddress = "127.0.0.1:${second}"`));
      const applied = await run(["apply", file.path]);
      assert.deepEqual(applied, { code: 0, out: `applied ${file.path}\n`, err: "" });
      guest = await connect(`http://127.0.0.1:${second}`, "websocket");
      file.write(settings());
      process.kill(target.pid, "SIGHUP");
      await target.until("closed at the second port", async () => !(await knock(second)));
      assert.ok((await ask(guest, "whoami")).pid, "a client of the closed listener stays");
      await Promise.all(sockets.map((socket) => ask(socket, "whoami")));
      untroubled([...sockets, guest]);
    } finally {
      closeAll(guest ? [...sockets, guest] : sockets);
    }
  });

  test("a bad file changes nothing, and says why on both ways", async () => {
    const client = await connect(target.url, "websocket");
    try {
      file.write(`listen = "nonsense"`);
      const refused = await run(["apply", file.path]);
      assert.equal(refused.code, 1);
      assert.match(refused.err, /sockeye\.toml:1:10: listen = "nonsense": expected an address to listen on/);
      process.kill(target.pid, "SIGHUP");
      await target.until("told of the bad file", async () => target.output.includes("nothing was changed: what ran before goes on"));
      assert.match(target.output, /sockeye\.toml:1:10: listen = "nonsense"/);
      // A port that is taken is found by the one that runs only.
      file.write(settings(`[[listen]]\naddress = "127.0.0.1:1"`));
      if (process.getuid() !== 0) assert.match((await run(["apply", file.path])).err, /nothing was changed/);
      file.write(`${settings()}[limits]\nreturned = 7\n`);
      const limits = await run(["apply", file.path]);
      assert.equal(limits.err, "limits.returned cannot change while it runs: put it back, or stop and start anew\nnothing was changed: what ran before goes on\n");
      assert.ok((await ask(client, "whoami")).pid);
      untroubled([client]);
    } finally {
      closeAll([client]);
      file.write(settings());
    }
  });

  test("the admin socket has status and metrics, and no other user may open it", async () => {
    const client = await connect(target.url, "default");
    try {
      // Clients of earlier tests may still be counted.
      await target.until("counted", async () => JSON.parse((await overSocket(socket, "/status")).text).totals.sessions === 1);
      const status = JSON.parse((await overSocket(socket, "/status")).text);
      assert.deepEqual(status.groups.map((group) => [group.name, group.servers.map((server) => server.state)]), [["chat", ["up", "up"]]]);
      assert.equal(status.listeners[0].at, `127.0.0.1:${port}`);
      const metrics = (await overSocket(socket, "/metrics")).text;
      assert.match(metrics, /^sockeye_edge_listener_upgrades_taken_total\{listener="main"\} [1-9]/m);
      assert.match(metrics, /^sockeye_edge_group_sessions_per_server\{group="chat"\} 0\.5$/m);
      assert.equal((await overSocket(socket, "/nothing")).status, 404);
      assert.equal((await overSocket(socket, "/apply")).status, 405);
    } finally {
      closeAll([client]);
    }
  });
});

describe("workers with ports of their own", { skip }, () => {
  test("are not replaced by apply: it says so, and nothing was changed; what concerns none of them is applied", async () => {
    const [port, first] = [await freePort(), await freePort(1)];
    const text = (more = "") => `listen = "127.0.0.1:${port}"\nadmin = "unix:${join(file.dir, "admin.sock")}"\n${more}[app.chat]\nbundled = "contract"\ninstances = 2\nworker_ports = ${first}\n`;
    const file = settingsFile("");
    file.write(text());
    const target = await upFile(file, port, { workers: 2 });
    const sockets = [];
    try {
      for (const at of [port, first, first + 1]) sockets.push(await connect(`http://127.0.0.1:${at}`, "websocket"));
      const pids = target.workers();
      file.write(`${text()}env = { GREETING = "hello" }\n`);
      const refused = await run(["apply", file.path]);
      assert.deepEqual([refused.code, refused.out], [1, ""]);
      assert.match(refused.err, /^app\.chat: workers with ports of their own \(worker_ports\) are not replaced while they run: stop and start anew\nnothing was changed: what ran before goes on\n$/);
      file.write(text("[limits]\nsessions_per_second = 1000\n"));
      assert.deepEqual(await run(["apply", file.path]), { code: 0, out: `applied ${file.path}\n`, err: "" });
      assert.deepEqual(target.workers(), pids);
      await Promise.all(sockets.map((socket) => ask(socket, "whoami")));
      untroubled(sockets);
    } finally {
      closeAll(sockets);
      await target.stop();
      file.done();
    }
  });
});

describe("an operator of up", { skip }, () => {
  test("sees the numbers of each worker on one page, and which worker says none", async () => {
    const port = await freePort();
    const file = settingsFile("");
    const socket = join(file.dir, "admin.sock");
    file.write(`admin = "unix:${socket}"\nlisten = "127.0.0.1:${port}"\n[app.chat]\nbundled = "contract"\ninstances = 2\n`);
    const target = await upFile(file, port, { workers: 2 });
    const sockets = [];
    const page = async () => {
      const { status, text } = await overSocket(socket, "/metrics");
      assert.equal(status, 200);
      return exposition(text);
    };
    const of = (families, name) => families.get(name).samples.map(({ labels, value }) => [labels.app, labels.worker, value]);
    let halted;
    try {
      sockets.push(...(await connectMany(target.url, "websocket", 5)), ...(await connectMany(target.url, "polling", 4)));
      // Who asks for the page by the public port gets none, whatever it says of itself.
      assert.equal((await request(port, "/metrics", { "x-sockeye-relayed": "house" })).status, 404);
      // A worker that has no processor for too long says nothing this once.
      let families;
      await target.until("every client is counted", async () => {
        families = await page();
        const sessions = of(families, "sockeye_sessions").map(([, , value]) => value);
        return sessions.length === 2 && sessions.every((value) => value > 0) && sessions[0] + sessions[1] === 9;
      });
      assert.deepEqual(of(families, "sockeye_worker_up"), [["chat", "0", 1], ["chat", "1", 1]]);
      assert.ok(families.has("sockeye_edge_sessions") && families.has("sockeye_mesh_members"));
      assert.ok(families.get("sockeye_sockets").samples.some(({ labels }) => labels.namespace === "/"));
      halted = Number((await ask(sockets[0], "whoami")).pid);
      process.kill(halted, "SIGSTOP");
      await target.until("one says nothing, and the other is there", async () => {
        families = await page();
        return of(families, "sockeye_worker_up").map(([, , value]) => value).sort().join() === "0,1";
      });
      assert.equal(of(families, "sockeye_sessions").length, 1);
      process.kill(halted, "SIGCONT");
      await target.until("it says its numbers again", async () => of(await page(), "sockeye_worker_up").every(([, , value]) => value === 1));
    } finally {
      if (halted) process.kill(halted, "SIGCONT");
      closeAll(sockets);
      await target.stop();
      file.done();
    }
  });

  test("speaks to the clients of all workers, asks for them and lets them go", async () => {
    const port = await freePort();
    const file = settingsFile("");
    const socket = join(file.dir, "admin.sock");
    file.write(`admin = "unix:${socket}"\nlisten = "127.0.0.1:${port}"\n[app.chat]\nbundled = "contract"\ninstances = 2\n`);
    const target = await upFile(file, port, { workers: 2 });
    const sockets = [];
    try {
      sockets.push(...(await connectMany(target.url, "websocket", 6)));
      const post = (path, body) => overSocket(socket, path, { method: "POST", body: JSON.stringify(body) });
      await target.until("all are counted", async () => JSON.parse((await overSocket(socket, "/sockets")).text).sockets?.length === 6);
      const news = collect(sockets, "news");
      assert.equal((await post("/emit", { event: "news", args: ["it rains"] })).status, 200);
      for (const box of await news.reach(1)) assert.deepEqual(box, [["it rains"]]);
      assert.equal((await post("/emit", { evnt: "news" })).status, 400);
      const gone = Promise.all(sockets.map((one) => new Promise((resolve) => one.once("disconnect", resolve))));
      assert.equal((await post("/disconnect", { close: true })).status, 200);
      await gone;
    } finally {
      closeAll(sockets);
      await target.stop();
      file.done();
    }
  });
});

describe("up with an empty file and an environment", { skip }, () => {
  test("runs what the environment says", async () => {
    const port = await freePort();
    const file = settingsFile("");
    const env = { SOCKEYE_LISTEN: `127.0.0.1:${port}`, SOCKEYE_APP__SHOP__BUNDLED: "contract", SOCKEYE_APP__SHOP__INSTANCES: "1" };
    const target = await upFile(file, port, { workers: 1, env });
    try {
      const client = await connect(target.url, "default");
      assert.ok((await ask(client, "whoami")).pid);
      closeAll([client]);
    } finally {
      await target.stop();
      file.done();
    }
  });
});

describe("an edge without workers", { skip }, () => {
  test("redirects to HTTPS with path and query, and to no host that it does not know", async () => {
    const port = await freePort();
    const file = settingsFile(`[listen]\naddress = "127.0.0.1:${port}"\nredirect = "https"\nserver_names = ["io.example.com", "chat.example.com"]\n`);
    const target = await upFile(file, port);
    try {
      for (const [host, location] of [
        ["chat.example.com", "https://chat.example.com/a/b?c=d"],
        [`chat.example.com:${port}`, "https://chat.example.com/a/b?c=d"],
        ["evil.example", "https://io.example.com/a/b?c=d"],
      ]) {
        const answer = await request(port, "/a/b?c=d", { host });
        assert.deepEqual([answer.status, answer.headers.location], [301, location], host);
      }
    } finally {
      await target.stop();
      file.done();
    }
  });
});

async function request(port, path, headers) {
  const http = await import("node:http");
  return new Promise((resolve, reject) => {
    const asked = http.request({ port, host: "127.0.0.1", path, headers, agent: false }, (answer) => {
      answer.resume();
      resolve({ status: answer.statusCode, headers: answer.headers });
    });
    asked.on("error", reject).end();
  });
}

/** Reads a page of metrics strictly: each family once and in one piece, each line once. */
function exposition(text) {
  assert.ok(text.endsWith("\n"));
  const families = new Map();
  const seen = new Set();
  let name;
  for (const line of text.slice(0, -1).split("\n")) {
    const [, word, of, told] = line.match(/^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/) ?? [];
    if (word) {
      if (of !== name) assert.ok(!families.has(of), `${of} comes twice`);
      name = of;
      const family = families.get(of) ?? { samples: [] };
      assert.ok(!(word in family) && family.samples.length === 0, line);
      families.set(of, { ...family, [word]: told });
      continue;
    }
    const [, own, labels = "", value] = line.match(/^(\w+)(?:\{((?:\w+="(?:[^"\\]|\\[\\"n])*",?)+)\})? (\S+)$/) ?? assert.fail(line);
    assert.ok(own === name && families.get(name).TYPE, line);
    assert.ok(!seen.has(`${own}{${labels}}`) && seen.add(`${own}{${labels}}`), line);
    assert.ok(Number.isFinite(Number(value)), line);
    families.get(name).samples.push({ labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text])), value: Number(value) });
  }
  return families;
}
