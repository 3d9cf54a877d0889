// Unmodified Socket.IO apps behind our edge: each a process of its own, all stopped with the test's.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { within } from "./clients.mjs";
import { overSocket, run, settingsFile, upFile } from "./files.mjs";
import { freePort, ROOT } from "./target.mjs";

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts an app; `options` are those of its server. */
export async function app(name, { port, options = {} } = {}) {
  const at = port ?? (await freePort());
  const child = new Child([process.execPath, join(ROOT, "tests/plain-app.mjs"), name, String(at), JSON.stringify(options)]);
  const posts = [];
  child.heard = (line) => line.startsWith("post ") && posts.push(line.slice(5));
  await child.line((line) => line === "ready");
  return Object.assign(child, { name, port: at, posts, at: `127.0.0.1:${at}`, listed: `{ name = "${name}", address = "127.0.0.1:${at}" }` });
}

/** Runs a file with one group, `apps`, of these servers; `group` are lines of it, `top` those before it. */
export async function balance(servers, { group = "", top = "" } = {}) {
  const port = await freePort();
  const file = settingsFile("");
  const admin = join(file.dir, "admin.sock");
  const write = (servers, group) => {
    const list = servers.length > 0 ? `servers = [${servers.map((one) => one.listed).join(", ")}]\n` : "";
    file.write(`admin = "unix:${admin}"\nlisten = "127.0.0.1:${port}"\n${top}\n[upstream.apps]\n${list}${group}\n`);
  };
  write(servers, group);
  // Polls of clients that left a moment ago hang: nobody waits for them at the end.
  const env = { SOCKEYE_LIMITS__DRAIN_TIMEOUT: "100ms" };
  const target = await upFile(file, port, { env }).catch((error) => {
    file.done();
    throw error;
  });
  const asked = async (path, method) => {
    const { status, text } = await overSocket(admin, path, { method });
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return JSON.parse(text);
  };
  return {
    url: target.url,
    dir: file.dir,
    /** What the status page knows of the group, and of all. */
    async stats() {
      const { groups, totals } = await asked("/status");
      return { ...totals, ...groups[0] };
    },
    state: (server, word) => asked(`/upstreams/apps/${server}/${word}`, "POST"),
    /** Applies other servers, or other lines of the group. */
    async apply(list, lines = group) {
      write(list, lines);
      const { code, err } = await run(["apply", file.path]);
      if (code !== 0) throw new Error(err);
    },
    async kill() {
      await target.stop();
      file.done();
    },
  };
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
