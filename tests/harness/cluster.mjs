// Nodes of a cluster, ours and Node.js ones, each with a client at its namespace /control that drives it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { binary, freePort, ROOT } from "./target.mjs";

const READY_MS = 20_000;
const running = new Set();
process.on("exit", () => {
  for (const node of running) node.kill();
});

/** Starts a Sockeye node; behind `before` (`ip netns exec …`), where it is reached by another address. */
export function sockeye(adapter, { args = [], env = {}, before = [], host = "127.0.0.1" } = {}) {
  const command = (port) => [...before, binary("conformance"), "--control", "--host", host, "--port", port, "--adapter", adapter, ...args];
  return Node.start(env, command, host);
}

/** Starts a Node.js node with the official packages. */
export function official(adapter, { args = [] } = {}) {
  return Node.start({}, (port) => [process.execPath, join(ROOT, "tests/reference/member.mjs"), "--port", port, "--adapter", adapter, ...args]);
}

class Node {
  static async start(env, command, host) {
    const node = new Node(await freePort(), env, command, host);
    await node.up();
    return node;
  }

  constructor(port, env, command, host = "127.0.0.1") {
    this.port = port;
    this.env = { ...process.env, ...env };
    this.url = `http://${host}:${port}`;
    this.command = command(String(port));
    this.clients = new Set();
  }

  async up() {
    const [program, ...args] = this.command;
    this.output = "";
    this.process = spawn(program, args, { env: this.env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output = (this.output + text).slice(-10_000)));
    }
    this.gone = new Promise((resolve) => this.process.once("close", resolve));
    running.add(this);
    for (const end = Date.now() + READY_MS; Date.now() < end && this.process.exitCode === null; await sleep(20)) {
      const open = await fetch(`${this.url}/socket.io/?EIO=4&transport=polling`).then((answer) => answer.ok, () => false);
      if (!open) continue;
      this.control = await this.client({ nsp: "/control" });
      return;
    }
    this.kill();
    throw new Error(`${this.command.join(" ")} does not come up:\n${this.output}`);
  }

  /** A stock client at this node. */
  async client({ nsp = "/", ...options } = {}) {
    const socket = io(this.url + nsp, { forceNew: true, transports: ["websocket"], ...options });
    this.clients.add(socket);
    await once(socket, "connect");
    return socket;
  }

  /** A call whose answer is an error or nothing. */
  async do(name, ...args) {
    const error = await this.control.timeout(10_000).emitWithAck(name, ...args);
    if (error !== null) throw new Error(error);
  }

  /** A call whose answer is `[error, result]`. */
  ask(name, ...args) {
    return new Promise((resolve, reject) => {
      this.control.timeout(15_000).emit(name, ...args, (late, ...answer) => (late ? reject(late) : resolve(answer)));
    });
  }

  async stop(signal = "SIGTERM") {
    for (const socket of this.clients) socket.close();
    this.process.kill(signal);
    await this.gone;
    running.delete(this);
  }

  kill() {
    this.process.kill("SIGKILL");
    running.delete(this);
  }
}
