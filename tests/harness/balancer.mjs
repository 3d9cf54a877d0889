// Balancers that know nothing of Socket.IO, as people put them in front: one of our own without any stickiness, and nginx.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./target.mjs";

/** Sends every HTTP request, on a new connection, to a random one of `ports`; counts the answers by status. */
export async function randomBalancer(ports) {
  const statuses = new Map();
  const count = (status) => statuses.set(status, (statuses.get(status) ?? 0) + 1);
  const pick = () => ports[Math.floor(Math.random() * ports.length)];
  const sockets = new Set();

  const server = http.createServer((request, response) => {
    const { method, url, headers } = request;
    const upstream = http.request({ port: pick(), host: "127.0.0.1", method, path: url, headers, agent: false });
    upstream.on("response", (answer) => {
      count(answer.statusCode);
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });

  server.on("upgrade", (request, client, head) => {
    const upstream = net.connect(pick(), "127.0.0.1");
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    upstream.write(lines.join("\r\n") + "\r\n\r\n");
    upstream.write(head);
    upstream.once("data", (bytes) => count(Number(/^HTTP\/1\.1 (\d+)/.exec(bytes.toString("latin1"))?.[1] ?? 0)));
    client.pipe(upstream).pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
    }
  });

  server.on("connection", (socket) => sockets.add(socket.on("close", () => sockets.delete(socket))));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    statuses,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Hands each connection, byte by byte, to the server of the moment: `target` is its port; without one it hangs up. */
export async function switchable(target) {
  const sockets = new Set();
  const server = net.createServer((client) => {
    client.on("error", () => {});
    if (!self.target) return client.destroy();
    const upstream = net.connect(self.target, "127.0.0.1");
    client.pipe(upstream).pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      sockets.add(one);
      one.on("error", () => other.destroy()).on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const self = {
    target,
    url: `http://127.0.0.1:${server.address().port}`,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return self;
}

/** Why scenarios with nginx are skipped; false when it is installed. */
export const NO_NGINX = spawnSync("nginx", ["-v"]).error ? "nginx is not installed" : false;

/** A real nginx before one upstream port, with kept-alive connections to it and WebSocket upgrades passed on. */
export async function nginx(upstreamPort) {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), "sk-nginx-"));
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${dir}/${name};`).join(" ");
  writeFileSync(
    join(dir, "nginx.conf"),
    `${process.getuid() === 0 ? "user root;" : ""}
    daemon off; pid ${dir}/pid; error_log stderr warn; worker_processes 1;
    events { worker_connections 4096; }
    http {
      access_log off; ${temp}
      map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
      upstream sockeye { server 127.0.0.1:${upstreamPort}; keepalive 32; }
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://sockeye;
          proxy_http_version 1.1;
          proxy_set_header Host $host;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
        }
      }
    }`,
  );
  const child = spawn("nginx", ["-c", join(dir, "nginx.conf"), "-e", "stderr", "-p", dir], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
  const ended = new Promise((resolve) => child.on("close", resolve));
  const url = `http://127.0.0.1:${port}`;
  process.once("exit", () => child.kill("SIGKILL"));
  for (let tries = 0; ; tries += 1) {
    if (await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) }).then((answer) => answer.ok, () => false)) break;
    if (tries > 200 || child.exitCode !== null) throw new Error(`nginx does not answer:\n${said}`);
    await sleep(20);
  }
  return {
    url,
    async stop() {
      child.kill("SIGTERM");
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Hands each connection to the port `target`, and remembers what passes: whether `heard(word)` has passed since `forget()`. */
export async function overheard(target) {
  const connections = new Set();
  const sockets = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(target, "127.0.0.1");
    const passed = { there: [], back: [] };
    connections.add(passed);
    client.on("data", (bytes) => passed.there.push(bytes));
    upstream.on("data", (bytes) => passed.back.push(bytes));
    client.pipe(upstream).pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      sockets.add(one.setNoDelay());
      one.on("error", () => other.destroy()).on("close", () => sockets.delete(one) && other.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    forget() {
      for (const passed of connections) Object.assign(passed, { there: [], back: [] });
    },
    heard: (word) => [...connections].some(({ there, back }) => [there, back].some((bytes) => Buffer.concat(bytes).includes(word))),
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
