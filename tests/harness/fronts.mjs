// Real balancers as people set them up, from the files in tests/balancers, before two nodes and without stickiness.

import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, ROOT } from "./target.mjs";

const READY_TRIES = 200;
const READY_PAUSE_MS = 25;
const program = (name) => ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map((dir) => join(dir, name)).find(existsSync);

/** By name: the file, and the command that runs it. */
const FRONTS = {
  nginx: { file: "nginx.conf", program: "nginx", args: (file, dir) => ["-c", file, "-e", "stderr", "-p", dir], prefix: process.getuid() === 0 ? "user root;\n" : "" },
  HAProxy: { file: "haproxy.cfg", program: "haproxy", args: (file) => ["-db", "-f", file] },
  Apache: { file: "httpd.conf", program: "apache2", args: (file) => ["-D", "FOREGROUND", "-f", file], prefix: process.getuid() === 0 ? "User www-data\nGroup www-data\n" : "" },
  // Named stand-ins: what these do with a request, as their documents say, done by HAProxy or nginx.
  "a classic ELB with an HTTP listener": { file: "elb-http.cfg", program: "haproxy", args: (file) => ["-db", "-f", file] },
  "a classic ELB with a TCP listener": { file: "elb-tcp.cfg", program: "haproxy", args: (file) => ["-db", "-f", file] },
  "Traefik with its sticky cookie": { file: "traefik.cfg", program: "haproxy", args: (file) => ["-db", "-f", file] },
  "ingress-nginx hashing the client's address": { file: "ingress-nginx.conf", program: "nginx", args: (file, dir) => ["-c", file, "-e", "stderr", "-p", dir], prefix: process.getuid() === 0 ? "user root;\n" : "" },
};

/** Why tests with this balancer are skipped; false when it is installed. */
export function unavailable(name) {
  return program(FRONTS[name].program) ? false : `${name} is not installed`;
}

/** Starts a balancer before two ports and waits until it has a node behind it. `edit` adds what a recipe has and the file leaves out. */
export async function front(name, [a, b], edit = (text) => text) {
  const kind = FRONTS[name];
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), "sk-front-"));
  // Apache leaves root behind.
  chmodSync(dir, 0o755);
  const file = join(dir, kind.file);
  const words = { PORT: port, DIR: dir, A: a, B: b, MODULES: "/usr/lib/apache2/modules" };
  const text = edit(readFileSync(join(ROOT, "tests/balancers", kind.file), "utf8")).replace(/@(\w+)@/g, (_, word) => words[word]);
  writeFileSync(file, (kind.prefix ?? "") + text);
  const child = spawn(program(kind.program), kind.args(file, dir), { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (more) => (said = (said + more).slice(-10_000)));
  const ended = new Promise((resolve) => child.on("close", resolve));
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    process.off("exit", kill);
    rmSync(dir, { recursive: true, force: true });
  };
  for (let tries = 0; tries < READY_TRIES && child.exitCode === null; tries += 1) {
    if (await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) }).then((answer) => answer.ok, () => false)) return { url, stop };
    await sleep(READY_PAUSE_MS);
  }
  await stop();
  throw new Error(`${name} does not answer:\n${said}`);
}
