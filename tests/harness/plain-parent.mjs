// Plays the parent on the plain link (docs/plain-link.md): starts copies of an app with the preload, opens the address that they ask for, and
// sends each request to the copy whose tag its sid begins with, else to the next one.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "./target.mjs";

const PRELOAD = join(ROOT, "crates/supervisor/preload/preload.cjs");
const UP_MS = 30_000;
const HOP_BY_HOP = ["connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"];

export class PlainParent {
  constructor(command, { instances = 4, env = {}, cwd = join(ROOT, "tests/apps") } = {}) {
    Object.assign(this, { command, instances, env, cwd });
    this.directory = mkdtempSync(join(tmpdir(), "sk-plain-"));
    for (const name of ["mesh", "http"]) mkdirSync(join(this.directory, name), { mode: 0o700 });
    this.workers = new Map(); // by tag
    this.fronts = new Map(); // by `host:port`
    this.copies = [];
    this.output = "";
    this.statuses = new Map();
    this.avoid = []; // processes that get no new client
    this.turn = 0;
  }

  /** Starts all copies and, where they are to listen at all, waits until each serves so many addresses. */
  async start(listens) {
    this.link = net.createServer((socket) => this.hear(socket));
    await new Promise((done) => this.link.listen(join(this.directory, "plain.sock"), done));
    for (let instance = 0; instance < this.instances; instance += 1) this.spawn(instance);
    if (listens) await this.until(`${this.instances} copies that serve`, () => this.serving(listens).length === this.instances);
    return this;
  }

  serving(listens = 1) {
    return [...this.workers.values()].filter((worker) => worker.ready.size >= listens);
  }

  spawn(instance) {
    const [program, ...args] = this.command;
    const env = { ...process.env, NODE_OPTIONS: `--require "${PRELOAD}"`, SOCKEYE_PLAIN_LINK: join(this.directory, "plain.sock"), SOCKEYE_WORKER: String(instance), NODE_APP_INSTANCE: String(instance), ...this.env };
    const child = spawn(program, args, { cwd: this.cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.copies[instance] = child;
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (this.output = (this.output + text).slice(-20_000)));
    child.closed = new Promise((resolve) => child.on("close", (code, signal) => resolve((child.ended = { code, signal }))));
  }

  hear(socket) {
    const worker = { tag: randomBytes(5).toString("base64url").slice(0, 6), ready: new Set(), listens: new Map(), socket };
    worker.say = (word) => socket.write(`${JSON.stringify(word)}\n`);
    socket.on("error", () => {}).on("close", () => this.workers.delete(worker.tag));
    createInterface({ input: socket }).on("line", (line) => this.take(worker, JSON.parse(line)));
  }

  async take(worker, word) {
    const { id } = word;
    if (word.type === "hello") {
      Object.assign(worker, { pid: word.pid, instance: word.instance });
      this.workers.set(worker.tag, worker);
      worker.say({ type: "assign", tag: worker.tag, mesh_dir: join(this.directory, "mesh"), http_dir: join(this.directory, "http") });
    } else if (word.type === "listen") {
      const path = join(this.directory, "http", `${worker.tag}-${id}.sock`);
      worker.listens.set(id, { path, at: `${word.host}:${word.port}` });
      const failure = await this.front(word);
      worker.say(failure ? { type: "refuse", id, code: failure.code, reason: failure.message } : { type: "listening", id, path });
    } else if (word.type === "ready") {
      worker.ready.add(id);
    } else if (word.type === "closed") {
      worker.ready.delete(id);
      worker.listens.delete(id);
    }
  }

  /** Opens an address, once. */
  front({ host, port }) {
    const at = `${host}:${port}`;
    if (!this.fronts.has(at)) this.fronts.set(at, this.open(host, port, at));
    return this.fronts.get(at).failure;
  }

  open(host, port, at) {
    const server = http.createServer({ keepAliveTimeout: 60_000 });
    server.on("request", (request, response) => this.relay(at, request, response)).on("upgrade", (request, client, head) => this.tunnel(at, request, client, head));
    const failure = new Promise((done) => server.once("error", (error) => done(error)).listen({ host: host ?? undefined, port }, () => done(undefined)));
    return { server, failure, agent: new http.Agent({ keepAlive: true }) };
  }

  pick(at, url) {
    const sid = new URL(url, "http://a").searchParams.get("sid");
    const candidates = [...this.workers.values()].map((worker) => [worker, [...worker.listens].find(([id, listen]) => worker.ready.has(id) && listen.at === at)]).filter(([, listen]) => listen);
    const owner = candidates.find(([worker]) => sid && sid.startsWith(worker.tag));
    const willing = candidates.filter(([worker]) => !this.avoid.includes(worker.pid));
    const [worker, listen] = owner ?? willing[this.turn++ % willing.length] ?? [];
    return worker && { worker, path: listen[1].path };
  }

  headers(request) {
    const headers = {};
    for (let i = 0; i < request.rawHeaders.length; i += 2) if (!HOP_BY_HOP.includes(request.rawHeaders[i].toLowerCase())) headers[request.rawHeaders[i]] = request.rawHeaders[i + 1];
    const { remoteAddress, remotePort } = request.socket;
    const ip = remoteAddress.replace("::ffff:", "");
    return { ...headers, "x-forwarded-for": ip, "x-sockeye-peer": ip.includes(":") ? `[${ip}]:${remotePort}` : `${ip}:${remotePort}`, "x-sockeye-relayed": "edge" };
  }

  relay(at, request, response) {
    const to = this.pick(at, request.url);
    if (!to) return response.writeHead(503).end();
    const { method, url } = request;
    const upstream = http.request({ socketPath: to.path, method, path: url, headers: this.headers(request), agent: this.fronts.get(at).agent });
    upstream.on("response", (answer) => {
      this.statuses.set(answer.statusCode, (this.statuses.get(answer.statusCode) ?? 0) + 1);
      const headers = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
      response.writeHead(answer.statusCode, headers);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    return request.pipe(upstream);
  }

  tunnel(at, request, client, head) {
    const to = this.pick(at, request.url);
    if (!to) return client.destroy();
    const upstream = net.connect(to.path);
    const headers = { ...this.headers(request), connection: "Upgrade", upgrade: request.headers.upgrade };
    upstream.write(`${request.method} ${request.url} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
    upstream.write(head);
    client.pipe(upstream).pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) one.on("error", () => other.destroy()).on("close", () => other.destroy());
    return undefined;
  }

  bad() {
    return [...this.statuses].filter(([status]) => status >= 400);
  }

  async until(what, holds) {
    for (const end = Date.now() + UP_MS; Date.now() < end; await sleep(20)) {
      if (holds()) return;
      const dead = this.copies.find((child) => child.ended);
      if (dead) throw new Error(`a copy ended (${JSON.stringify(dead.ended)}) before: ${what}\n${this.output}`);
    }
    throw new Error(`not after ${UP_MS} ms: ${what}\n${this.output}`);
  }

  async stop() {
    for (const child of this.copies) kill(child, "SIGKILL");
    await Promise.all(this.copies.map((child) => child.closed));
    for (const { server, agent } of this.fronts.values()) {
      server.closeAllConnections();
      agent.destroy();
      server.close();
    }
    this.link?.close();
    if (existsSync(this.directory)) rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The whole group: npm and tsx have children. */
function kill(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Nobody is left.
  }
}
