// Sails on an autoscaled Elastic Beanstalk, row by row (S4): TLS, redirects, registration, and what replaces ELB and nginx there, with a file of ours.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { app } from "../harness/balance.mjs";
import { launch, NO_CHROMIUM, openWindow, settled } from "../harness/browser.mjs";
import { closeAll, connect, connectMany, untroubled } from "../harness/clients.mjs";
import { ask, echo } from "../harness/echo.mjs";
import { overSocket, run, settingsFile, upFile } from "../harness/files.mjs";
import { freePort, REFERENCE } from "../harness/target.mjs";

const skip = REFERENCE && "the balancer is ours";
const OPENSSL = spawnSync("openssl", ["version"]).error ? "openssl is not installed" : false;

describe("the edge in the place of the ELB", { skip }, () => {
  let apps, echoes, file, ports, edge, admin, base;
  before(async () => {
    apps = await Promise.all(["i1", "i2"].map((name) => app(name)));
    echoes = await Promise.all(["i1", "i2"].map((name) => echo(name)));
    ports = { https: await freePort(), redirect: await freePort() };
    file = settingsFile("");
    admin = join(file.dir, "admin.sock");
    const made = await run(["cert", "self-signed", "--days", "365", "--host", "io.example.com", "--host", "127.0.0.1"], { cwd: file.dir });
    assert.equal(made.code, 0, made.err);
    base = `admin = "unix:${admin}"
      [[listen]]
      address = "127.0.0.1:${ports.https}"
      certificate = "cert.pem"
      key = "key.pem"
      [[listen]]
      address = "127.0.0.1:${ports.redirect}"
      redirect = "https"
      server_names = ["io.example.com"]
      [upstream.instances]
      servers = ["${apps[0].at}", "${apps[1].at}"]
      [upstream.scaled]
      register = true
      [upstream.echo]
      servers = ["${echoes[0].at}"]
      [[site]]
      path = "/scaled"
      upstream = "scaled"
      [[site]]
      path = "/echo"
      upstream = "echo"
      [[site]]
      upstream = "instances"\n`;
    file.write(base);
    edge = await upFile(file, ports.https);
  });
  after(async () => {
    await edge?.stop();
    await Promise.all([...(apps ?? []).map((one) => one.kill()), ...(echoes ?? []).map((one) => one.stop())]);
    file?.done();
  });
  const apply = async () => assert.deepEqual(await run(["apply", file.path]), { code: 0, out: `applied ${file.path}\n`, err: "" });
  const ca = () => readFileSync(join(file.dir, "cert.pem"));
  const secure = (path, headers = {}) => ask(ports.https, path, headers, { tls: https, ca: ca(), servername: "io.example.com" });
  /** The certificate's own number, as a client sees it. */
  const serial = () =>
    new Promise((resolve, reject) => {
      const socket = tls.connect({ host: "127.0.0.1", port: ports.https, servername: "io.example.com", rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.on("error", reject);
    });

  test("S4-02: the certificate is for the names and days that were asked for, and its key is nobody else's", async () => {
    assert.equal(statSync(join(file.dir, "key.pem")).mode & 0o777, 0o600);
    const again = await run(["cert", "self-signed", "--host", "a"], { cwd: file.dir });
    assert.match(again.err, /key\.pem is there already: --force replaces it/);
    const { valid_from, valid_to, subjectaltname } = await new Promise((resolve, reject) => {
      const socket = tls.connect({ host: "127.0.0.1", port: ports.https, ca: ca(), servername: "io.example.com" }, () => (resolve(socket.getPeerCertificate()), socket.destroy()));
      socket.on("error", reject);
    });
    const days = (new Date(valid_to) - new Date(valid_from)) / 86_400_000;
    assert.ok(days >= 365 && days <= 367, `${days}`);
    assert.match(subjectaltname, /DNS:io\.example\.com, IP Address:127\.0\.0\.1/);
  });

  for (const transport of ["polling", "websocket", "default"]) {
    test(`S4-01, S4-10: stock clients (${transport}) come over HTTPS`, async () => {
      const sockets = await connectMany(`https://127.0.0.1:${ports.https}`, transport, 10, { ca: ca() });
      try {
        assert.deepEqual(await Promise.all(sockets.map((socket, n) => socket.timeout(20_000).emitWithAck("echo", n))), [...sockets.keys()]);
        untroubled(sockets);
      } finally {
        closeAll(sockets);
      }
    });
  }

  test("S4-01, S4-12: another certificate is taken on under live clients", async () => {
    const client = await connect(`https://127.0.0.1:${ports.https}`, "websocket", { ca: ca() });
    try {
      const old = await serial();
      const made = await run(["cert", "self-signed", "--force", "--host", "io.example.com", "--host", "127.0.0.1"], { cwd: file.dir });
      assert.equal(made.code, 0, made.err);
      await apply();
      assert.notEqual(await serial(), old);
      assert.equal(await client.timeout(20_000).emitWithAck("echo", 7), 7);
      const kept = await serial();
      writeFileSync(join(file.dir, "cert.pem"), "nonsense");
      const refused = await run(["apply", file.path]);
      assert.equal(refused.code, 1);
      assert.match(refused.err, /cert\.pem/);
      assert.equal(await serial(), kept, "a bad certificate changes nothing");
      assert.equal((await run(["cert", "self-signed", "--force", "--host", "io.example.com", "--host", "127.0.0.1"], { cwd: file.dir })).code, 0);
      await apply();
      untroubled([client]);
    } finally {
      closeAll([client]);
    }
  });

  test("S4-02: a key and a certificate made by openssl as printed", { skip: OPENSSL }, async () => {
    const openssl = (...args) => {
      const { status, stderr } = spawnSync("openssl", args, { cwd: file.dir, encoding: "utf8" });
      assert.equal(status, 0, stderr);
    };
    openssl("genrsa", "-aes128", "-passout", "pass:secret", "-out", "privatekey.pem", "2048");
    openssl("rsa", "-in", "privatekey.pem", "-passin", "pass:secret", "-out", "plain.pem");
    openssl("req", "-new", "-key", "plain.pem", "-subj", "/CN=io.example.com", "-out", "csr.pem");
    openssl("x509", "-req", "-days", "365", "-in", "csr.pem", "-signkey", "plain.pem", "-out", "public.crt");
    const kept = ["cert.pem", "key.pem"].map((name) => readFileSync(join(file.dir, name)));
    copyFileSync(join(file.dir, "public.crt"), join(file.dir, "cert.pem"));
    copyFileSync(join(file.dir, "plain.pem"), join(file.dir, "key.pem"));
    await apply();
    const client = await connect(`https://127.0.0.1:${ports.https}`, "default", { rejectUnauthorized: false });
    closeAll([client]);
    ["cert.pem", "key.pem"].forEach((name, n) => writeFileSync(join(file.dir, name), kept[n]));
    await apply();
  });

  test("S4-02: a chain in a file of its own leads to the authority that clients trust", { skip: OPENSSL }, async () => {
    const at = (name) => join(file.dir, name);
    const openssl = (...args) => {
      const { status, stderr } = spawnSync("openssl", args, { cwd: file.dir, encoding: "utf8" });
      assert.equal(status, 0, stderr);
    };
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl("req", "-x509", ...key, "-days", "2", "-subj", "/CN=root", "-keyout", "root.key", "-out", "root.pem");
    for (const [name, by, more] of [["middle", "root", "basicConstraints=critical,CA:true"], ["leaf", "middle", "subjectAltName=DNS:io.example.com"]]) {
      openssl("req", "-new", ...key, "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.csr`);
      writeFileSync(at(`${name}.ext`), `${more}\n`);
      openssl("x509", "-req", "-days", "2", "-in", `${name}.csr`, "-CA", `${by}.pem`, "-CAkey", `${by}.key`, "-CAcreateserial", "-extfile", `${name}.ext`, "-out", `${name}.pem`);
    }
    const seen = () =>
      new Promise((resolve) => {
        const socket = tls.connect({ host: "127.0.0.1", port: ports.https, ca: readFileSync(at("root.pem")), servername: "io.example.com" }, () => (resolve("trusted"), socket.destroy()));
        socket.on("error", ({ code }) => resolve(code));
      });
    const own = (more) => base.replace('certificate = "cert.pem"\n      key = "key.pem"', `certificate = "leaf.pem"\n      key = "leaf.key"\n${more}`);
    for (const [more, expected] of [["", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"], ['chain = "middle.pem"', "trusted"]]) {
      file.write(own(more));
      await apply();
      assert.equal(await seen(), expected);
    }
    file.write(base);
    await apply();
  });

  test("S4-04: behind the TLS that ends here a program knows that it was HTTPS", async () => {
    const { headers } = (await secure("/echo", { host: "io.example.com" })).said;
    assert.deepEqual([headers["x-forwarded-proto"], headers["x-forwarded-for"], headers.host], ["https", "127.0.0.1", "io.example.com"]);
  });

  test("S4-05, S4-06: a port of its own sends everybody to HTTPS with path and query, shows no port, and knows its hosts", async () => {
    for (const [status, host, location] of [
      [301, "io.example.com", "https://io.example.com/a/b?c=d&e"],
      [301, `io.example.com:${ports.redirect}`, "https://io.example.com/a/b?c=d&e"],
      [301, "evil.example", "https://io.example.com/a/b?c=d&e"],
    ]) {
      const answer = await ask(ports.redirect, "/a/b?c=d&e", { host });
      assert.deepEqual([answer.status, answer.headers.location], [status, location]);
    }
    file.write(base.replace('redirect = "https"', `redirect = "https://chat.example.com"\nredirect_status = 308\nredirect_port = ${ports.https}`));
    await apply();
    const answer = await ask(ports.redirect, "/a", { host: "io.example.com" }, { method: "POST" });
    assert.deepEqual([answer.status, answer.headers.location], [308, `https://chat.example.com:${ports.https}/a`]);
    file.write(base);
    await apply();
  });

  test("S4-03: an instance comes, is drained and goes, and the numbers to scale by are there", async () => {
    const put = (name, at) => overSocket(admin, `/upstreams/scaled/${name}`, { method: "PUT", body: JSON.stringify({ address: at, lease: "60s" }) });
    const homes = async () => new Set((await Promise.all(Array.from({ length: 12 }, () => secure("/scaled")))).map((answer) => answer.said?.name));
    assert.equal((await put("i1", echoes[0].at)).status, 200);
    await edge.until("the instance answers", async () => (await homes()).has("i1"));
    assert.equal((await put("i2", echoes[1].at)).status, 200);
    await edge.until("both answer", async () => (await homes()).size === 2);
    assert.equal((await overSocket(admin, "/upstreams/scaled/i1/drain", { method: "POST" })).status, 200);
    await edge.until("only the other one is given anything new", async () => ![...(await homes())].includes("i1"));
    const metrics = (await overSocket(admin, "/metrics")).text;
    assert.match(metrics, /^sockeye_edge_group_sessions_per_server\{group="scaled"\} /m);
    assert.match(metrics, /^sockeye_edge_server_state\{group="scaled",server="i1",state="drain"\} 1$/m);
    assert.equal((await overSocket(admin, "/upstreams/scaled/i1", { method: "DELETE" })).status, 200);
  });

  test("S4-07: the ports of the security groups are listed", async () => {
    const other = settingsFile('[[listen]]\naddress = ":443"\n[[listen]]\naddress = ":12345"\nredirect = "https"\n[[listen]]\naddress = ":3000"\n');
    const { out } = await run(["ports", other.path]);
    other.done();
    assert.deepEqual(out.trim().split("\n").map((line) => line.split(/\s{2,}/).slice(0, 3).join(" ")), ["in tcp 0.0.0.0:443", "in tcp 0.0.0.0:12345", "in tcp 0.0.0.0:3000"]);
  });

  test("S4-08: a listener counts upgrades that were asked for, taken and failed", async () => {
    const client = await connect(`https://127.0.0.1:${ports.https}`, "websocket", { ca: ca() });
    closeAll([client]);
    const metrics = (await overSocket(admin, "/metrics")).text;
    assert.match(metrics, /^sockeye_edge_listener_upgrades_taken_total\{listener="main"\} [1-9]/m);
    assert.match(metrics, /^sockeye_edge_listener_upgrades_failed_total\{listener="main"\} 0$/m);
    // What speaks no TLS at the TLS port is counted there too.
    await new Promise((resolve) => net.connect(ports.https, "127.0.0.1").on("close", resolve).on("error", () => {}).end("GET / HTTP/1.1\r\n\r\n").resume());
    await edge.until("counted", async () => /^sockeye_edge_listener_tls_failures_total\{listener="main"\} [1-9]/m.test((await overSocket(admin, "/metrics")).text));
  });

  test("S4-09: TLS ends here, and bytes go on with a PROXY header", async () => {
    const port = await freePort();
    const backend = net.createServer((socket) => socket.once("data", (bytes) => socket.end(bytes)).on("error", () => {}));
    await new Promise((resolve) => backend.listen(0, "127.0.0.1", resolve));
    const text = `${base}[[listen]]\naddress = "127.0.0.1:${port}"\nmode = "tcp"\nupstream = "raw"\nsend_proxy = "v2"\ncertificate = "${file.dir}/cert.pem"\nkey = "${file.dir}/key.pem"\n[upstream.raw]\nservers = ["127.0.0.1:${backend.address().port}"]\n`;
    try {
      // Tables of a list stand together.
      file.write(text);
      await apply();
      const got = await new Promise((resolve, reject) => {
        const chunks = [];
        const socket = tls.connect({ host: "127.0.0.1", port, ca: ca(), servername: "io.example.com" }, () => socket.write("hello"));
        socket.on("data", (bytes) => chunks.push(bytes)).on("end", () => resolve(Buffer.concat(chunks))).on("error", reject);
      });
      assert.equal(got.subarray(0, 12).toString("latin1"), "\r\n\r\n\0\r\nQUIT\n");
      assert.equal(got.subarray(16, 20).join("."), "127.0.0.1");
    } finally {
      await new Promise((resolve) => backend.close(resolve));
      file.write(base);
      await apply();
    }
  });

  test("S4-11: the access log has address, sid, transport and upstream", async () => {
    const text = `access_log = "${join(file.dir, "access.log")}"\n${base}`;
    file.write(text);
    await apply();
    try {
      const client = await connect(`https://127.0.0.1:${ports.https}`, "polling", { ca: ca() });
      closeAll([client]);
      await secure("/echo/x");
      await edge.until("written", async () => /GET \/echo\/x/.test(readFileSync(join(file.dir, "access.log"), "utf8")));
      assert.match(readFileSync(join(file.dir, "access.log"), "utf8"), /127\.0\.0\.1 .*"GET \/socket\.io\/\?EIO=4&transport=polling.* 200 /);
    } finally {
      file.write(base);
      await apply();
    }
  });

  test("S4-17: two windows over HTTPS, and both transports are seen", { skip: NO_CHROMIUM }, async () => {
    const other = settingsFile("");
    const [port] = [await freePort()];
    assert.equal((await run(["cert", "self-signed", "--host", "127.0.0.1"], { cwd: other.dir })).code, 0);
    other.write(`[listen]\naddress = "127.0.0.1:${port}"\ncertificate = "cert.pem"\nkey = "key.pem"\n[app.chat]\nbundled = "chat"\ninstances = 2\n`);
    const edge = await upFile(other, port);
    const browser = await launch();
    try {
      const windows = [];
      for (let n = 0; n < 2; n += 1) {
        const context = await browser.newContext({ ignoreHTTPSErrors: true });
        const page = await context.newPage();
        const seen = { polls: 0, upgrades: [] };
        const cdp = await context.newCDPSession(page);
        await cdp.send("Network.enable");
        cdp.on("Network.webSocketHandshakeResponseReceived", ({ response }) => seen.upgrades.push(response.status));
        page.on("response", (response) => (seen.polls += response.url().includes("transport=polling") ? 1 : 0));
        await edge.until("ready", async () => (await ask(port, "/ready", {}, { tls: https, rejectUnauthorized: false })).status === 200);
        await page.goto(`https://127.0.0.1:${port}/`);
        await settled(page);
        windows.push({ page, seen });
      }
      for (const { seen } of windows) {
        assert.ok(seen.polls > 0);
        assert.deepEqual(seen.upgrades, [101]);
      }
      const heard = windows[1].page.evaluate(() => new Promise((resolve) => window.socket.once("msg", (data) => resolve(data.msg))));
      await windows[0].page.evaluate(() => window.socket.emit("msg", "over TLS"));
      assert.equal(await heard, "over TLS");
    } finally {
      await browser.close();
      await edge.stop();
      other.done();
    }
  });
});
