// Unmodified Socket.IO apps behind our edge: each a process of its own, all stopped with the test's.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { within } from "./clients.mjs";
import { binary, freePort, REFERENCE, ROOT } from "./target.mjs";

const PROGRAM = () => binary("examples/balance");
const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Why the tests of the edge before other programs are skipped; false when they are not. */
export function unbuilt() {
  if (REFERENCE) return "the balancer is ours";
  return existsSync(PROGRAM()) ? false : `${PROGRAM()} is not built`;
}

/** Starts an app; `options` are those of its server. */
export async function app(name, { port, options = {} } = {}) {
  const at = port ?? (await freePort());
  const child = new Child([process.execPath, join(ROOT, "tests/plain-app.mjs"), name, String(at), JSON.stringify(options)]);
  const posts = [];
  child.heard = (line) => line.startsWith("post ") && posts.push(line.slice(5));
  await child.line((line) => line === "ready");
  return Object.assign(child, { name, port: at, posts, at: `127.0.0.1:${at}`, listed: `127.0.0.1:${at} route=${name}` });
}

/** Starts the edge before servers, each a line of a list. */
export async function balance(settings, servers) {
  const child = new Child([PROGRAM(), ...settings, ...servers.flatMap((line) => ["--", line])]);
  const first = await child.line((line) => line.startsWith("listening on "));
  const url = `http://${first.split(" ").at(-1)}`;
  const say = async (words) => {
    const answer = child.line(() => true);
    child.process.stdin.write(`${words}\n`);
    const line = await answer;
    if (line.startsWith("error")) throw new Error(line);
    return line;
  };
  return Object.assign(child, { url, say, stats: async () => JSON.parse(await say("stats")) });
}

/** The condition `look` comes to hold, however slow the machine is. */
export async function until(look, what) {
  await within(
    (async () => {
      while (!(await look())) await new Promise((resolve) => setTimeout(resolve, 25));
    })(),
    what,
  );
}

class Child {
  constructor([program, ...args]) {
    this.process = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    running.add(this.process);
    this.gone = new Promise((resolve) => this.process.once("close", resolve)).then(() => running.delete(this.process));
    this.waiting = [];
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      const at = this.waiting.findIndex(({ fits }) => fits(line));
      if (at >= 0) this.waiting.splice(at, 1)[0].resolve(line);
      else this.heard?.(line);
    });
  }

  line(fits) {
    return within(new Promise((resolve) => this.waiting.push({ fits, resolve })), "a line of a child");
  }

  async kill() {
    this.process.kill("SIGKILL");
    await this.gone;
  }
}
