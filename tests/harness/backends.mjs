// Real backplanes on free ports, each with a directory of its own: Redis, PostgreSQL, NATS, and a server of MongoDB's protocol.
//
// `backend(name)` starts one: `{ port, restart(), stop(), … }`. What is missing on the machine is told by `missing(name)`. All are
// stopped with the test's process, however it ends.

import { spawn, spawnSync } from "node:child_process";
import { appendFileSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, ROOT } from "./target.mjs";

/** Where `./test` puts what comes from PyPI. */
const PYTHON = process.env.SOCKEYE_PYTHON ?? join(ROOT, "tests/.venv/bin/python");
const READY_MS = 20_000;
const running = new Set();
process.on("exit", () => {
  for (const server of running) server.abandon();
});

/** Each server's program, and its arguments on a port in a directory; with `open` it takes connections from other machines. */
const SERVERS = {
  redis: {
    program: () => onPath("redis-server"),
    command: (program, port, directory, open) => [
      ...[program, "--port", port, "--bind", open ? "0.0.0.0" : "127.0.0.1", "--dir", directory, "--save", "", "--appendonly", "no"],
      ...(open ? ["--protected-mode", "no"] : []),
    ],
  },
  nats: {
    program: () => onPath("nats-server"),
    command: (program, port, directory, open) => [program, "-a", open ? "0.0.0.0" : "127.0.0.1", "-p", port, "-js", "-sd", directory],
  },
  postgres: {
    program: () => postgres("postgres"),
    prepare: (directory) => run(asPostgres([postgres("initdb"), "-D", join(directory, "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"])),
    command: (program, port, directory, open) => {
      if (open) appendFileSync(join(directory, "data/pg_hba.conf"), "host all all 0.0.0.0/0 trust\n");
      return asPostgres([program, "-D", join(directory, "data"), "-p", port, "-h", open ? "0.0.0.0" : "127.0.0.1", "-k", directory, "-F"]);
    },
    owner: "postgres",
    stop: "SIGINT",
    ready: (port) => spawnSync(postgres("pg_isready"), ["-h", "127.0.0.1", "-p", port]).status === 0,
  },
  // No server at all: nodes of one machine that share a directory.
  directory: {},
  mongo: {
    program: () => existsSync(PYTHON) && spawnSync(PYTHON, ["-c", "import nx_27017"]).status === 0 && PYTHON,
    command: (program, port, directory) => [program, join(ROOT, "tests/python/mongo_server.py"), port, directory],
  },
};

/** The same, whose data survive its end (slower). */
SERVERS["mongo on disk"] = { ...SERVERS.mongo, command: (...args) => [...SERVERS.mongo.command(...args), "--kept"] };

/** Why tests with this backend are skipped; false when it is installed. */
export function missing(name) {
  return !SERVERS[name].command || SERVERS[name].program() ? false : `${name} is not installed`;
}

/** Starts a backend and waits until it takes connections. */
export async function backend(name, { open = false } = {}) {
  const server = new Backend(name, await freePort(), open);
  await server.start();
  return server;
}

class Backend {
  constructor(name, port, open) {
    this.open = open;
    this.kind = SERVERS[name];
    this.name = name;
    this.port = port;
    this.directory = mkdtempSync(join(tmpdir(), `sk-${name.replaceAll(" ", "-")}-`));
    if (this.kind.owner && process.getuid() === 0) own(this.directory, this.kind.owner);
    this.kind.prepare?.(this.directory);
  }

  async start() {
    if (!this.kind.command) return;
    const [program, ...args] = this.kind.command(this.kind.program(), String(this.port), this.directory, this.open);
    this.output = "";
    this.process = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, cwd: this.directory });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output = (this.output + text).slice(-10_000)));
    }
    this.gone = new Promise((resolve) => this.process.once("close", resolve));
    running.add(this);
    for (const end = Date.now() + READY_MS; Date.now() < end && this.process.exitCode === null; await sleep(25)) {
      if ((await accepts(this.port)) && (this.kind.ready?.(this.port) ?? true)) return;
    }
    this.abandon();
    throw new Error(`${this.name} does not come up:\n${this.output}`);
  }

  /** Stops it; its data stay. */
  async halt(signal = this.kind.stop ?? "SIGTERM") {
    this.signal(signal);
    await this.gone;
    running.delete(this);
  }

  /** Stops it and starts it again on the same port. */
  async restart() {
    await this.halt();
    await this.start();
  }

  async stop() {
    if (running.has(this)) await this.halt();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** To the whole group: a launcher may stand between. */
  signal(signal) {
    try {
      process.kill(-this.process.pid, signal);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  }

  abandon() {
    this.signal("SIGKILL");
    running.delete(this);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function accepts(port) {
  const socket = net.connect(port, "127.0.0.1");
  const open = await new Promise((resolve) => {
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
  });
  socket.destroy();
  return open;
}

function onPath(program) {
  return [...(process.env.PATH ?? "").split(":"), "/usr/sbin"].map((dir) => join(dir, program)).find(existsSync) ?? false;
}

/** Debian keeps PostgreSQL's programs beside PATH. */
function postgres(program) {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => b - a) : [];
  return onPath(program) || versions.map((version) => join(root, version, "bin", program)).find(existsSync) || false;
}

/** PostgreSQL refuses to run as root. */
function asPostgres(command) {
  return process.getuid() === 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", ...command] : command;
}

function own(directory, user) {
  const id = (flag) => Number(spawnSync("id", [flag, user], { encoding: "utf8" }).stdout);
  chownSync(directory, id("-u"), id("-g"));
}

function run([program, ...args]) {
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} failed: ${error ?? stderr}`);
}
