// Apps under `sockeye start`, with a daemon and directories of their own, and nothing left at the end.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { within } from "./clients.mjs";
import { binary, ROOT } from "./target.mjs";

const COMMAND_MS = 60_000;

/** One user's daemon and apps. */
export class Started {
  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "sk-s-"));
    this.env = { ...process.env, XDG_STATE_HOME: join(this.directory, "s"), XDG_RUNTIME_DIR: join(this.directory, "r") };
    delete this.env.PORT;
  }

  /** Runs a command to its end: `{ code, output }`. */
  async run(args, env = {}) {
    const child = spawn(binary(), args.map(String), { cwd: join(ROOT, "tests/apps"), env: { ...this.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
    const ended = new Promise((resolve) => child.on("close", resolve));
    try {
      return { code: await within(ended, `sockeye ${args.join(" ")}`, COMMAND_MS), output };
    } finally {
      child.kill("SIGKILL");
    }
  }

  /** The same, and it must succeed. */
  async do(args, env) {
    const { code, output } = await this.run(args, env);
    if (code !== 0) throw new Error(`sockeye ${args.join(" ")} ended with ${code}:\n${output}`);
    return output;
  }

  async list() {
    return JSON.parse(await this.do(["list", "--json"]));
  }

  async stop() {
    try {
      await this.do(["kill"]);
    } finally {
      rmSync(this.directory, { recursive: true, force: true });
    }
  }
}
