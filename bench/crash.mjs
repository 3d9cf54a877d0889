// What clients see of a process manager when a worker is killed and when all are reloaded: `sockeye start` beside pm2 and @socket.io/pm2, two instances, the same
// stock clients over WebSocket. pm2 runs the same app file; @socket.io/pm2 an app that says the same and is set up for it, since there apps do not listen. See bench/README.md.
//
//   node bench/crash.mjs [--clients 200] [--rounds 1] [--only NAME] [--transport websocket | default] [--sockeye target/release/sockeye]
//
// Rows: of the clients of a `kill -9`, those that have no session 20 s later (hung); of a reload, the cuts, the most that one client had, those in the worst 100 ms, and connects refused.
// pm2 has no sticky sessions, so by default clients use WebSockets alone; with polling (`default`) its clients do not all connect, and it is left out.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const { io } = createRequire(join(ROOT, "tests/package.json"))("socket.io-client");
const { values } = parseArgs({ options: { clients: { type: "string", default: "200" }, rounds: { type: "string", default: "1" }, only: { type: "string" }, transport: { type: "string", default: "websocket" }, sockeye: { type: "string", default: join(ROOT, "target/release/sockeye") } } });
const APP = join(ROOT, "bench/peers/node/server.js");
const TRANSPORTS = values.transport === "default" ? undefined : [values.transport];
const STICKY = join(ROOT, "bench/peers/socketio-pm2");
const PM2 = join(ROOT, "bench/peers/pm2/node_modules/.bin/pm2");
const CLIENTS = Number(values.clients);
/** How long clients may take to be back. */
const BACK_MS = 20_000;
const PORT = 3000;

/** One manager in a home of its own. */
class Manager {
  constructor(command, words) {
    this.command = command;
    this.words = words;
    this.home = mkdtempSync(join(tmpdir(), "sk-b"));
    for (const name of ["r", "s"]) mkdirSync(join(this.home, name), { mode: 0o700 });
    this.env = { ...process.env, HOME: this.home, PM2_HOME: join(this.home, "pm2"), XDG_RUNTIME_DIR: join(this.home, "r"), XDG_STATE_HOME: join(this.home, "s") };
  }

  run(...words) {
    const { status, stderr, stdout } = spawnSync(this.command, words, { env: this.env, encoding: "utf8" });
    if (status !== 0) throw new Error(`${this.command} ${words.join(" ")}: ${status}\n${stdout}${stderr}`);
  }

  /** Runs a command while this process goes on. */
  async runBeside(...words) {
    const { spawn } = await import("node:child_process");
    const child = spawn(this.command, words, { env: this.env, stdio: "ignore" });
    await new Promise((resolve) => child.once("close", resolve));
  }

  /** Its workers: processes of this home that run the app. */
  workers() {
    return readdirSync("/proc").filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        return readFileSync(`/proc/${name}/environ`, "latin1").includes(`HOME=${this.home}\0`) && readFileSync(`/proc/${name}/cmdline`, "latin1").includes("server.js");
      } catch {
        return false;
      }
    }).map(Number);
  }

  stop() {
    spawnSync(this.command, ["kill"], { env: this.env });
    rmSync(this.home, { recursive: true, force: true });
  }
}

function connect() {
  const socket = io(`http://127.0.0.1:${PORT}`, { transports: TRANSPORTS, forceNew: true, reconnectionDelay: 500, reconnectionDelayMax: 1500 });
  return socket;
}

async function crowd() {
  const sockets = Array.from({ length: CLIENTS }, connect);
  for (let waited = 0; sockets.some((socket) => !socket.connected); waited += 50) {
    if (waited > 60_000) throw new Error(`${sockets.filter((socket) => !socket.connected).length} clients do not connect`);
    await sleep(50);
  }
  return sockets;
}

/** Connects anew again and again: how many were refused. */
function visitors() {
  const counts = { served: 0, refused: 0 };
  let going = true;
  const done = (async () => {
    while (going) {
      await new Promise((resolve) => {
        const visitor = net.connect(PORT, "127.0.0.1", () => visitor.write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let head = "";
        visitor.setTimeout(5000, () => visitor.destroy());
        visitor.on("data", (text) => (head += text)).on("error", () => {}).on("close", () => {
          counts[/^HTTP\/1.1 200/.test(head) ? "served" : "refused"] += 1;
          resolve();
        });
      });
      await sleep(10);
    }
  })();
  return { counts, stop: async () => ((going = false), await done, counts) };
}

async function measure(manager) {
  const row = {};
  manager.run(...manager.words);
  for (let tries = 0; ; tries += 1) {
    const open = await new Promise((resolve) => {
      const probe = net.connect(PORT, "127.0.0.1", () => (probe.destroy(), resolve(true))).on("error", () => resolve(false));
    });
    if (open) break;
    if (tries > 300) throw new Error("it does not listen");
    await sleep(100);
  }
  await sleep(1500);
  let sockets = await crowd();
  const cut = sockets.map(() => false);
  sockets.forEach((socket, i) => socket.on("disconnect", () => (cut[i] = true)));
  process.kill(manager.workers()[0], "SIGKILL");
  await sleep(BACK_MS);
  row.cutByCrash = cut.filter(Boolean).length;
  row.hung = sockets.filter((socket) => !socket.connected).length;
  sockets.forEach((socket) => socket.close());

  sockets = await crowd();
  const times = [];
  const cuts = sockets.map(() => 0);
  sockets.forEach((socket, i) => socket.on("disconnect", () => (times.push(performance.now()), (cuts[i] += 1))));
  const strangers = visitors();
  await manager.runBeside("reload", "server");
  await sleep(3000);
  const { served, refused } = await strangers.stop();
  row.worst = Math.max(0, ...times.map((time) => times.filter((other) => other >= time && other < time + 100).length));
  row.cut = times.length;
  row.most = Math.max(...cuts);
  row.refused = `${refused} of ${served + refused}`;
  sockets.forEach((socket) => socket.close());
  return row;
}

const words = (app) => ["start", app, "--name", "server", "-i", "2"];
const managers = { "sockeye start": () => new Manager(values.sockeye, words(APP)) };
const variable = (manager, variables) => (Object.assign(manager.env, variables), manager);
if (existsSync(PM2) && TRANSPORTS) managers.pm2 = () => variable(new Manager(PM2, words(APP)), { NUMBER: "0" });
const sticky = join(STICKY, "node_modules/.bin/pm2");
if (existsSync(sticky)) managers["@socket.io/pm2"] = () => variable(new Manager(sticky, words(join(STICKY, "server.js"))), { PM2_PORT: String(PORT) });
console.log(`| ${CLIENTS} clients, ${values.transport} | cut by kill -9 | hung ${BACK_MS / 1000} s later | cuts by reload | most of one client | in the worst 100 ms | connects refused |\n| --- | --- | --- | --- | --- | --- | --- |`);
for (let round = 0; round < Number(values.rounds); round += 1) {
  for (const [name, make] of Object.entries(managers).filter(([name]) => !values.only || name === values.only)) {
    const manager = make();
    try {
      const row = await measure(manager);
      console.log(`| ${name} | ${row.cutByCrash} | ${row.hung} | ${row.cut} | ${row.most} | ${row.worst} | ${row.refused} |`);
    } finally {
      manager.stop();
    }
  }
}
process.exit(0);
