// Apps of one's own in a file, in the foreground: two of them behind one address, which do not mix, and what `apply` makes of them.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ask, closeAll, collect, connect, connectMany, TRANSPORTS, untroubled, whereabouts, within } from "../harness/clients.mjs";
import { knock, overSocket, run, settingsFile, upFile } from "../harness/files.mjs";
import { binary, freePort, REFERENCE, ROOT } from "../harness/target.mjs";

const APPS = join(ROOT, "tests/apps");
const skip = REFERENCE ? "the reference has no file" : existsSync(join(APPS, "node_modules")) ? false : "tests/apps is not installed (npm ci)";

describe("two apps in a file, one in Node.js and one in Rust", { skip }, () => {
  let file, port, own, node, rust, target, socket, settings;
  before(async () => {
    [port, own] = [await freePort(), await freePort()];
    file = settingsFile("");
    socket = join(file.dir, "admin.sock");
    [node, rust] = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
    settings = ({ instances = 2, env = "", more = "" } = {}) => `
admin = "unix:${socket}"
listen = "127.0.0.1:${port}"
[[site]]
host = "localhost"
upstream = "rust"
[[site]]
upstream = "node"
[app.node]
command = "${join(APPS, "express.cjs")}"
instances = ${instances}
drain = "1s"
env = { PORT = "${own}"${env} }
[app.rust]
command = "${binary()}"
args = ["worker", "contract"]
instances = 2
after = ["node"]
${more}`;
    file.write(settings());
    target = await upFile(file, port);
    await target.until("both serve", async () => (await groups()).every(({ servers }) => servers.length === 2));
  });
  after(async () => {
    await target?.stop();
    file.done();
  });
  const groups = async () => JSON.parse((await overSocket(socket, "/status")).text).groups;
  const homes = async (sockets) => {
    const pids = [...new Set((await whereabouts(sockets)).map(({ pid }) => pid))].sort();
    for (const pid of pids) target.seen.add(pid);
    return pids;
  };
  const apply = async (text) => {
    file.write(text);
    assert.deepEqual(await run(["apply", file.path]), { code: 0, out: `applied ${file.path}\n`, err: "" });
  };

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`clients come to their app by ${transport}, and hear nothing of the other`, async () => {
      const [theirs, ours] = await Promise.all([connectMany(node, transport, 12), connectMany(rust, transport, 12)]);
      const all = [...theirs, ...ours];
      try {
        const [of_node, of_rust] = [await homes(theirs), await homes(ours)];
        assert.deepEqual([of_node.length, of_rust.length, new Set([...of_node, ...of_rust]).size], [2, 2, 4]);
        const [said, told] = [collect(all, "said"), collect(all, "broadcast")];
        theirs[0].emit("say", "from Node.js");
        ours[0].emit("broadcast", "from Rust");
        await said.reach(all.map((_, i) => (i < 12 ? 1 : 0)));
        await told.reach(all.map((_, i) => (i < 12 ? 0 : 1)));
        untroubled(all);
      } finally {
        closeAll(all);
      }
    });
  }

  test("the port that the app asks for stays closed: clients are led to it", async () => {
    assert.equal(await knock(own), false);
    const seen = await (await fetch(`${node}/who`)).json();
    assert.deepEqual([seen.ip, seen.port], ["127.0.0.1", own]);
  });

  test("operators speak to the clients of the app that they name", async () => {
    const [theirs, ours] = [await connectMany(node, "websocket", 3), await connectMany(rust, "websocket", 3)];
    try {
      const post = (path, body) => overSocket(socket, path, { method: "POST", body: JSON.stringify(body) });
      const several = await post("/emit", { event: "news" });
      assert.equal(several.status, 400);
      assert.match(JSON.parse(several.text).fix, /\?app=node: there are node, rust/);
      const news = collect([...theirs, ...ours], "news");
      for (const app of ["node", "rust"]) assert.equal((await post(`/emit?app=${app}`, { event: "news", args: [app] })).status, 200);
      const boxes = await news.reach(1);
      assert.deepEqual(boxes.map(([[app]]) => app), ["node", "node", "node", "rust", "rust", "rust"]);
    } finally {
      closeAll([...theirs, ...ours]);
    }
  });

  test("apply scales one app, and no client of either notices", async () => {
    const sockets = [...(await connectMany(node, "default", 8)), ...(await connectMany(rust, "default", 8))];
    try {
      await apply(settings({ instances: 3 }));
      await target.until("there are three", async () => (await groups()).find(({ name }) => name === "node").servers.length === 3);
      const more = await connectMany(node, "websocket", 24);
      assert.equal((await homes([...more, ...sockets.slice(0, 8)])).length, 3);
      closeAll(more);
      await homes(sockets);
      untroubled(sockets);
    } finally {
      closeAll(sockets);
    }
  });

  test("apply of another environment replaces the copies of that app alone, and nobody is refused", async () => {
    const ours = await connectMany(rust, "default", 8);
    const theirs = await connectMany(node, "websocket", 6);
    const came = [];
    let over = false;
    try {
      await homes(theirs);
      const serving = async () => (await groups()).find(({ name }) => name === "node").servers.filter(({ state }) => state === "up").map(({ name }) => name);
      const before = await serving();
      const crowd = (async () => {
        while (!over) {
          const one = await connect(node, ["polling", "websocket"][came.length % 2]);
          // A copy that ends takes the question with it: whoever is moved asks again.
          const answer = new Promise((resolve) => {
            const whoami = () => one.emit("whoami", resolve);
            one.on("connect", whoami);
            whoami();
          });
          try {
            came.push(await within(answer, "ack of whoami of a client that may be moved"));
          } finally {
            closeAll([one]);
          }
        }
      })();
      await apply(settings({ instances: 3, env: ', GREETING = "hello"' }));
      await target.until("all are others", async () => {
        const now = await serving();
        return now.length === 3 && now.every((name) => !before.includes(name));
      });
      over = true;
      await crowd;
      await homes(ours);
      untroubled(ours);
    } finally {
      over = true;
      closeAll([...ours, ...theirs]);
    }
  });

  test("an app that cannot be run changes nothing, another one comes and goes", async () => {
    const client = await connect(rust, "default");
    try {
      file.write(settings({ instances: 3, env: ', GREETING = "hello"', more: '[app.gone]\ncommand = "gone.js"\n' }));
      const refused = await run(["apply", file.path]);
      assert.deepEqual([refused.code, refused.out], [1, ""]);
      assert.match(refused.err, /sockeye\.toml:\d+:11: app\.gone\.command = "gone\.js": there is no gone\.js, neither as a file nor as a program of PATH: check its path, or install it\nnothing was changed/);
      const third = await freePort();
      // It asks for its address itself, and nothing leads to it.
      const more = `[app.third]\ncommand = "${join(APPS, "http.cjs")}"\ninstances = 1\ndrain = "0s"\nenv = { PORT = "${third}" }\n`;
      await apply(settings({ instances: 3, env: ', GREETING = "hello"', more }));
      await target.until("the third listens", () => knock(third));
      const one = await connect(`http://127.0.0.1:${third}`, "default");
      await homes([one]);
      closeAll([one]);
      await apply(settings({ instances: 3, env: ', GREETING = "hello"' }));
      await target.until("the third is gone", async () => !(await knock(third)));
      untroubled([client]);
    } finally {
      closeAll([client]);
    }
  });
});

test("one script alone, nothing said of where clients come in: it has the port that it asks for, and Ctrl-C leaves nothing", { skip }, async () => {
  const port = await freePort();
  const file = settingsFile(`[app.chat]\ncommand = "${join(APPS, "express.cjs")}"\ninstances = 2\nenv = { PORT = "${port}" }\n`);
  const target = await upFile(file, port);
  const sockets = [];
  try {
    sockets.push(...(await connectMany(`http://127.0.0.1:${port}`, "default", 8)));
    for (const { pid } of await whereabouts(sockets)) target.seen.add(pid);
    target.killGroup("SIGINT");
    const { code } = await target.stop("SIGINT");
    assert.equal(code, 0);
  } finally {
    closeAll(sockets);
    target.abandon();
    file.done();
  }
});

describe("a process file of pm2 in the foreground", { skip }, () => {
  const script = join(APPS, "express.cjs");
  const ecosystem = (port, instances) => ({ apps: [{ name: "chat", script, instances, exec_mode: "cluster", env: { PORT: port }, env_production: { NODE_ENV: "production" }, merge_logs: true }] });
  const files = {
    "ecosystem.config.cjs": (value) => `module.exports = ${JSON.stringify(value)}`,
    "processes.yaml": ({ apps: [app] }) =>
      `apps:\n  - name: chat\n    script: ${app.script}\n    instances: ${app.instances}\n    exec_mode: cluster\n    merge_logs: true\n    env:\n      PORT: ${app.env.PORT}\n    env_production:\n      NODE_ENV: production\n`,
  };
  for (const [name, write] of Object.entries(files)) {
    test(`${name}: its app has the port that it asks for${name.endsWith(".yaml") ? "" : ", apply scales it, and a bad file changes nothing"}`, async () => {
      const port = await freePort();
      const file = settingsFile("", name);
      file.write(write(ecosystem(port, 2)));
      const checked = await run(["check", file.path]);
      assert.deepEqual([checked.code, checked.out], [0, "good: 0 listeners, 0 sites, 0 upstreams, 1 app\n"], checked.err);
      assert.match(checked.err, /chat: merge_logs is not supported: it is passed over/);
      const target = await upFile(file, port, { args: ["--env", "production"] });
      const sockets = [];
      // Its admin socket lies in the runtime directory, as nothing is said of it.
      const apply = () => run(["apply", file.path], { env: { SOCKEYE_RUNTIME_DIR: target.runtimeDir } });
      const homes = async () => {
        const all = await connectMany(`http://127.0.0.1:${port}`, "polling", 12);
        sockets.push(...all);
        const pids = new Set((await whereabouts(all)).map(({ pid }) => pid));
        for (const pid of pids) target.seen.add(pid);
        return pids.size;
      };
      const ended = async () => {
        untroubled(sockets);
        closeAll(sockets);
        await target.stop();
      };
      try {
        await target.until("both copies have clients", async () => (await homes()) === 2);
        if (name.endsWith(".yaml")) return await ended();
        file.write(write(ecosystem(port, 3)));
        const applied = await apply();
        assert.deepEqual([applied.code, applied.out], [0, `applied ${file.path}\n`], applied.err);
        await target.until("a third has clients", async () => (await homes()) === 3);
        file.write(write({ apps: [{ ...ecosystem(port, 3).apps[0], script: "gone.js" }] }));
        const refused = await apply();
        assert.equal(refused.code, 1);
        assert.match(refused.err, /gone\.js/);
        await ended();
      } finally {
        closeAll(sockets);
        target.abandon();
        file.done();
      }
    });
  }

  test("what is wrong with it is told, with its app", async () => {
    for (const [value, error, good = ""] of [
      [{ apps: [{ name: "a b", script }] }, /^processes\.json: app\.a b: expected a name of up to 64 letters/],
      [{ apps: [{ script: "a.js", max_memory_restart: "much" }] }, /^processes\.json: a: max_memory_restart: expected a size/],
      [{ apps: [{ name: "fine", script }] }, /^$/, "good: 0 listeners, 0 sites, 0 upstreams, 1 app\n"],
      [7, /^processes\.json: expected apps, got 7/],
    ]) {
      const file = settingsFile(JSON.stringify(value), "processes.json");
      const { code, out, err } = await run(["check", "processes.json"], { cwd: file.dir });
      file.done();
      assert.deepEqual([code, out], [good ? 0 : 1, good]);
      assert.match(err, error);
    }
  });
});
