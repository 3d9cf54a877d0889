// Starts what is tested, the product or the reference server, on a free port, and leaves nothing behind.
//
// A target is stopped by `stop()`, which fails when a process or a file outlives it. Should a test die first, the
// exit hook below kills what is left. Nothing here reads what the product prints: workers are found in /proc.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { alive, childrenOf, commandLine, listeningPorts } from "./processes.mjs";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** True when the official server is tested instead of the product. */
export const REFERENCE = Boolean(process.env.SOCKEYE_REFERENCE);
/** True for the full matrices and soaks of `./test --long`. */
export const LONG = Boolean(process.env.SOCKEYE_LONG);
/** Why a scenario that needs several workers is skipped; false when it is not. */
export const CLUSTER_ONLY = REFERENCE && "the reference is one process";

const READY_MS = 20_000;
const KNOCK_MS = 2_000;
const STOP_MS = 15_000;
const running = new Set();

process.on("exit", () => {
  for (const target of running) target.abandon();
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** The product's binary, as cargo built it; `SOCKEYE_BIN` names another. */
export function binary(name = "sockeye") {
  if (name === "sockeye" && process.env.SOCKEYE_BIN) return process.env.SOCKEYE_BIN;
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  const built = process.env.SOCKEYE_PROFILE ?? (existsSync(join(target, "release", name)) ? "release" : "debug");
  return join(target, built, name);
}

/**
 * Starts `sockeye up` (or the reference) and waits until it says it is ready. `client: "official"` starts it where the
 * official browser bundle can be found, "own" where there is none: an empty directory.
 */
export async function up({ app = "contract", workers = 1, workerPorts = false, client = "official", args = [], ...options } = {}) {
  const port = options.port ?? (await freePort(workerPorts ? workers : 0));
  options.cwd ??= client === "official" ? join(ROOT, "tests") : mkdtempSync(join(tmpdir(), "sk-empty-"));
  const command = REFERENCE
    ? [process.execPath, join(ROOT, "tests/reference/server.mjs"), "--app", app, "--port", port, "--client", client]
    : [binary(), "up", "--app", app, "--host", "127.0.0.1", "--port", port, "-i", workers, ...(workerPorts ? ["--worker-ports"] : []), ...args];
  const target = new Target(command, port, options);
  try {
    await target.ready();
    if (!REFERENCE) await target.workersAre(workers, workerPorts);
    return target;
  } catch (error) {
    target.abandon();
    throw error;
  }
}

/** Starts the server of the official suites: plain Engine.IO, or Socket.IO. `hurried`: it waits 200 ms for the answer to a ping, as they want it. */
export async function conformance({ engine = false, hurried = false, args = [] } = {}) {
  const port = await freePort();
  const flags = ["--port", port, ...(engine ? ["--engine"] : []), ...(hurried ? [] : ["--patient"]), ...args];
  const target = new Target(
    REFERENCE
      ? [process.execPath, join(ROOT, "tests/reference/server.mjs"), "--app", "conformance", ...flags]
      : [binary("conformance"), ...flags],
    port,
  );
  try {
    await target.accepts();
    return target;
  } catch (error) {
    target.abandon();
    throw error;
  }
}

/** One started server and all its processes. */
export class Target {
  constructor(command, port, { cwd = ROOT, env = {} } = {}) {
    this.port = Number(port);
    this.cwd = cwd;
    this.url = `http://127.0.0.1:${port}`;
    this.runtimeDir = mkdtempSync(join(tmpdir(), "sk-"));
    this.seen = new Set();
    this.output = "";
    // A group of its own, as a shell's foreground job has: Ctrl-C can then be sent the way a terminal does.
    this.process = spawn(String(command[0]), command.slice(1).map(String), {
      cwd,
      detached: true,
      env: { ...process.env, SOCKEYE_RUNTIME_DIR: this.runtimeDir, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(this);
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output = (this.output + text).slice(-20_000)));
    }
    this.exited = new Promise((resolve) => {
      this.process.on("error", (error) => ((this.output += error.message), resolve({ code: null, signal: null })));
      this.process.on("close", (code, signal) => resolve({ code, signal }));
    });
    this.exited.then((end) => (this.end = end));
  }

  get pid() {
    return this.process.pid;
  }

  /** The process ids of the workers; of the reference, its own. */
  workers() {
    if (REFERENCE) return [this.pid];
    const pids = childrenOf(this.pid).filter((pid) => / worker( |$)/.test(commandLine(pid)));
    for (const pid of pids) this.seen.add(pid);
    return pids;
  }

  /** The TCP port of each worker, by process id. */
  workerPorts() {
    return new Map(this.workers().map((pid) => [pid, listeningPorts(pid)[0]]));
  }

  /** Waits until `GET /ready` says 200. */
  async ready() {
    await this.until("ready", async () => (await this.knock("/ready")).status === 200);
  }

  /** Waits until the port takes connections, for servers that have no `/ready`. */
  async accepts() {
    await this.until("listening", async () => Boolean(await this.knock("/")));
  }

  /** Waits until so many workers live, and, if wanted, listen on ports of their own. */
  async workersAre(count, withPorts = false) {
    await this.until(`${count} workers`, async () => {
      const pids = this.workers();
      return pids.length === count && (!withPorts || pids.every((pid) => listeningPorts(pid).length > 0));
    });
  }

  /** One request that does not wait for a server that takes it and says nothing. */
  knock(path, options = {}) {
    return fetch(this.url + path, { signal: AbortSignal.timeout(KNOCK_MS), ...options });
  }

  async until(what, holds) {
    const deadline = Date.now() + READY_MS;
    while (Date.now() < deadline) {
      if (this.end) throw new Error(`the server ended (${JSON.stringify(this.end)}) before it was ${what}:\n${this.output}`);
      if (await holds().catch(() => false)) return;
      await sleep(20);
    }
    throw new Error(`the server was not ${what} after ${READY_MS} ms:\n${this.output}`);
  }

  /** Ends the target and fails if anything of it stays. */
  async stop(signal = "SIGTERM") {
    this.workers();
    if (!this.end) process.kill(this.pid, signal);
    const stopped = await Promise.race([this.exited, sleep(STOP_MS, "late", { ref: false })]);
    try {
      if (stopped === "late") throw new Error(`the server was still there ${STOP_MS} ms after ${signal}:\n${this.output}`);
      await this.nothingIsLeft();
      return stopped;
    } finally {
      this.abandon();
    }
  }

  /** Kills what is left of it and removes its files, without a question. */
  abandon() {
    this.killGroup("SIGKILL");
    running.delete(this);
    rmSync(this.runtimeDir, { recursive: true, force: true });
    if (this.cwd.includes("sk-empty-")) rmSync(this.cwd, { recursive: true, force: true });
  }

  /** Fails when a worker lives, or a file lies in the runtime directory, `withinMs` after the end. */
  async nothingIsLeft(withinMs = 500) {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const left = [...this.seen].filter(alive).map((pid) => `process ${pid} (${commandLine(pid)})`);
      for (const name of readdirSync(this.runtimeDir)) left.push(`file ${name}`);
      if (left.length === 0) return;
      if (Date.now() > deadline) throw new Error(`left behind: ${left.join(", ")}\n${this.output}`);
      await sleep(20);
    }
  }

  killGroup(signal) {
    try {
      process.kill(-this.pid, signal);
    } catch {
      // Nobody is left, as it should be.
    }
  }
}

/** Below the range from which the kernel takes the ports of outgoing connections, so that none of them stands in the way. */
const PORTS = { first: 10_000, last: 30_000 };

/** A TCP port of loopback that was free a moment ago, and so were the `more` ports after it. */
export async function freePort(more = 0) {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first));
    const free = await Promise.all(Array.from({ length: more + 1 }, (_, step) => isFree(port + step)));
    if (free.every(Boolean)) return port;
  }
}

function isFree(port) {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
