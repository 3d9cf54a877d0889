// `sockeye up FILE` on free ports, with a file that a test writes and rewrites.

import { spawn } from "node:child_process";
import http from "node:http";
import net from "node:net";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary, Target } from "./target.mjs";

/** A directory with a file of settings; `done()` removes it. */
export function settingsFile(text, name = "sockeye.toml") {
  const dir = mkdtempSync(join(tmpdir(), "sk-file-"));
  const path = join(dir, name);
  const file = { dir, path, write: (text) => writeFileSync(path, text), done: () => rmSync(dir, { recursive: true, force: true }) };
  file.write(text);
  return file;
}

/** Runs a file and waits until the port takes connections; `stop()` ends it and fails when anything is left. */
export async function upFile(file, port, { workers = 0, env = {}, args = [] } = {}) {
  const target = new Target([binary(), "up", file.path, ...args], port, { env });
  try {
    if (workers) {
      await target.ready();
      await target.workersAre(workers);
    } else {
      await target.until("listening", () => knock(port));
    }
    // The public ports are opened first, and the operators' socket a moment later.
    const admin = /^\s*admin = "unix:(.+)"$/m.exec(readFileSync(file.path, "utf8"));
    if (admin) await target.until("listening for operators", () => knock(admin[1]));
    return target;
  } catch (error) {
    target.abandon();
    throw error;
  }
}

/** Whether anybody takes a connection at a port of loopback, or at a path. */
export function knock(at) {
  return new Promise((resolve) => {
    const socket = typeof at === "string" ? net.connect(at) : net.connect(at, "127.0.0.1");
    socket.on("connect", () => (socket.destroy(), resolve(true))).on("error", () => resolve(false));
  });
}

/** Runs a command of the product to its end: what it said, and its code. */
export function run(args, { env = {}, cwd } = {}) {
  const child = spawn(binary(), args.map(String), { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (err += text));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

/** One request over a Unix socket. */
export function overSocket(socketPath, path, { method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, path, method, headers, agent: false, timeout: 10_000 }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (more) => (text += more)).on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
    });
    request.on("error", reject).on("timeout", () => request.destroy(new Error("no answer within 10 s")));
    request.end(body);
  });
}
