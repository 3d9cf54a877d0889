// Unmodified Node.js apps (tests/apps) as several copies behind one address: with the preload, they are one server. Every version of socket.io, and
// recovery at a copy that the test chooses: it plays the parent. Everything else is shown by `sockeye start`, in start-node.test.mjs and launchers.test.mjs.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import v2 from "socket.io-client-v2";
import { ask, closeAll, collect, connect, connected, connectMany, next, TRANSPORTS, untroubled, whereabouts, within } from "../harness/clients.mjs";
import { freePort, LONG, ROOT } from "../harness/target.mjs";
import { BYTES, reaches, spans } from "../harness/copies.mjs";
import { PlainParent } from "../harness/plain-parent.mjs";

const APPS = join(ROOT, "tests/apps");
const SKIP = existsSync(join(APPS, "node_modules")) ? false : "tests/apps is not installed (npm ci)";
const node = (app, program = process.execPath) => [program, app];

/** What a version of socket.io can do across copies. */
const ALL = { binary: true, acks: true, sockets: true, servers: true };
const VERSIONS = {
  latest: { name: "socket.io", ...ALL },
  4.6: { name: "socket.io-4.6", ...ALL },
  4.5: { name: "socket.io-4.5", ...ALL },
  "4.0": { name: "socket.io-4.0", binary: true, sockets: true },
  3.1: { name: "socket.io-3.1", binary: true },
  2.5: { name: "socket.io-2.5", routing: true },
};

describe("every version of socket.io", { skip: SKIP }, () => {
  for (const [version, can] of Object.entries(VERSIONS).slice(1)) cell(`socket.io ${version}`, node("http.cjs"), can);
  if (LONG) for (const [version, can] of Object.entries(VERSIONS).slice(0, 5)) cell(`socket.io ${version} in express`, node("express.cjs"), can, { clients: 50, instances: 4 });
});

const NODES = join(APPS, "nodes/node_modules");
const NO_NODES = SKIP || (existsSync(NODES) ? false : "tests/apps/nodes is not installed (./test --long)");
if (LONG) {
  describe("every version of Node.js", { skip: NO_NODES }, () => {
    for (const version of ["node-18", "node-22", "node-24"]) {
      const program = join(NODES, version, "bin/node");
      for (const app of ["express.cjs", "esm.mjs", "fastify.cjs"]) cell(`${app} on ${version}`, node(app, program), VERSIONS.latest);
      for (const old of [4.5, "4.0", 3.1, 2.5]) cell(`socket.io ${old} on ${version}`, node("http.cjs", program), VERSIONS[old]);
    }
  });
}

describe("what the app brings itself wins", { skip: SKIP }, () => {
  test("an adapter: events stay where it leaves them", async () => {
    const app = await start(node("own.cjs"), { env: { OWN: "adapter" }, instances: 2 });
    const sockets = await connectMany(app.url, "default", 8);
    try {
      const homes = (await whereabouts(sockets)).map(({ pid }) => pid);
      const heard = collect(sockets, "said");
      sockets[0].emit("say", 1);
      const boxes = await heard.reach(homes.map((home) => (home === homes[0] ? 1 : 0)));
      assert.deepEqual(boxes[0], [[1, "mine"]]);
    } finally {
      closeAll(sockets);
      await app.stop();
    }
  });
});

describe("what the system refuses", { skip: SKIP }, () => {
  test("a taken port is the app's error, as always", async () => {
    const app = await start(node("http.cjs"), { instances: 1 });
    try {
      const { code, output } = await ends(node("http.cjs"), { env: { PORT: String(app.port) } });
      assert.equal(code, 1);
      assert.match(output, /code: 'EADDRINUSE'/);
      assert.match(output, new RegExp(`port: ${app.port}`));
    } finally {
      await app.stop();
    }
  });
});

describe("recovery", { skip: SKIP }, () => {
  const RECOVERY = { env: { OPTIONS: JSON.stringify({ connectionStateRecovery: {} }) } };

  for (const name of ["socket.io", "socket.io-4.6"]) {
    test(`a client goes on at any copy, also when its own was killed (${name})`, async () => {
      const app = await start(node("express.cjs"), { instances: 3, env: { ...RECOVERY.env, SOCKETIO: name } });
      const speaker = await connect(app.url, "websocket");
      const [{ pid: stays }] = await whereabouts([speaker]);
      app.avoid = [stays];
      const socket = await connect(app.url, "websocket");
      try {
        await ask(socket, "join", "room");
        await ask(socket, "data", { name: "ü" });
        const heard = [];
        socket.on("said", (x) => heard.push(x));
        const told = next(socket, "said");
        speaker.emit("say", 0);
        await told;
        let home = await ask(socket, "whoami");
        for (const [round, leave] of [cutOff, cutOff, killHome].entries()) {
          app.avoid = [stays, home.pid];
          await leave(socket, home.pid);
          speaker.emit("say", `${round} all`);
          speaker.emit("to", "room", `${round} room`);
          speaker.emit("to", "elsewhere", "not for it");
          await ask(speaker, "echo", 1);
          await connected(socket.connect());
          const there = await ask(socket, "whoami");
          assert.deepEqual([there.recovered, there.id], [true, home.id], `round ${round}`);
          assert.notEqual(there.pid, home.pid, "it is at another copy");
          assert.deepEqual(heard.splice(0), [...(round === 0 ? [0] : []), `${round} all`, `${round} room`]);
          const [found] = await ask(speaker, "fetch", home.id);
          assert.deepEqual([found.data, found.rooms.sort()], [{ name: "ü" }, [home.id, "room"].sort()]);
          home = there;
        }
      } finally {
        closeAll([socket, speaker]);
        await app.stop();
      }
    });
  }

  test("clients whose connections break all the time hear each event once, in each sender's order", async () => {
    const app = await start(node("express.cjs"), { ...RECOVERY, instances: 3 });
    const sockets = await connectMany(app.url, "websocket", 12, { reconnectionDelay: 1, reconnectionDelayMax: 20 });
    const speakers = await connectMany(app.url, "websocket", 3);
    const EVENTS = 200;
    try {
      const heard = sockets.map(() => speakers.map(() => []));
      sockets.forEach((socket, i) => socket.on("said", (speaker, n) => n >= 0 && heard[i][speaker].push(n)));
      const first = collect(sockets, "said");
      speakers[0].emit("say", 0, -1);
      await first.reach(1);
      const times = { anew: 0, recovered: 0 };
      for (const socket of sockets) socket.on("connect", () => (times[socket.recovered ? "recovered" : "anew"] += 1));
      for (let n = 0; n < EVENTS; n += 1) {
        speakers.forEach((speaker, i) => speaker.emit("say", i, n));
        breakOff(sockets[n % sockets.length]);
        await ask(speakers[n % 3], "echo", n);
      }
      await app.until("all events", () => heard.every((one) => one.every((list) => list.length >= EVENTS)));
      const all = Array.from({ length: EVENTS }, (_, n) => n);
      for (const one of heard) for (const list of one) assert.deepEqual(list, all);
      assert.equal(times.anew, 0);
      assert.ok(times.recovered > EVENTS / 4, `${times.recovered} came back`);
    } finally {
      closeAll([...sockets, ...speakers]);
      await app.stop();
    }
  });

  /** The connection breaks without a word. */
  function breakOff(socket) {
    const { engine } = socket.io;
    if (engine.transport.ws?.terminate) engine.transport.ws.terminate();
    else engine.close();
  }

  /** Comes back when it is told to. */
  async function gone(socket, breaks) {
    socket.io.reconnection(false);
    const gone = next(socket, "disconnect");
    breaks();
    await gone;
  }

  const cutOff = (socket) => gone(socket, () => breakOff(socket));
  const killHome = (socket, home) => gone(socket, () => process.kill(home, "SIGKILL"));
});

/** One app in one version: connects by every way, and everything that spans copies. */
function cell(name, command, can, { clients = 20, instances = 2 } = {}) {
  describe(name, () => {
    const options = can.routing ? { make: v2 } : {};
    let app;
    before(async () => (app = await start(command, { instances, env: { SOCKETIO: can.name } })));
    after(() => app?.stop());

    for (const transport of Object.keys(TRANSPORTS)) {
      test(`${clients} clients connect by ${transport}`, async () => {
        const sockets = await connectMany(app.url, transport, clients, options);
        try {
          untroubled(sockets);
          assert.deepEqual(app.bad(), []);
          const homes = await whereabouts(sockets);
          assert.equal(new Set(homes.map(({ pid }) => pid)).size, instances, "all copies have clients");
          assert.ok(homes.every(({ sid, pid }) => app.workers.get(sid.slice(0, 6)).pid === pid), "session ids begin with the tag");
          if (can.routing) return assert.equal(await ask(sockets[0], "echo", "here"), "here");
          await reaches(sockets, "x".repeat(100_000), "ü🐟");
          if (can.binary) await reaches(sockets, BYTES, { deep: [BYTES] });
        } finally {
          closeAll(sockets);
        }
      });
    }

    test("what spans copies", { skip: can.routing && "socket.io 2 is routed only" }, () => spans(app.url, can, instances));
  });
}

async function prepare(command, { instances = 2, env = {} } = {}) {
  const port = await freePort(1);
  const app = new PlainParent(command, { instances, env: { PORT: String(port), ...env } });
  app.port = port;
  app.url = `http://127.0.0.1:${port}`;
  return app;
}

async function start(command, options) {
  const app = await prepare(command, options);
  try {
    return await app.start(1);
  } catch (error) {
    await app.stop();
    throw error;
  }
}

/** Runs one copy until it ends. */
async function ends(command, { env }) {
  const app = await prepare(command, { instances: 1, env });
  try {
    await app.start(undefined);
    const { code } = await within(app.copies[0].closed, "the end of the app");
    return { code, output: app.output };
  } finally {
    await app.stop();
  }
}
