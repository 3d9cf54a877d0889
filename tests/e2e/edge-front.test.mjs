// The edge among other programs: TLS before nginx on an instance, behind and before HAProxy and nginx that speak the PROXY protocol, and before an unmodified Sails app (s4 has the edge alone).

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { app } from "../harness/balance.mjs";
import { ask, closeAll, connectMany, untroubled, within } from "../harness/clients.mjs";
import { knock, settingsFile, upFile } from "../harness/files.mjs";
import { freePort, REFERENCE, ROOT } from "../harness/target.mjs";

const skip = REFERENCE && "the reference has no edge";
const TRUSTING = { rejectUnauthorized: false };
const require = createRequire(import.meta.url);

describe("Secure TCP before an instance that ends nothing", { skip: skip || missing("nginx") }, () => {
  let file, port, node, nginx, target;
  before(async () => {
    // As in the article: the balancer ends TLS and says the client's address first, nginx on the instance carries on to Node.
    file = certified();
    node = await app("instance");
    const inside = await freePort();
    nginx = await program("/usr/sbin/nginx", ["-c", join(file.dir, "nginx.conf"), "-e", "stderr", "-p", file.dir], inside, () =>
      file.also("nginx.conf", `${process.getuid() === 0 ? "user root;" : ""}
daemon off; pid ${file.dir}/nginx.pid; events {}
http {
  access_log off;
  client_body_temp_path ${file.dir}/body; proxy_temp_path ${file.dir}/proxy; fastcgi_temp_path ${file.dir}/f; uwsgi_temp_path ${file.dir}/u; scgi_temp_path ${file.dir}/s;
  server {
    listen 127.0.0.1:${inside} proxy_protocol;
    location / {
      proxy_pass http://127.0.0.1:${node.port};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For $proxy_protocol_addr;
    }
  }
}`));
    port = await freePort();
    file.write(`
[listen]
address = "127.0.0.1:${port}"
mode = "tcp"
certificate = "cert.pem"
key = "key.pem"
upstream = "instances"
send_proxy = "v2"
[upstream.instances]
servers = ["127.0.0.1:${inside}"]
health = "off"
`);
    target = await upFile(file, port);
  });
  after(async () => {
    await target?.stop();
    await nginx?.stop();
    await node?.kill();
    file?.done();
  });

  test("all transports go through, and Node hears whose address it is", async () => {
    const url = `https://127.0.0.1:${port}`;
    const sockets = [];
    try {
      for (const transport of ["polling", "websocket", "default"]) sockets.push(...(await connectMany(url, transport, 5, TRUSTING)));
      assert.deepEqual(await Promise.all(sockets.map((socket, n) => ask(socket, "echo", n))), [...sockets.keys()]);
      untroubled(sockets);
      const seen = await get(port, "/headers", {}, https);
      assert.equal(JSON.parse(seen.text)["x-forwarded-for"], "127.0.0.1");
    } finally {
      closeAll(sockets);
    }
  });
});

describe("HAProxy in TCP mode before the edge", { skip: skip || missing("haproxy") }, () => {
  let file, node, target, haproxy, fronts, port;
  before(async () => {
    file = certified();
    node = await app("behind");
    port = await freePort();
    fronts = { "send-proxy": await freePort(), "send-proxy-v2": await freePort() };
    file.write(`
[listen]
address = "127.0.0.1:${port}"
proxy_protocol_from = ["127.0.0.0/8"]
[upstream.node]
servers = ["127.0.0.1:${node.port}"]
`);
    target = await upFile(file, port);
    const sections = Object.entries(fronts).map(([word, at]) => `listen ${word}\n  bind 127.0.0.1:${at}\n  server edge 127.0.0.1:${port} source 127.0.0.2 ${word}\n`);
    file.also("haproxy.cfg", `defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n${sections.join("")}`);
    haproxy = await program("/usr/sbin/haproxy", ["-db", "-f", join(file.dir, "haproxy.cfg")], fronts["send-proxy"]);
  });
  after(async () => {
    await haproxy?.stop();
    await target?.stop();
    await node?.kill();
    file?.done();
  });

  for (const word of ["send-proxy", "send-proxy-v2"]) {
    test(`${word}: the client's own address is told on, and not the proxy's`, async () => {
      const sockets = await connectMany(`http://127.0.0.1:${fronts[word]}`, "default", 5);
      try {
        assert.deepEqual(await Promise.all(sockets.map((socket, n) => ask(socket, "echo", n))), [...sockets.keys()]);
        const seen = JSON.parse((await get(fronts[word], "/headers", { "x-forwarded-for": "6.6.6.6" })).text);
        assert.equal(seen["x-forwarded-for"], "127.0.0.1");
        assert.equal(seen["x-forwarded-port"], String(fronts[word]));
      } finally {
        closeAll(sockets);
      }
    });
  }

  test("whoever comes without the header gets nothing", async () => {
    await assert.rejects(get(port, "/"), /hang up|ECONNRESET/);
  });
});

const STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so";

describe("nginx in TCP mode before the edge", { skip: skip || missing("nginx") || (existsSync(STREAM) ? false : "nginx has no stream module (libnginx-mod-stream)") }, () => {
  let file, node, target, nginx, port, front;
  before(async () => {
    file = certified();
    node = await app("behind");
    [port, front] = [await freePort(), await freePort()];
    file.write(`
[listen]
address = "127.0.0.1:${port}"
proxy_protocol_from = ["127.0.0.2"]
[upstream.node]
servers = ["127.0.0.1:${node.port}"]
`);
    target = await upFile(file, port);
    file.also("nginx.conf", `load_module ${STREAM};
daemon off; pid ${file.dir}/nginx.pid; events {}
stream { server { listen 127.0.0.1:${front}; proxy_pass 127.0.0.1:${port}; proxy_bind 127.0.0.2; proxy_protocol on; } }
`);
    nginx = await program("/usr/sbin/nginx", ["-c", join(file.dir, "nginx.conf"), "-e", "stderr", "-p", file.dir], front);
  });
  after(async () => {
    await nginx?.stop();
    await target?.stop();
    await node?.kill();
    file?.done();
  });

  test("its header of version 1 tells the client's own address, by all transports", async () => {
    const sockets = [];
    try {
      for (const transport of ["polling", "websocket", "default"]) sockets.push(...(await connectMany(`http://127.0.0.1:${front}`, transport, 5)));
      assert.deepEqual(await Promise.all(sockets.map((socket, n) => ask(socket, "echo", n))), [...sockets.keys()]);
      untroubled(sockets);
      const seen = JSON.parse((await get(front, "/headers", { "x-forwarded-for": "6.6.6.6" }, http, { localAddress: "127.0.0.7" })).text);
      assert.deepEqual([seen["x-forwarded-for"], seen["x-forwarded-port"]], ["127.0.0.7", String(front)]);
    } finally {
      closeAll(sockets);
    }
  });
});

describe("the edge before nginx and HAProxy that require a PROXY header", { skip: skip || missing("nginx") || missing("haproxy") }, () => {
  const WAYS = ["nginx", "haproxy"].flatMap((name) => ["tcp", "http"].flatMap((mode) => ["v1", "v2"].map((version) => ({ name, mode, version }))));
  let file, node, target, nginx, haproxy, inside;
  before(async () => {
    file = certified();
    node = await app("behind");
    inside = { nginx: await freePort(), haproxy: await freePort() };
    file.also("nginx.conf", `${process.getuid() === 0 ? "user root;" : ""}
daemon off; pid ${file.dir}/nginx.pid; events {}
http {
  access_log off;
  client_body_temp_path ${file.dir}/body; proxy_temp_path ${file.dir}/proxy; fastcgi_temp_path ${file.dir}/f; uwsgi_temp_path ${file.dir}/u; scgi_temp_path ${file.dir}/s;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  server {
    listen 127.0.0.1:${inside.nginx} proxy_protocol;
    location / {
      proxy_pass http://127.0.0.1:${node.port};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Told $proxy_protocol_addr;
    }
  }
}`);
    file.also("haproxy.cfg", `defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen told
  bind 127.0.0.1:${inside.haproxy} accept-proxy
  http-request set-header X-Told %[src]
  server node 127.0.0.1:${node.port}
`);
    nginx = await program("/usr/sbin/nginx", ["-c", join(file.dir, "nginx.conf"), "-e", "stderr", "-p", file.dir], inside.nginx);
    haproxy = await program("/usr/sbin/haproxy", ["-db", "-f", join(file.dir, "haproxy.cfg")], inside.haproxy);
    for (const way of WAYS) way.port = await freePort();
    const listener = ({ name, mode, version, port }) =>
      `[[listen]]\nname = "${name}-${mode}-${version}"\naddress = "127.0.0.1:${port}"\nupstream = "${name}-${mode}-${version}"\n${mode === "tcp" ? `mode = "tcp"\nsend_proxy = "${version}"\n` : ""}`;
    const upstream = ({ name, mode, version }) =>
      `[upstream.${name}-${mode}-${version}]\nservers = ["127.0.0.1:${inside[name]}"]\nhealth = "off"\n${mode === "http" ? `send_proxy = "${version}"\n` : ""}`;
    // Polls of clients that left a moment ago hang: nobody waits for them.
    file.write(`[limits]\ndrain_timeout = "100ms"\n${WAYS.map(listener).join("")}${WAYS.map(upstream).join("")}`);
    target = await upFile(file, WAYS[0].port);
  });
  after(async () => {
    await target?.stop();
    await haproxy?.stop();
    await nginx?.stop();
    await node?.kill();
    file?.done();
  });

  test("they say nothing to whoever comes without one", async () => {
    for (const port of Object.values(inside)) await assert.rejects(get(port, "/headers"), /hang up|ECONNRESET/);
  });

  for (const way of WAYS) {
    test(`${way.name}, ${way.version} with ${way.mode}: it is told the client's address, by all transports`, async () => {
      const sockets = [];
      try {
        for (const transport of ["polling", "websocket", "default"]) sockets.push(...(await connectMany(`http://127.0.0.1:${way.port}`, transport, 3)));
        assert.deepEqual(await Promise.all(sockets.map((socket, n) => ask(socket, "echo", n))), [...sockets.keys()]);
        untroubled(sockets);
        for (const localAddress of ["127.0.0.5", "127.0.0.6"]) {
          const seen = JSON.parse((await get(way.port, "/headers", {}, http, { localAddress })).text);
          assert.equal(seen["x-told"], localAddress);
        }
      } finally {
        closeAll(sockets);
      }
    });
  }
});

describe("a Sails app with sails.io.js", { skip: skip || (existsSync(join(ROOT, "tests/node_modules/sails")) ? false : "sails is not installed") }, () => {
  let file, io, port, redirect, sails, target;
  before(async () => {
    const inside = await freePort();
    [port, redirect] = [await freePort(), await freePort()];
    io = require("sails.io.js")(require("socket.io-client-v2"));
    io.sails.autoConnect = false;
    io.sails.environment = "production";
    file = certified();
    sails = await program(process.execPath, [join(ROOT, "tests/sails-app.cjs"), String(inside)], inside);
    file.write(`
listen = [
  { address = "127.0.0.1:${port}", certificate = "cert.pem", key = "key.pem" },
  { address = "127.0.0.1:${redirect}", redirect = "https", redirect_port = ${port}, server_names = ["localhost"] },
]
[upstream.sails]
servers = ["127.0.0.1:${inside}"]
`);
    target = await upFile(file, port);
  });
  after(async () => {
    await target?.stop();
    await sails?.stop();
    file?.done();
  });

  for (const transports of [undefined, ["polling", "websocket"]]) {
    test(`over TLS, by ${transports?.join(" and ") ?? "its own choice, which is the WebSocket"}`, async () => {
      const socket = io.sails.connect(`https://localhost:${port}`, { ...TRUSTING, ...(transports && { transports }) });
      try {
        await within(new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject)), "connect");
        const answer = await within(new Promise((resolve) => socket.get("/hello", { name: "sails" }, resolve)), "the answer");
        assert.deepEqual(answer, { hello: "sails", secure: true, socket: true });
      } finally {
        socket._raw.disconnect();
      }
    });
  }

  test("a page asked for at the plain port is found by TLS", async () => {
    const sent = await get(redirect, "/hello?name=page", { host: `localhost:${redirect}` });
    assert.deepEqual([sent.statusCode, sent.headers.location], [301, `https://localhost:${port}/hello?name=page`]);
    const found = await get(port, "/hello?name=page", {}, https);
    assert.deepEqual(JSON.parse(found.text), { hello: "page", secure: true, socket: false });
  });
});

/** A directory for a file of settings, with a certificate for `localhost` and its key. */
function certified() {
  const file = settingsFile("");
  const made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  execFileSync("openssl", [...made, "-keyout", join(file.dir, "key.pem"), "-out", join(file.dir, "cert.pem")], { stdio: "ignore" });
  return Object.assign(file, { also: (name, text) => writeFileSync(join(file.dir, name), text) });
}

function missing(name) {
  return existsSync(`/usr/sbin/${name}`) ? false : `${name} is not installed`;
}

/** Starts a program and waits until it listens. */
async function program(path, args, port, prepare) {
  prepare?.();
  const child = spawn(path, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (more) => (said = (said + more).slice(-10_000)));
  const ended = new Promise((resolve) => child.on("close", resolve));
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const deadline = Date.now() + 60_000;
  while (!(await knock(port))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      kill();
      throw new Error(`${path} does not listen:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    async stop() {
      child.kill("SIGTERM");
      const last = setTimeout(kill, 5_000);
      await ended;
      clearTimeout(last);
      process.off("exit", kill);
    },
  };
}

/** One request on a connection of its own, whoever answers. */
function get(port, path, headers = {}, by = http, options = {}) {
  return new Promise((resolve, reject) => {
    const request = by.get({ host: "127.0.0.1", port, path, headers, agent: false, timeout: 20_000, ...TRUSTING, ...options }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (more) => (text += more)).on("end", () => resolve(Object.assign(answer, { text })));
    });
    request.on("error", reject).on("timeout", () => request.destroy(new Error("no answer within 20 s")));
  });
}
