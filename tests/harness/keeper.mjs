// `sockeye start` and its kin in directories of their own: commands, what they answer, and the end of everything they started.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { binary } from "./target.mjs";

/** How long a condition may take to hold, however slow the machine is. */
const PATIENCE_MS = 60_000;
const homes = new Set();
process.on("exit", () => {
  for (const home of homes) home.abandon();
});

export const SOCKEYE = binary("sockeye");

/** A user of their own. */
export class Home {
  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "sk-"));
    for (const name of ["s", "r", "app"]) mkdirSync(join(this.dir, name), { mode: 0o700 });
    this.env = { ...process.env, XDG_STATE_HOME: join(this.dir, "s"), XDG_RUNTIME_DIR: join(this.dir, "r") };
    delete this.env.PORT;
    homes.add(this);
  }

  /** Writes a file of the app's directory. */
  file(name, text) {
    writeFileSync(join(this.dir, "app", name), text);
    return name;
  }

  /** Runs a command to its end. */
  async run(...words) {
    const child = spawn(SOCKEYE, words.map(String), { cwd: join(this.dir, "app"), env: this.env, stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (err += text));
    const code = await new Promise((resolve) => child.once("close", resolve));
    return { code, out, err };
  }

  /** The same, which must succeed. */
  async ok(...words) {
    const { code, out, err } = await this.run(...words);
    if (code !== 0) throw new Error(`sockeye ${words.join(" ")}: code ${code}\n${err}${out}\n${this.ownLog()}`);
    return out;
  }

  async list() {
    return JSON.parse(await this.ok("list", "--json"));
  }

  async rowsOf(name) {
    return (await this.list()).filter((row) => row.name === name);
  }

  async pids(name) {
    return (await this.rowsOf(name)).map((row) => row.pid);
  }

  state(name) {
    return join(this.dir, "s/sockeye", name);
  }

  ownLog() {
    return existsSync(this.state("sockeye.log")) ? readFileSync(this.state("sockeye.log"), "utf8").slice(-4000) : "";
  }

  /** Every line that a stream of an app ever had, through all files that were put away. */
  lines(name, stream = "out", instance = 0) {
    const file = `${name}-${stream}-${instance}.log`;
    const names = existsSync(this.state("logs")) ? readdirSync(this.state("logs")) : [];
    const past = names.filter((one) => one.startsWith(`${file}.`) && !one.endsWith(".part")).sort();
    // One that is being compressed is there twice for a moment.
    const whole = past.filter((one) => !(one.endsWith(".gz") && past.includes(one.slice(0, -3))));
    const texts = whole.map((one) => {
      const bytes = readFileSync(this.state(`logs/${one}`));
      return (one.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
    });
    if (names.includes(file)) texts.push(readFileSync(this.state(`logs/${file}`), "utf8"));
    return { lines: texts.join("").split("\n").slice(0, -1), files: past };
  }

  /** The process id of the daemon. */
  daemon() {
    return this.processes().find((one) => one.words[1] === "daemon")?.pid;
  }

  keepers() {
    return this.processes().filter((one) => one.words[1] === "keep").map((one) => one.pid);
  }

  /** Every process that was started in this home, by the directory in its environment. */
  processes() {
    const mark = `XDG_RUNTIME_DIR=${this.env.XDG_RUNTIME_DIR}`;
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          if (!readFileSync(`/proc/${name}/environ`, "latin1").split("\0").includes(mark)) return [];
          return [{ pid: Number(name), words: readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0") }];
        } catch {
          return [];
        }
      });
  }

  /** Kills everything with -9, whoever starts whom meanwhile. */
  async massacre() {
    for (let all = this.processes(); all.length > 0; all = this.processes()) {
      for (const { pid } of all) kill(pid);
      await sleep(5);
    }
  }

  async stop() {
    await this.run("kill");
    try {
      await until(() => `nothing is left behind: ${JSON.stringify(this.processes())}`, () => this.processes().length === 0);
    } finally {
      this.abandon();
    }
  }

  abandon() {
    for (const { pid } of this.processes()) kill(pid);
    homes.delete(this);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function kill(pid, signal = "SIGKILL") {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** The condition comes to hold. */
export async function until(what, look) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`it does not come to hold that ${typeof what === "function" ? what() : what}`);
    await sleep(20);
  }
}

/** Asks again and again, one connection a request, until it is told to stop: how many were answered, and what went wrong. */
export function load(url) {
  const counts = { answered: 0, troubles: [] };
  let going = true;
  const ask = () =>
    new Promise((resolve) => {
      const request = http.get(url, { agent: false }, (answer) => {
        answer.resume();
        if (answer.statusCode === 200) counts.answered += 1;
        else counts.troubles.push(answer.statusCode);
        answer.on("close", resolve);
      });
      request.on("error", (error) => resolve(counts.troubles.push(error.code ?? error.message)));
    });
  const done = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (going) {
        await ask();
        await sleep(2);
      }
    }),
  );
  return {
    counts,
    async stop() {
      going = false;
      await done;
      return counts;
    },
  };
}

/** Resident memory of its own in bytes: pages of the program's file come and go, since it gives back what it ran once. */
export function rss(pid) {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
}

export const HAS_SYSTEMD = spawnSync("systemd-analyze", ["--version"]).status === 0;
