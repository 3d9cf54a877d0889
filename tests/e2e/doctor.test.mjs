// `sockeye doctor` before real nginx and HAProxy, with each fault that a client can see, and without; and before bare servers.

import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { binary, freePort, REFERENCE, ROOT } from "../harness/target.mjs";

const PROGRAM = binary("sockeye");
const SKIP = REFERENCE ? "the program is ours" : existsSync(PROGRAM) ? false : `${PROGRAM} is not built`;
const program = (name) => ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map((dir) => join(dir, name)).find(existsSync);
/** Heartbeats short enough to be measured here; a busy machine has time for the answer. */
const PINGS = { pingInterval: 2000, pingTimeout: 20_000 };
const PAGE = "https://page.example";

const stops = [];
process.setMaxListeners(100);
let a;
let b;

before(async () => {
  if (SKIP) return;
  [a, b] = await Promise.all([node(PINGS), node(PINGS)]);
});
after(async () => {
  await Promise.all(stops.map((stop) => stop()));
});

describe("nginx", { skip: SKIP || (program("nginx") ? false : "nginx is not installed"), concurrency: 3 }, () => {
  test("set up right: nothing is found", async () => {
    const { code, ids } = await doctor(await nginx({}), "--event", "say", "--expect", "said");
    assert.deepEqual([code, ids], [0, []]);
  });
  test("requests go round: affinity", async () => {
    const { code, ids, findings } = await doctor(await nginx({ key: "" }), "--seconds", "0");
    assert.deepEqual([code, ids], [1, ["affinity"]]);
    assert.match(findings[0].seen, /^\d+ of 20 sessions met a server that does not know them/);
  });
  test("Upgrade is not passed on: upgrade", async () => {
    const { code, ids } = await doctor(await nginx({ upgrade: "" }), "--seconds", "0");
    assert.deepEqual([code, ids], [1, ["upgrade"]]);
  });
  test("idle connections are cut before the ping: idle, measured", async () => {
    const front = await nginx({ timeout: "proxy_read_timeout 1s;", nodes: [await quiet()] });
    const { code, ids, findings } = await doctor(front, "--seconds", "20");
    assert.deepEqual([code, ids], [1, ["idle", "polling-idle"]]);
    for (const { seen } of findings) assert.match(seen, /ended after \d+\.\d s, \d+\.\d s after it was last used/);
  });
  test("WebSockets go to another server than polls: upgrade-affinity", async () => {
    const { code, ids } = await doctor(await nginx({ websocket: "elsewhere" }), "--seconds", "0");
    assert.deepEqual([code, ids], [1, ["upgrade-affinity"]]);
  });
  test("a wrong path: path, with the right one", async () => {
    const { code, ids, findings } = await doctor(await nginx({ location: "/socket.io/" }), "--path", "/chat/", "--seconds", "0");
    assert.deepEqual([code, ids], [1, ["path"]]);
    assert.match(findings[0].seen, /404 .*Engine\.IO answers at \/socket\.io\//);
  });
});

describe("HAProxy", { skip: SKIP || (program("haproxy") ? false : "HAProxy is not installed"), concurrency: 3 }, () => {
  test("set up right: nothing is found", async () => {
    const { code, ids } = await doctor(await haproxy({}), "--event", "say", "--expect", "said");
    assert.deepEqual([code, ids], [0, []]);
  });
  test("no `mode http`: the cookie is ignored, affinity", async () => {
    const front = await haproxy({ mode: "", balance: "cookie io prefix indirect nocache" });
    const { code, ids } = await doctor(front, "--seconds", "0");
    assert.deepEqual([code, ids], [1, ["affinity"]]);
  });
  test("a cookie that the server does not set: affinity", async () => {
    const { code, ids, findings } = await doctor(await haproxy({ balance: "cookie io prefix indirect nocache" }), "--seconds", "0");
    assert.deepEqual([code, ids], [1, ["affinity"]]);
    assert.match(findings[0].seen, /no cookie is set$/);
  });
  test("a cookie that clients have to send: a hint", async () => {
    const { code, ids } = await doctor(await haproxy({ balance: "cookie SERVERID insert indirect nocache" }), "--seconds", "0");
    assert.deepEqual([code, ids], [0, ["credentials"]]);
  });
  test("the same where pages of other sites are let in with credentials: cookie-cross-site", async () => {
    const cors = { origin: PAGE, credentials: true };
    const nodes = await Promise.all([node({ ...PINGS, cors }), node({ ...PINGS, cors })]);
    const front = await haproxy({ balance: "cookie SERVERID insert indirect nocache", nodes });
    const { code, ids } = await doctor(front, "--seconds", "0", "--origin", PAGE);
    assert.deepEqual([code, ids], [1, ["credentials", "cookie-cross-site"]]);
  });
  test("servers that share no events: one-way", async () => {
    const front = await haproxy({ balance: "cookie SERVERID insert indirect nocache" });
    const { code, ids, findings } = await doctor(front, "--seconds", "0", "--event", "say", "--expect", "said");
    assert.deepEqual([code, ids], [1, ["credentials", "one-way"]]);
    assert.match(findings[1].seen, /12 of 30 pairs heard each other/);
  });
  test("the Upgrade is stripped: upgrade", async () => {
    const front = await haproxy({ more: "http-request set-header Connection keep-alive\n  http-request del-header Upgrade" });
    const { code, ids } = await doctor(front, "--seconds", "0");
    assert.deepEqual([code, ids], [1, ["upgrade"]]);
  });
  test("a short timeout of tunnels: idle, measured", async () => {
    const { code, ids } = await doctor(await haproxy({ tunnel: "1s", nodes: [await quiet(), await quiet()] }), "--seconds", "3");
    assert.deepEqual([code, ids], [1, ["idle"]]);
  });
});

describe("bare servers", { skip: SKIP, concurrency: 3 }, () => {
  test("the official server as it comes: nothing is found, and what could not be measured is said", async () => {
    const { code, ids, notes } = await doctor(url(await node({})), "--seconds", "1");
    assert.deepEqual([code, ids], [0, []]);
    assert.ok(notes.some((note) => /25 s, the time between two pings, is possible was not measured: --seconds 30/.test(note)), notes.join("\n"));
  });
  test("credentials for every origin: cors-credentials", async () => {
    const server = await node({ cors: { origin: "*", credentials: true } });
    assert.deepEqual((await doctor(url(server), "--seconds", "0")).ids, ["cors-credentials"]);
  });
  test("the page's origin is not allowed: cors-origin", async () => {
    const server = await node({ cors: { origin: "https://other.example" } });
    assert.deepEqual((await doctor(url(server), "--seconds", "0", "--origin", PAGE)).ids, ["cors-origin"]);
    assert.deepEqual((await doctor(url(server), "--seconds", "0")).ids, []);
  });
  test("a path at which the server is silent: path", async () => {
    const { ids, findings } = await doctor(url(await node({})), "--seconds", "0", "--path", "/chat");
    assert.deepEqual(ids, ["path"]);
    assert.match(findings[0].seen, /answers nothing; Engine\.IO answers at \/socket\.io\//);
  });
  test("a server of Socket.IO 2: version", async () => {
    const old = await answering((request, response) => response.end('96:0{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}2:40'));
    assert.deepEqual((await doctor(url(old), "--seconds", "0")).ids, ["version"]);
  });
  test("HTTP that does not send people to HTTPS: https-redirect", { skip: program("openssl") ? false : "openssl is not installed" }, async () => {
    const dir = temporary();
    const [key, cert] = [join(dir, "key"), join(dir, "cert")];
    const made = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert]);
    assert.equal(made.status, 0, String(made.stderr));
    const server = await node({}, { TLS_KEY: readFileSync(key, "utf8"), TLS_CERT: readFileSync(cert, "utf8") });
    const silent = await answering((request, response) => response.end("hello"));
    const right = await answering((request, response) => response.writeHead(301, { location: `https://localhost:${server}${request.url}` }).end());
    const ask = (port) => doctor(`https://localhost:${server}`, "--insecure", "--seconds", "0", "--http-port", String(port));
    assert.deepEqual((await ask(silent)).ids, ["https-redirect"]);
    assert.deepEqual((await ask(right)).ids, []);
    // Nobody listens there: that is said.
    const { ids, notes } = await ask(await freePort());
    assert.deepEqual(ids, []);
    assert.ok(notes.some((note) => /sends people to HTTPS could not be looked at: cannot connect/.test(note)), notes.join("\n"));
    // A certificate that nobody signed is not believed.
    const untrusted = await doctor(`https://localhost:${server}`, "--seconds", "0", "--http-port", String(right));
    assert.deepEqual([untrusted.code, untrusted.ids], [1, ["certificate"]]);
    assert.match(untrusted.findings[0].seen, /not trusted: (nobody who is trusted signed it|no authority gave it to a server)/);
    assert.match(untrusted.findings[0].fix, /authority.*chain.*--insecure/);
    // Nor is one of ours for tests.
    assert.equal((await run("cert", "self-signed", "--host", "localhost", "--cert", join(dir, "own.pem"), "--key", join(dir, "own-key.pem"))).code, 0);
    const own = await node({}, { TLS_KEY: readFileSync(join(dir, "own-key.pem"), "utf8"), TLS_CERT: readFileSync(join(dir, "own.pem"), "utf8") });
    const ours = await doctor(`https://localhost:${own}`, "--seconds", "0", "--http-port", String(await freePort()));
    assert.deepEqual([ours.code, ours.ids], [1, ["certificate"]]);
    assert.match(ours.findings[0].seen, /not trusted: nobody who is trusted signed it/);
  });
  test("nobody there, or no address: 2, in one line", async () => {
    for (const address of [url(await freePort()), "ftp://a", "http://"]) {
      const { code, said } = await doctor(address, "--seconds", "0");
      assert.equal(code, 2);
      assert.match(said, /^sockeye: [^\n]+\n$/);
    }
  });
  test("our own workers: nothing is found", async () => {
    const port = await freePort();
    const child = spawn(PROGRAM, ["up", "--port", String(port), "-i", "2"], { stdio: "ignore" });
    stops.push(ending(child));
    await ready(url(port), child);
    const { code, ids } = await doctor(url(port), "--seconds", "1", "--event", "msg", "--expect", "msg");
    assert.deepEqual([code, ids], [0, []]);
  });
});

describe("files", { skip: SKIP }, () => {
  test("a recipe as it is printed: faults with their lines, for people and for programs", async () => {
    const file = join(temporary(), "haproxy.cfg");
    writeFileSync(file, "listen chat\n  bind *:80\n  cookie io prefix indirect nocache\n  server a a:1 check cookie a\n  server b b:1 check cookie b\n");
    const { code, ids, findings } = await doctor("--config", file);
    assert.equal(code, 1);
    for (const id of ["haproxy-mode", "haproxy-timeouts", "haproxy-prefix", "haproxy-redispatch", "haproxy-checks"]) assert.ok(ids.includes(id), ids.join());
    assert.equal(findings.find(({ id }) => id === "haproxy-prefix").line, 3);
    const people = await run("doctor", "--config", file);
    assert.match(people.out, /^FAULT haproxy-mode: line 1: listen chat has no `mode`: it is tcp\n {2}why {3}.+\n {2}fix {3}mode http\n/m);
  });
  test("a file that is missing, or of no known kind: 2", async () => {
    assert.equal((await doctor("--config", "/nonexistent")).code, 2);
    assert.equal((await doctor("--config", join(ROOT, "LICENSE-MIT"))).code, 2);
  });
});

/** The part of nginx' file that the rules read, right. */
const NGINX_RIGHT = `map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
upstream nodes {
hash $remote_addr consistent;
server 127.0.0.1:3001; server 127.0.0.1:3002;
}
server {
listen 127.0.0.1:3000;
set_real_ip_from 10.0.0.0/8;
real_ip_header X-Forwarded-For;
location / {
proxy_pass http://nodes;
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
proxy_read_timeout 60s;
}
}
`;
const HAPROXY_RIGHT = `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
listen chat
  bind 127.0.0.1:3000
  option redispatch
  option httpchk HEAD /health
  balance source
  default-server check inter 500ms fall 2
  server app01 127.0.0.1:3001
  server app02 127.0.0.1:3002
`;

describe("files that the real programs take, with each fault of the recipes", { skip: SKIP }, () => {
  const ROWS = {
    nginx: [
      ["set up right", [], []],
      ["no stickiness", [["hash $remote_addr consistent;\n", ""]], ["nginx-no-affinity"]],
      ["a hash of the address, and nobody says who is behind the proxy before it", [["set_real_ip_from 10.0.0.0/8;\n", ""]], ["nginx-hash-address"]],
      ["ip_hash", [["hash $remote_addr consistent;", "ip_hash;"]], ["nginx-ip-hash"]],
      ["Connection \"upgrade\" on every request", [["Connection $connection_upgrade", 'Connection "upgrade"']], ["nginx-connection"]],
      ["no Upgrade", [["proxy_set_header Upgrade $http_upgrade;\n", ""]], ["nginx-upgrade"]],
      ["a read timeout below the heartbeat", [["proxy_read_timeout 60s", "proxy_read_timeout 15s"]], ["nginx-timeout"]],
    ],
    haproxy: [
      ["set up right", [], []],
      ["no mode", [["  mode http\n", ""], ["  option httpchk HEAD /health\n", ""]], ["haproxy-mode"]],
      ["no timeouts", [[/  timeout (client|server|tunnel) .*\n/g, ""]], ["haproxy-timeouts"]],
      ["no stickiness", [["balance source", "balance roundrobin"]], ["haproxy-no-affinity"]],
      ["a cookie that clients have to send", [["  balance source\n", "  cookie SERVERID insert indirect nocache\n"], [/server (app\d+) (.*)/g, "server $1 $2 cookie $1"]], ["haproxy-credentials"]],
      ["prefix with indirect, to a cookie that servers set only if they are told", [["  balance source\n", "  cookie io prefix indirect nocache\n"], [/server (app\d+) (.*)/g, "server $1 $2 cookie $1"]], ["haproxy-cookie-option", "haproxy-credentials", "haproxy-prefix"]],
      ["no redispatch", [["  option redispatch\n", ""]], ["haproxy-redispatch"]],
      ["fall 3 inter 2s", [["check inter 500ms fall 2", "check"]], ["haproxy-checks"]],
    ],
  };
  for (const [name, rows] of Object.entries(ROWS)) {
    for (const [title, changes, expected] of rows) {
      test(`${name}, ${title}: ${expected.join(", ") || "nothing is found"}`, { skip: program(name) ? false : `${name} is not installed` }, async () => {
        const dir = temporary();
        const right = name === "nginx" ? NGINX_RIGHT : HAPROXY_RIGHT;
        const text = changes.reduce((text, [from, to]) => {
          const changed = text.replace(from, to);
          assert.notEqual(changed, text, String(from));
          return changed;
        }, right);
        const file = join(dir, name === "nginx" ? "nginx.conf" : "haproxy.cfg");
        const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((one) => `${one}_temp_path ${dir}/${one};`).join(" ");
        writeFileSync(file, name === "nginx" ? `pid ${dir}/pid; events {}\nhttp { access_log off; ${temp}\n${text}}\n` : text);
        const taken = name === "nginx" ? ["-t", "-c", file, "-e", "stderr", "-p", dir] : ["-c", "-f", file];
        const { status, stderr } = spawnSync(program(name), taken, { encoding: "utf8" });
        assert.equal(status, 0, stderr);
        const { ids } = await doctor("--config", file);
        assert.deepEqual([...new Set(ids)].sort(), [...expected].sort());
      });
    }
  }
});

/** What the doctor says of it, in JSON; three seconds are longer than the time between two pings. */
async function doctor(...args) {
  const given = args[0] === "--config" || args.includes("--seconds") ? [] : ["--seconds", "3"];
  const { code, out, said } = await run("doctor", "--json", ...args, ...given);
  const { findings = [], notes = [] } = out ? JSON.parse(out) : {};
  return { code, findings, notes, said, ids: findings.map(({ id }) => id) };
}

function run(...args) {
  return new Promise((resolve) => {
    execFile(PROGRAM, args, { timeout: 60_000 }, (error, out, said) => resolve({ code: error ? error.code : 0, out, said }));
  });
}

/** A server of its own, on which nothing that others do breaks the silence. */
function quiet() {
  return node({ pingInterval: 4000, pingTimeout: 20_000 });
}

function url(port) {
  return `http://127.0.0.1:${port}`;
}

/** The port of a server of the official software. */
function node(options, variables = {}) {
  const child = spawn("node", [join(ROOT, "tests/client-node.mjs"), JSON.stringify({ serveClient: false, ...options })], { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...variables } });
  stops.push(ending(child));
  return new Promise((resolve, reject) => {
    child.stdout.once("data", (line) => resolve(JSON.parse(line).port));
    child.once("exit", (code) => reject(new Error(`client-node.mjs ended with ${code}`)));
  });
}

async function answering(answer) {
  const server = http.createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  stops.push(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
  return server.address().port;
}

async function nginx({ key = "hash $remote_addr consistent;", upgrade, timeout = "proxy_read_timeout 60s;", websocket = "nodes", location = "/", nodes = [a, b] }) {
  const passes = upgrade ?? "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;";
  const temp = (dir) => ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${dir}/${name};`).join(" ");
  return front("nginx", (dir) => ["-c", join(dir, "file"), "-e", "stderr", "-p", dir], (port, dir) => `${process.getuid() === 0 ? "user root;" : ""}
    daemon off; pid ${dir}/pid; error_log stderr crit; worker_processes 1; events { worker_connections 512; }
    http { access_log off; ${temp(dir)}
      map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
      map $http_upgrade $to { default ${websocket}; "" nodes; }
      upstream nodes { ${key} ${nodes.slice(0, websocket === "nodes" ? 2 : 1).map((port) => `server 127.0.0.1:${port};`).join(" ")} }
      upstream elsewhere { server 127.0.0.1:${b}; }
      server { listen 127.0.0.1:${port}; location ${location} { proxy_pass http://$to; ${passes} ${timeout} } }
    }`);
}

async function haproxy({ mode = "mode http", balance = "balance source", tunnel = "1h", more = "", nodes = [a, b] }) {
  return front("haproxy", (dir) => ["-db", "-f", join(dir, "file")], (port) => `defaults
  ${mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel ${tunnel}
listen chat
  bind 127.0.0.1:${port}
  ${balance}
  ${more}
  server app01 127.0.0.1:${nodes[0]} ${balance.startsWith("cookie") ? "cookie app01" : ""}
  server app02 127.0.0.1:${nodes[1]} ${balance.startsWith("cookie") ? "cookie app02" : ""}
`);
}

async function front(name, args, text) {
  const port = await freePort();
  const dir = temporary();
  writeFileSync(join(dir, "file"), text(port, dir));
  const child = spawn(program(name), args(dir), { stdio: ["ignore", "ignore", "pipe"] });
  stops.push(ending(child));
  await ready(url(port), child);
  return url(port);
}

async function ready(address, child) {
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-4000)));
  for (let tries = 0; tries < 400 && child.exitCode === null; tries += 1) {
    const answer = fetch(`${address}/socket.io/?EIO=4&transport=polling`, { signal: AbortSignal.timeout(2_000) });
    if (await answer.then(({ ok }) => ok, () => false)) return;
    await sleep(25);
  }
  throw new Error(`${address} does not answer: ${said}`);
}

function ending(child) {
  const ended = new Promise((resolve) => child.once("close", resolve));
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  return async () => {
    child.kill("SIGTERM");
    await ended;
    process.off("exit", kill);
  };
}

function temporary() {
  const dir = mkdtempSync(join(tmpdir(), "sk-doctor-"));
  stops.push(async () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
