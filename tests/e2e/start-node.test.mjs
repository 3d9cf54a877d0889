// The promise: an unmodified Node.js app, `sockeye start app.js -i 4`, and it is a cluster.

import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ask, closeAll, collect, connect, connectMany, next, TRANSPORTS, untroubled, whereabouts } from "../harness/clients.mjs";
import { BYTES, reaches, spans } from "../harness/copies.mjs";
import { Started } from "../harness/started.mjs";
import { freePort, LONG, ROOT } from "../harness/target.mjs";

const APPS = join(ROOT, "tests/apps");
const SKIP = existsSync(join(APPS, "node_modules")) ? false : "tests/apps is not installed (npm ci)";
const ALL = { binary: true, acks: true, sockets: true, servers: true };

describe("an unmodified express chat, sockeye start express.cjs -i 4", { skip: SKIP }, () => {
  const user = new Started();
  const files = () => readdirSync(APPS).map((name) => [name, statSync(join(APPS, name)).mtimeMs]);
  const were = SKIP ? [] : files();
  let port, url, env;
  before(async () => {
    port = await freePort(1);
    url = `http://127.0.0.1:${port}`;
    env = { PORT: String(port), OPTIONS: JSON.stringify({ connectionStateRecovery: {} }) };
    await user.do(["start", "express.cjs", "-i", 4, "--drain", "1s"], env);
  });
  after(() => user.stop());

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`200 clients connect by ${transport}, and hear each other`, async () => {
      const sockets = await connectMany(url, transport, 200);
      try {
        untroubled(sockets);
        const there = await whereabouts(sockets);
        assert.equal(new Set(there.map(({ pid }) => pid)).size, 4);
        assert.ok(there.every(({ address }) => address === "127.0.0.1"), "the app sees its clients' addresses");
        await reaches(sockets, "x".repeat(100_000), "ü🐟");
        await reaches(sockets, BYTES, { deep: [BYTES] });
      } finally {
        closeAll(sockets);
      }
    });
  }

  test("rooms, acks, fetchSockets, serverSideEmit span the copies", () => spans(url, ALL, 4));

  test("the app sees the public port and its clients' address, and clients cannot forge it", async () => {
    const seen = await (await fetch(`${url}/who`, { headers: { "x-sockeye-peer": "192.0.2.1:1" } })).json();
    assert.deepEqual([seen.ip, seen.port], ["127.0.0.1", port]);
    assert.ok(![...seen.headers, ...seen.raw].some((name) => /sockeye/i.test(name)));
    const logs = await user.do(["logs", "express", "--lines", 100, "--nostream"]);
    assert.match(logs, new RegExp(`listening {"address":"127.0.0.1","family":"IPv4","port":${port}} PORT=${port}`));
  });

  test("sessions are counted", async () => {
    const sockets = await connectMany(url, "websocket", 6);
    const sum = async (count) => {
      for (let tries = 0; ; tries += 1) {
        const [{ sessions, instances }] = JSON.parse(await user.do(["describe", "express", "--json"]));
        assert.equal(sessions, instances.reduce((all, one) => all + one.sessions, 0));
        if (sessions === count) return;
        assert.ok(tries < 400, `${count} sessions, not ${sessions}`);
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    };
    await sum(6);
    closeAll(sockets);
    await sum(0);
  });

  test("clients of a copy that is killed go on at others, with what they missed", async () => {
    const sockets = await connectMany(url, "websocket", 16);
    try {
      await reaches(sockets, 0);
      const homes = (await whereabouts(sockets)).map(({ pid }) => pid);
      const heard = collect(sockets, "said");
      const back = sockets.filter((_, i) => homes[i] === homes[0]).map((socket) => next(socket, "connect"));
      process.kill(homes[0], "SIGKILL");
      const survivor = sockets[homes.findIndex((home) => home !== homes[0])];
      for (let n = 1; n <= 5; n += 1) survivor.emit("say", n);
      await Promise.all(back);
      for (const box of await heard.reach(5)) assert.deepEqual(box.map(([n]) => n), [1, 2, 3, 4, 5]);
      assert.ok((await whereabouts(sockets)).every(({ recovered }, i) => recovered === (homes[i] === homes[0])));
      assert.equal((await ask(survivor, "fetch", [])).length, 16, "nobody waits for the dead one");
    } finally {
      closeAll(sockets);
    }
  });

  test("reload replaces every copy while clients come and go, and refuses nobody", async () => {
    const before = new Set();
    const stay = await connectMany(url, "websocket", 12);
    for (const { pid } of await whereabouts(stay)) before.add(pid);
    let over = false;
    let came = 0;
    const crowd = Array.from({ length: 4 }, async (_, i) => {
      while (!over) {
        // A session that is let go before its client has its namespace comes back by itself, as any that moves.
        const socket = await connect(url, ["polling", "websocket"][i % 2]);
        came += 1;
        closeAll([socket]);
      }
    });
    try {
      // Nobody types the PORT of the start again.
      await user.do(["reload", "express"], { OPTIONS: env.OPTIONS });
      over = true;
      await Promise.all(crowd);
      assert.ok(came > 0);
      for (let tries = 0; ; tries += 1) {
        const now = await Promise.all(stay.map((socket) => (socket.connected ? ask(socket, "whoami") : undefined)));
        if (now.every((home) => home && !before.has(home.pid))) break;
        assert.ok(tries < 2000, "everybody is at a new copy");
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    } finally {
      over = true;
      closeAll(stay);
      await Promise.allSettled(crowd);
    }
  });

  test("its files are as they were", () => assert.deepEqual(files(), were));
});

describe("other apps", { skip: SKIP }, () => {
  const user = new Started();
  after(() => user.stop());

  /** Starts an app on a port of its own. */
  async function start(app, { instances = 2, env = {}, interpreter } = {}) {
    const port = await freePort(1);
    const name = `${basename(app).split(".")[0]}-${port}`;
    await user.do(["start", app, "--name", name, "-i", instances, ...(interpreter ? ["--interpreter", interpreter] : [])], { PORT: String(port), ...env });
    return { name, port, url: `http://127.0.0.1:${port}` };
  }

  test("two Socket.IO servers on two paths and two ports do not mix", async () => {
    const { name, port, url } = await start("two.cjs");
    const groups = await Promise.all([connectMany(url, "default", 8), connectMany(url, "default", 8, { path: "/other" }), connectMany(`http://127.0.0.1:${port + 1}`, "default", 8)]);
    try {
      groups.forEach(untroubled);
      const heard = groups.map((sockets) => collect(sockets, "said"));
      groups.forEach(([socket], i) => socket.emit("say", i));
      for (const [i, box] of (await Promise.all(heard.map((box) => box.reach(1)))).entries()) assert.deepEqual(box.flat(), Array(8).fill([i]));
      for (const [socket] of groups) assert.equal((await ask(socket, "all")).length, 8);
      const logs = await user.do(["logs", name, "--lines", 100, "--nostream"]);
      assert.equal(logs.split("port true").length, 3, "port 0 is left alone");
    } finally {
      closeAll(groups.flat());
    }
  });

  test("two apps at once do not mix", async () => {
    const apps = await Promise.all([start("http.cjs"), start("http.cjs")]);
    const groups = await Promise.all(apps.map(({ url }) => connectMany(url, "default", 8)));
    try {
      const heard = groups.map((sockets) => collect(sockets, "said"));
      groups.forEach(([socket], i) => socket.emit("say", i));
      for (const [i, box] of (await Promise.all(heard.map((box) => box.reach(1)))).entries()) assert.deepEqual(box.flat(), Array(8).fill([i]));
    } finally {
      closeAll(groups.flat());
    }
  });

  for (const app of ["esm.mjs", "http.cjs"]) {
    test(`200 clients of each kind on four copies of ${app}`, async () => {
      const { url } = await start(app, { instances: 4 });
      for (const transport of Object.keys(TRANSPORTS)) {
        const sockets = await connectMany(url, transport, 200);
        try {
          untroubled(sockets);
          assert.equal(new Set((await whereabouts(sockets)).map(({ pid }) => pid)).size, 4);
          await reaches(sockets, BYTES);
        } finally {
          closeAll(sockets);
        }
      }
    });
  }

  for (const [app, env] of [["fastify.cjs"], ["server.ts"], ["sails.cjs"], ["a minified bundle"], ["own.cjs", { OWN: "ids" }], ["http.cjs", { SOCKETIO: "socket.io-3.1" }]]) {
    test(`${app} ${Object.values(env ?? {})}`, async () => {
      const { url } = await start(app === "a minified bundle" ? await bundle() : app, { env });
      for (const transport of Object.keys(TRANSPORTS)) {
        const sockets = await connectMany(url, transport, 12);
        try {
          untroubled(sockets);
          const there = await whereabouts(sockets);
          assert.equal(new Set(there.map(({ pid }) => pid)).size, 2);
          if (env?.OWN === "ids") assert.ok(there.every(({ sid, pid }) => sid.startsWith(`mine-${pid}-`)), "its ids are left as they are");
          await reaches(sockets, "to all");
        } finally {
          closeAll(sockets);
        }
      }
    });
  }

  for (const version of LONG ? ["node-18", "node-22", "node-24"] : []) {
    const program = join(APPS, "nodes/node_modules", version, "bin/node");
    const skip = existsSync(program) ? false : "tests/apps/nodes is not installed (./test --long)";
    for (const app of ["express.cjs", "esm.mjs"]) {
      test(`${app} on ${version}`, { skip }, async () => {
        const { url } = await start(app, { instances: 4, interpreter: program });
        for (const transport of Object.keys(TRANSPORTS)) {
          const sockets = await connectMany(url, transport, 50);
          try {
            untroubled(sockets);
            assert.equal(new Set((await whereabouts(sockets)).map(({ pid }) => pid)).size, 4);
            await reaches(sockets, BYTES);
          } finally {
            closeAll(sockets);
          }
        }
        // At all addresses of both families a client's is written as IPv6, as Node.js does.
        if (app === "express.cjs") await spans(url, ALL, 4);
      });
    }
  }

  for (const FIRST of ["fork", "listen"]) test(`an app that forks its own cluster goes on as one copy, by itself: first ${FIRST}`, async () => {
    const { name, url } = await start("forks.cjs", { env: { FIRST } });
    for (let tries = 0; ; tries += 1) {
      if (await fetch(url).then((answer) => answer.ok, () => false)) break;
      assert.ok(tries < 400, "it answers");
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    assert.match(await user.do(["logs", name, "--lines", 50, "--nostream"]), /forks its own `cluster`.*without -i/);
  });

  async function bundle() {
    const { build } = await import(join(APPS, "node_modules/esbuild/lib/main.js"));
    const outfile = join(user.directory, "bundle.cjs");
    const define = { "process.env.SOCKETIO": "undefined" };
    await build({ entryPoints: [join(APPS, "esm.mjs")], outfile, bundle: true, minify: true, platform: "node", format: "cjs", define, logLevel: "error" });
    return outfile;
  }
});
