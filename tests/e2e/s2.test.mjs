// The chapter "Using multiple nodes" of the Socket.IO documentation, row by row: our edge doing with a file of ours what each recipe does, before
// unmodified apps of Node and programs that say what reached them. The same recipes in the real nginx, HAProxy and Apache stand in s2-fronts.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { app } from "../harness/balance.mjs";
import { closeAll, connect, connectMany, untroubled, upgraded } from "../harness/clients.mjs";
import { ask, echo } from "../harness/echo.mjs";
import { overSocket, run, settingsFile, upFile } from "../harness/files.mjs";
import { freePort, REFERENCE } from "../harness/target.mjs";

const skip = REFERENCE && "the balancer is ours";
const CLIENTS = 20;

describe("our edge before unmodified apps of Node", { skip }, () => {
  let apps, edge, file, port, admin;
  before(async () => {
    apps = await Promise.all(["app01", "app02"].map((name) => app(name)));
    port = await freePort();
    file = settingsFile("");
    admin = join(file.dir, "admin.sock");
    file.write(`admin = "unix:${admin}"\nlisten = "127.0.0.1:${port}"\nupstream = ["${apps[0].at}", "${apps[1].at}"]\n`);
    edge = await upFile(file, port);
  });
  after(async () => {
    await edge?.stop();
    await Promise.all((apps ?? []).map((one) => one.kill()));
    file.done();
  });

  for (const transport of ["polling", "websocket", "default"]) {
    test(`S2-01, S2-05, S2-31: ${CLIENTS} clients (${transport}) in a burst are split evenly by the sid, and none is told 400`, async () => {
      const sockets = await connectMany(edge.url, transport, CLIENTS);
      try {
        assert.deepEqual(await Promise.all(sockets.map((socket, n) => socket.timeout(20_000).emitWithAck("echo", n))), [...sockets.keys()]);
        untroubled(sockets);
        await edge.until("counted evenly", async () => {
          const [group] = JSON.parse((await overSocket(admin, "/status")).text).groups;
          return Math.abs(group.servers[0].sessions - group.servers[1].sessions) <= 2 && group.sessions >= CLIENTS;
        });
      } finally {
        closeAll(sockets);
      }
    });
  }

  test("S2-05: WebSocket first, polling second: the order counts", async () => {
    const socket = await connect(edge.url, "default", { transports: ["websocket", "polling"] });
    try {
      assert.equal(socket.io.engine.transport.name, "websocket");
      await upgraded(socket);
      untroubled([socket]);
    } finally {
      closeAll([socket]);
    }
  });

  test("S2-04: a sid that nobody has gets the official answer", async () => {
    const answer = await ask(port, "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA");
    assert.deepEqual([answer.status, answer.text], [400, '{"code":1,"message":"Session ID unknown"}']);
  });

  test("S2-16: the limit of open files is raised at the start", () => {
    const [, soft, hard] = /^Max open files\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${edge.pid}/limits`, "utf8"));
    assert.equal(soft, hard);
  });
});

describe("our edge before programs that say what reached them", { skip }, () => {
  let servers, file, port, edge, admin;
  before(async () => {
    servers = await Promise.all(["app01", "app02", "app03"].map((name) => echo(name)));
    port = await freePort();
    file = settingsFile("");
    admin = join(file.dir, "admin.sock");
    await told("");
    edge = await upFile(file, port);
  });
  after(async () => {
    await edge?.stop();
    await Promise.all((servers ?? []).map((one) => one.stop()));
    file.done();
  });

  /** The file of the moment: all servers, and what a test adds to their group, and before it. */
  async function told(group, { top = "", more = "", count = 3 } = {}) {
    const list = servers.slice(0, count).map(({ name, at }) => `{ name = "${name}", address = "${at}" }`);
    file.write(`admin = "unix:${admin}"\nlisten = "127.0.0.1:${port}"\n${top}\n[upstream.nodes]\nservers = [${list.join(", ")}]\n${group}\n${more}`);
    if (edge) assert.deepEqual(await run(["apply", file.path]), { code: 0, out: `applied ${file.path}\n`, err: "" });
  }

  const homes = async (count, headers) => Promise.all(Array.from({ length: count }, async (_, n) => (await ask(port, "/", headers(n))).said.name));

  test("S2-06, S2-14, S2-28: a cookie is inserted with every attribute, once, and names the server", async () => {
    await told('sticky = "cookie"\ncookie = { name = "srv_id", expires = "1h", domain = ".example.com", path = "/", same_site = "none", secure = true, partitioned = true }');
    const first = await ask(port);
    const { cookie } = first;
    assert.ok(cookie.startsWith(`srv_id=${first.said.name};`), cookie);
    for (const part of [/; ?Domain=\.?example\.com/i, /; ?Path=\//i, /; ?Max-Age=3600/i, /; ?Expires=\w+, /i, /; ?HttpOnly/i, /; ?Secure/i, /; ?SameSite=None/i, /; ?Partitioned/i]) assert.match(cookie, part);
    const again = await homes(12, () => ({ cookie: `srv_id=${first.said.name}` }));
    assert.deepEqual(new Set(again), new Set([first.said.name]));
    assert.equal((await ask(port, "/", { cookie: `srv_id=${first.said.name}` })).cookie, undefined);
    await told('sticky = "cookie"\ncookie = { name = "server_id", http_only = false }');
    assert.match((await ask(port)).cookie, /^server_id=app0\d; Path=\/$/);
  });

  test("S2-26: the server's cookie gets its name before its value, and the server sees its own", async () => {
    await told('sticky = "cookie"\ncookie = { name = "io", mode = "prefix" }');
    const first = await ask(port, "/?cookie=abc");
    assert.ok(first.cookie.startsWith(`io=${first.said.name}~abc;`), first.cookie);
    const again = await ask(port, "/", { cookie: `io=${first.said.name}~abc` });
    assert.deepEqual([again.said.name, again.said.headers.cookie], [first.said.name, "io=abc"]);
    await told('sticky = "cookie"\ncookie = { name = "io", mode = "prefix", path = "/io", expires = "1h", same_site = "none", secure = true, partitioned = true }');
    const full = await ask(port, "/?cookie=abc");
    assert.match(full.cookie, new RegExp(`^io=${full.said.name}~abc;.*; Path=/io; Expires=[^;]+; Max-Age=3600; Secure; SameSite=None; Partitioned$`));
  });

  test("S2-06: the server's cookie is rewritten to the server's name", async () => {
    await told('sticky = "cookie"\ncookie = { name = "io", mode = "rewrite" }');
    const first = await ask(port, "/?cookie=abc");
    assert.ok(first.cookie.startsWith(`io=${first.said.name};`), first.cookie);
  });

  test("S2-20: a cookie that Apache set is understood, and none is set while the route stays", async () => {
    await told('sticky = "cookie"');
    for (const name of ["app01", "app02", "app03"]) {
      const answer = await ask(port, "/", { cookie: `SERVERID=sticky.${name}` });
      assert.deepEqual([answer.said.name, answer.cookie], [name, undefined]);
    }
    assert.match((await ask(port, "/", { cookie: "SERVERID=sticky.gone" })).cookie, /^SERVERID=app0\d;/);
  });

  test("S2-07, S2-13: by address, as nginx hashes it, a /24 has one server, and others have others", async () => {
    await told('sticky = "ip_hash"\nhash_bound = 0', { top: 'trust = ["127.0.0.0/8"]' });
    const one = await homes(20, (n) => ({ "x-forwarded-for": `203.0.113.${n + 1}` }));
    assert.equal(new Set(one).size, 1);
    const many = await homes(60, (n) => ({ "x-forwarded-for": `203.0.${n}.1` }));
    assert.equal(new Set(many).size, 3);
  });

  test("S2-12: by address, consistently: when a server goes only its clients move", async () => {
    const address = (n) => ({ "x-forwarded-for": `198.51.${n}.7` });
    await told('sticky = "ip"\nhash_bound = 0', { top: 'trust = ["127.0.0.0/8"]' });
    const with3 = await homes(60, address);
    assert.equal(new Set(with3).size, 3);
    assert.deepEqual(await homes(60, address), with3);
    await told('sticky = "ip"\nhash_bound = 0', { top: 'trust = ["127.0.0.0/8"]', count: 2 });
    const with2 = await homes(60, address);
    with3.forEach((home, n) => home !== "app03" && assert.equal(with2[n], home, `client ${n} moved`));
  });

  test("S2-18, S2-19, S2-30: by X-Forwarded-For the right-most address outside the trusted ones counts: the first can be forged", async () => {
    await told('sticky = "xff"\nhash_bound = 0', { top: 'trust = ["127.0.0.0/8", "10.0.0.0/8"]' });
    const forged = await homes(20, (n) => ({ "x-forwarded-for": `6.6.6.${n}, 203.0.113.9, 10.1.2.3` }));
    assert.equal(new Set(forged).size, 1);
    assert.ok(new Set(await homes(40, (n) => ({ "x-forwarded-for": `203.0.113.${n}, 10.1.2.3` }))).size > 1);
  });

  test("S2-10, S2-11: forwarded headers are there, Host is kept, and Connection is not forced on plain requests", async () => {
    await told("", { top: 'trust = ["127.0.0.0/8"]' });
    const { headers } = (await ask(port, "/", { host: "io.yourhost.com", "x-forwarded-for": "203.0.113.9" })).said;
    assert.equal(headers["x-forwarded-for"], "203.0.113.9, 127.0.0.1");
    assert.deepEqual([headers.host, headers["x-forwarded-proto"], headers["x-forwarded-host"]], ["io.yourhost.com", "http", "io.yourhost.com"]);
    assert.equal(headers["x-forwarded-port"], String(port));
    assert.ok(!/upgrade/i.test(headers.connection ?? ""), headers.connection);
    await told("");
    assert.equal((await ask(port, "/", { "x-forwarded-for": "6.6.6.6" })).said.headers["x-forwarded-for"], "127.0.0.1", "a stranger is not believed");
  });

  test("S2-09, S2-22, S2-28: host, path and upgrade say who answers", async () => {
    const one = (name, at) => `[upstream.${name}]\nservers = ["${at}"]\n`;
    await told("", {
      more: one("api", servers[1].at) + one("other", servers[2].at) + '[[site]]\nhost = "io.yourhost.com"\npath = "/api"\nupstream = "api"\n[[site]]\nhost = "*.example.com"\nupstream = "other"\n[[site]]\nwebsocket = false\nhost = "io.yourhost.com"\nupstream = "nodes"\n',
      count: 1,
    });
    for (const [host, path, home] of [
      ["io.yourhost.com", "/", "app01"],
      ["io.yourhost.com:3000", "/api/x", "app02"],
      ["io.yourhost.com", "/apix", "app01"],
      ["a.example.com", "/api", "app03"],
    ]) {
      assert.equal((await ask(port, path, { host })).said?.name, home, host + path);
    }
    assert.equal((await ask(port, "/", { host: "nobody.test" })).status, 404);
    const upgrade = { host: "io.yourhost.com", connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" };
    assert.equal((await ask(port, "/socket.io/?EIO=4&transport=websocket", upgrade)).status, 404, "only what is no upgrade");
  });

  test("S2-21, S2-25: HEAD /health with the expected status says who serves, for both transports; and a server that is back is asked again", async () => {
    await told('sticky = "none"\nbalance = "roundrobin"\nhealth = { check = "HEAD /health", status = 200, interval = "50ms", rise = 1, fall = 1 }');
    const all = () => homes(9, () => ({}));
    await edge.until("three servers are healthy", async () => new Set(await all()).size === 3);
    servers[1].health = 503;
    await edge.until("app02 is out", async () => !(await all()).includes("app02"));
    const status = JSON.parse((await overSocket(admin, "/status")).text).groups[0].servers.map((server) => [server.name, server.state]);
    assert.deepEqual(status, [["app01", "up"], ["app02", "down"], ["app03", "up"]]);
    servers[1].health = 200;
    await edge.until("app02 is back", async () => (await all()).includes("app02"));
  });

  test("S2-31: round robin takes turns, and random reaches all", async () => {
    await told('sticky = "none"\nbalance = "roundrobin"');
    const turns = [];
    for (let n = 0; n < 9; n += 1) turns.push((await ask(port)).said.name);
    for (const name of ["app01", "app02", "app03"]) assert.equal(turns.filter((turn) => turn === name).length, 3, `${turns}`);
    for (const balance of ["random", "p2c"]) {
      await told(`sticky = "none"\nbalance = "${balance}"`);
      assert.equal(new Set(await homes(60, () => ({}))).size, 3, balance);
    }
  });

  test("S2-15, S2-27, S2-29: servers come from a list, a name, a watched file, and by registration with a lease", async () => {
    const nodes = (lines) => file.write(`admin = "unix:${admin}"\nlisten = "127.0.0.1:${port}"\n[upstream.nodes]\nsticky = "none"\nbalance = "roundrobin"\n${lines}\n`);
    const applied = async () => assert.equal((await run(["apply", file.path])).err, "");
    const all = async () => new Set((await Promise.all(Array.from({ length: 6 }, () => ask(port)))).map((answer) => answer.said?.name));
    const list = join(file.dir, "servers.txt");
    writeFileSync(list, `${servers[0].at} route=app01\n`);
    nodes('watch = "servers.txt"');
    await applied();
    await edge.until("the file's server answers", async () => (await all()).has("app01"));
    writeFileSync(list, `${servers[0].at} route=app01\n${servers[1].at} route=app02\n`);
    await edge.until("its second one too", async () => (await all()).size === 2);
    nodes(`dns = "localhost:${servers[2].at.split(":")[1]}"`);
    await applied();
    await edge.until("what the name resolves to answers", async () => (await all()).has("app03"));
    nodes('register = true\nlease = "1s"\nqueue_wait = "100ms"');
    await applied();
    const put = (name, at, lease) => overSocket(admin, `/upstreams/nodes/${name}`, { method: "PUT", body: JSON.stringify({ address: at, lease }) });
    assert.equal((await put("app01", servers[0].at, "1h")).status, 200);
    assert.equal((await put("app02", servers[1].at)).status, 200);
    await edge.until("both answer", async () => (await all()).size === 2);
    await edge.until("the lease of one is over", async () => ![...(await all())].includes("app02"));
    assert.equal((await overSocket(admin, "/upstreams/nodes/app01", { method: "DELETE" })).status, 200);
    await edge.until("nobody is left", async () => (await ask(port)).status === 503);
    assert.notEqual((await put("a/b", servers[0].at)).status, 200);
    assert.equal((await put("app01", "app01:3000")).status, 400);
  });

  test("S2-17, S2-23: a tunnel that would end before the heartbeat is refused, with the reason", async () => {
    file.write('[upstream.nodes]\nservers = ["127.0.0.1:3000"]\ntunnel_timeout = "45s"\n');
    const { code, err } = await run(["check", file.path]);
    assert.equal(code, 1);
    assert.match(err, /tunnel_timeout = "45s": a WebSocket is silent for up to 45s/);
  });
});
