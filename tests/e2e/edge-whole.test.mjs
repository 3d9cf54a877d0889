// What a file of ours serves in the place of a web server and a balancer together: files beside sockets (S1-06 to S1-12), HTTP/2 with a real browser, and
// other origins (S2-08), the last by the real balancers as well.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { app, balance } from "../harness/balance.mjs";
import { launch, NO_CHROMIUM } from "../harness/browser.mjs";
import { closeAll, connectMany, untroubled } from "../harness/clients.mjs";
import { ask } from "../harness/echo.mjs";
import { run, settingsFile, upFile } from "../harness/files.mjs";
import { front, unavailable } from "../harness/fronts.mjs";
import { freePort, REFERENCE, ROOT } from "../harness/target.mjs";

const skip = REFERENCE && "the edge is ours";
const CLIENT = join(ROOT, "tests/node_modules/socket.io-client/dist/socket.io.js");

/** The document root of the article, with the stock client in it. */
function publicFiles(dir, page) {
  mkdirSync(join(dir, "public/assets/js"), { recursive: true });
  writeFileSync(join(dir, "public/index.html"), page);
  writeFileSync(join(dir, "public/health.txt"), "");
  copyFileSync(CLIENT, join(dir, "public/assets/js/client.js"));
}

describe("a page at one port, sockets at another, two instances", { skip }, () => {
  let apps, file, web, sockets, target;
  before(async () => {
    apps = await Promise.all(["i1", "i2"].map((name) => app(name)));
    [web, sockets] = [await freePort(), await freePort()];
    file = settingsFile("");
    publicFiles(file.dir, "<!doctype html><title>chat</title>");
    file.write(`
[[listen]]
name = "web"
address = "127.0.0.1:${web}"
[[listen]]
name = "sockets"
address = "127.0.0.1:${sockets}"
[[listen]]
name = "local"
address = "unix:${join(file.dir, "edge.sock")}"
[upstream.instances]
servers = [${apps.map((one) => one.listed).join(", ")}]
[[site]]
listen = ["web"]
files = "public"
upstream = "instances"
[[site]]
upstream = "instances"
`);
    // Polls of clients that left a moment ago hang: nobody waits for them at the end.
    target = await upFile(file, web, { env: { SOCKEYE_LIMITS__DRAIN_TIMEOUT: "100ms" } });
  });
  after(async () => {
    await target?.stop();
    await Promise.all((apps ?? []).map((one) => one.kill()));
    file?.done();
  });

  test("S1-07, S1-08: files and the health check of the ELB are served, and nothing outside", async () => {
    const page = await ask(web, "/");
    assert.deepEqual([page.status, page.headers["content-type"].split(";")[0], page.text], [200, "text/html", "<!doctype html><title>chat</title>"]);
    const script = await ask(web, "/assets/js/client.js");
    assert.deepEqual([script.status, script.text], [200, readFileSync(CLIENT, "utf8")]);
    assert.match(script.headers["content-type"], /javascript/);
    for (const method of ["GET", "HEAD"]) {
      const health = await ask(web, "/health.txt", {}, { method });
      assert.deepEqual([health.status, health.text], [200, ""]);
    }
    for (const path of ["/../sockeye.toml", "/%2e%2e/sockeye.toml", "/assets/../../sockeye.toml"]) {
      assert.ok(!(await ask(web, path)).text.includes("upstream"), path);
    }
  });

  for (const name of ["web", "sockets"]) {
    test(`S1-10, S1-12: clients of the listener ${name} come to both instances, by every transport`, async () => {
      const all = [];
      const homes = new Set();
      try {
        for (const transport of ["polling", "websocket", "default"]) {
          const some = await connectMany(`http://127.0.0.1:${name === "web" ? web : sockets}`, transport, 6);
          all.push(...some);
        }
        assert.deepEqual(await Promise.all(all.map((socket, n) => socket.timeout(20_000).emitWithAck("echo", n))), [...all.keys()]);
        for (let n = 0; n < 6; n += 1) homes.add((await ask(sockets, "/who")).text);
        assert.deepEqual([...homes].sort(), ["i1", "i2"]);
        untroubled(all);
      } finally {
        closeAll(all);
      }
    });
  }

  test("a listener that is a Unix socket answers like the others", async () => {
    const answer = await new Promise((resolve, reject) => {
      http.get({ socketPath: join(file.dir, "edge.sock"), path: "/socket.io/?EIO=4&transport=polling" }, resolve).on("error", reject);
    });
    answer.resume();
    assert.equal(answer.statusCode, 200);
  });
});

describe("Chromium over HTTP/2", { skip: skip || NO_CHROMIUM }, () => {
  test("polls by it, goes on by a WebSocket, and the access log says so", async () => {
    const node = await app("only");
    const file = settingsFile("");
    const port = await freePort();
    publicFiles(file.dir, `<!doctype html><script src="/assets/js/client.js"></script><script>window.socket = io()</script>`);
    let target, browser;
    try {
      const made = await run(["cert", "self-signed", "--host", "127.0.0.1"], { cwd: file.dir });
      assert.equal(made.code, 0, made.err);
      file.write(`
access_log = { path = "access.log", format = "json" }
[listen]
address = "127.0.0.1:${port}"
certificate = "cert.pem"
key = "key.pem"
http2 = true
websocket_over_http2 = true
[upstream.only]
servers = ["${node.at}"]
[[site]]
path = "/socket.io"
upstream = "only"
[[site]]
files = "public"
`);
      target = await upFile(file, port);
      browser = await launch();
      const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
      await page.goto(`https://127.0.0.1:${port}/`);
      await page.waitForFunction(() => window.socket?.connected && window.socket.io.engine.transport.name === "websocket");
      assert.equal(await page.evaluate(() => window.socket.emitWithAck("echo", "over it")), "over it");
      const hops = await page.evaluate(() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("transport=polling")).map(({ nextHopProtocol }) => nextHopProtocol));
      assert.ok(hops.length > 0 && hops.every((hop) => hop === "h2"), `${hops}`);
      await page.close();
      const lines = () => readFileSync(join(file.dir, "access.log"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
      await target.until("the tunnel is in the log", async () => lines().some(({ transport }) => transport === "websocket"));
      const [polled, tunnel] = ["polling", "websocket"].map((kind) => lines().find(({ transport }) => transport === kind));
      assert.deepEqual([polled.version, polled.status, polled.upstream, polled.listener], ["HTTP/2.0", 200, node.at, "main"]);
      // The browser chooses whether its WebSocket goes over HTTP/2, where that is offered, or on a connection of its own.
      assert.ok([["HTTP/2.0", 200], ["HTTP/1.1", 101]].some(([version, status]) => tunnel.version === version && tunnel.status === status), JSON.stringify(tunnel));
      assert.equal(tunnel.upstream, node.at);
    } finally {
      await browser?.close();
      await target?.stop();
      await node.kill();
      file.done();
    }
  });
});

describe("S2-08: pages of another origin, with credentials", { skip }, () => {
  const origin = "https://front-domain.com";
  let node;
  before(async () => (node = await app("cors", { options: { cors: { origin, methods: ["GET", "POST"], credentials: true } } })));
  after(() => node?.kill());

  for (const name of ["the edge", "nginx", "HAProxy", "Apache"]) {
    test(`by ${name}: the preflight and the answers say what the server says`, { skip: name !== "the edge" && unavailable(name) }, async () => {
      const between = name === "the edge" ? await balance([node]) : await front(name, [node.port, node.port]);
      try {
        const asked = `${between.url}/socket.io/?EIO=4&transport=polling`;
        const preflight = await fetch(asked, { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "x-token" } });
        const answer = await fetch(asked, { headers: { origin } });
        assert.deepEqual([preflight.status, answer.status], [204, 200]);
        for (const { headers } of [preflight, answer]) {
          assert.deepEqual([headers.get("access-control-allow-origin"), headers.get("access-control-allow-credentials")], [origin, "true"]);
        }
        assert.match(preflight.headers.get("access-control-allow-methods"), /GET,POST/);
        await answer.text();
      } finally {
        await (between.stop ?? between.kill)();
      }
    });
  }
});
