// The recipes of "Using multiple nodes" as they are printed, in the real nginx, HAProxy and Apache, before two nodes of ours; and stand-ins for what cannot be
// run here (ELB, ingress-nginx, Traefik), which do with a request what the documents of those say.

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { backend } from "../harness/backends.mjs";
import { closeAll, collect, connectMany, open, untroubled, within } from "../harness/clients.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { ask } from "../harness/echo.mjs";
import { run, settingsFile, upFile } from "../harness/files.mjs";
import { front, unavailable } from "../harness/fronts.mjs";
import { binary, freePort, REFERENCE, ROOT } from "../harness/target.mjs";

/** By each transport. */
const CLIENTS = 200;
const skip = (REFERENCE && "official nodes know their own sessions only") || (existsSync(binary("conformance")) ? false : "conformance is not built");
const ALL = ["polling", "websocket", "default"];

/** What the printed recipe has and the file in tests/balancers leaves out. */
const upstream = (line) => (text) => text.replace("  upstream nodes {\n", `  upstream nodes {\n    ${line}\n`);
const haproxyCookie = (text) =>
  text.replace("  balance roundrobin\n", "  cookie io prefix indirect nocache\n").replace(/server (app0\d) (.*)/g, "server $1 $2 cookie $1");
const apacheCookie = (text) =>
  `Header add Set-Cookie "SERVERID=sticky.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED\n${text.replaceAll("</Proxy>", "  ProxySet stickysession=SERVERID\n</Proxy>")}`
    .replace(/^(Header.*\n)([^]*?)(LoadModule lbmethod.*\n)/, "$2$3$1");

const ROWS = [
  ["S2-09 to S2-12: nginx, hash $remote_addr consistent", "nginx", upstream("hash $remote_addr consistent;"), ALL],
  ["S2-13: nginx, ip_hash", "nginx", upstream("ip_hash;"), ALL],
  ["S2-24 to S2-26: HAProxy, cookie io prefix indirect nocache", "HAProxy", haproxyCookie, ALL],
  ["S2-20 to S2-23: Apache, two balancers and the cookie SERVERID", "Apache", apacheCookie, ALL],
  ["S2-18, S2-19: a stand-in for ingress-nginx", "ingress-nginx hashing the client's address", undefined, ALL],
  ["S2-27, S2-28: a stand-in for Traefik", "Traefik with its sticky cookie", undefined, ALL],
  ["S1-14: a stand-in for an ELB with a TCP listener", "a classic ELB with a TCP listener", undefined, ALL],
  ["S1-13, S4-08: a stand-in for an ELB with an HTTP listener, which drops Upgrade", "a classic ELB with an HTTP listener", undefined, ["polling", "default"]],
];

describe("two nodes of ours", { skip }, () => {
  let shared;
  let nodes = [];
  before(async () => {
    shared = await backend("directory");
    const url = `mesh:${shared.directory}/mesh`;
    nodes = [await sockeye(url), await sockeye(url)];
  });
  after(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await shared?.stop();
  });

  for (const [title, name, edit, transports] of ROWS) {
    describe(title, { skip: unavailable(name) }, () => {
      let balancer;
      before(async () => (balancer = await front(name, nodes.map((node) => node.port), edit)));
      after(() => balancer?.stop());
      const strips = name.includes("HTTP listener");

      for (const transport of transports) {
        test(`${CLIENTS} clients (${transport}) come, and hear what both nodes say`, async () => {
          // Where Upgrade is dropped a stock client stays on polling, and goes on.
          const way = strips ? "polling" : transport;
          const sockets = await connectMany(balancer.url, way, CLIENTS, strips && transport === "default" ? { transports: ["polling", "websocket"] } : {});
          try {
            const news = collect(sockets, "news");
            for (const node of nodes) await node.do("emit", {}, "news", node.port);
            for (const box of await news.reach(nodes.length)) assert.deepEqual(box.map(([port]) => port).sort(), nodes.map(({ port }) => port).sort());
            if (strips) {
              assert.deepEqual(sockets.flatMap((socket) => socket.troubles).filter((trouble) => !trouble.startsWith("upgradeError")), []);
              assert.ok(sockets.every((socket) => socket.io.engine.transport.name === "polling"));
            } else {
              untroubled(sockets);
            }
          } finally {
            closeAll(sockets);
          }
        });
      }

      if (strips) {
        test("a client that takes WebSockets alone is refused, as it is there", async () => {
          const socket = open(balancer.url, "websocket", { reconnection: false });
          try {
            await within(new Promise((resolve) => socket.once("connect_error", resolve)), "a refusal");
          } finally {
            closeAll([socket]);
          }
        });
      }
    });
  }

  describe("the same files, imported, in our edge", () => {
    for (const [title, name, edit] of ROWS.filter(([, name]) => ["nginx", "HAProxy", "Apache"].includes(name))) {
      test(title, async () => {
        const { file: source } = { nginx: { file: "nginx.conf" }, HAProxy: { file: "haproxy.cfg" }, Apache: { file: "httpd.conf" } }[name];
        const port = await freePort();
        const file = settingsFile("");
        const text = edit(readFileSync(join(ROOT, "tests/balancers", source), "utf8"));
        const words = { PORT: port, DIR: file.dir, A: nodes[0].port, B: nodes[1].port, MODULES: "" };
        writeFileSync(join(file.dir, source), text.replace(/@(\w+)@/g, (_, word) => words[word]));
        let edge;
        try {
          const imported = await run(["import", source], { cwd: file.dir });
          assert.equal(imported.code, 0, imported.err);
          file.write(imported.out.replaceAll(/io\.yourhost\.com|localhost/g, "127.0.0.1"));
          edge = await upFile(file, port);
          await edge.until("a node answers", async () => (await ask(port, "/health")).status === 200);
          for (const transport of ALL) {
            const sockets = await connectMany(edge.url, transport, CLIENTS);
            untroubled(sockets);
            closeAll(sockets);
          }
        } finally {
          await edge?.stop();
          file.done();
        }
      });
    }
  });
});
