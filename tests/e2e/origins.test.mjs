// A real browser on a page of another origin: preflights, credentials, cookies, compressed answers, JSONP; by the client bundles that the
// server itself serves, and that of Socket.IO 2.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";
import { launch, NO_CHROMIUM, openWindow } from "../harness/browser.mjs";
import { conformance, ROOT, up } from "../harness/target.mjs";

const V2 = join(ROOT, "tests/node_modules/socket.io-client-v2/dist/socket.io.js");
const OFFICIAL = "/socket.io/socket.io.min.js";

describe("a page of another origin", { skip: NO_CHROMIUM }, () => {
  let browser;
  let site;
  before(async () => {
    browser = await launch();
    site = createServer((request, response) => {
      const script = request.url === "/v2.js";
      response.setHeader("Content-Type", script ? "text/javascript" : "text/html; charset=utf-8");
      response.end(script ? readFileSync(V2) : "<!doctype html><title>elsewhere</title>");
    });
    await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  });
  after(async () => {
    await browser?.close();
    site?.closeAllConnections();
    await new Promise((resolve) => site.close(resolve));
  });

  describe("that a server lets in with its credentials", () => {
    let target;
    before(async () => (target = await up({ app: "features" })));
    after(() => target?.stop());

    for (const transports of [["polling"], ["polling", "websocket"], ["websocket"]]) {
      test(`speaks by ${transports.join(" and ")}: its own header takes a preflight, the cookie comes back`, async () => {
        const { page, preflights, close } = await visit(OFFICIAL);
        const said = await page.evaluate(connectAndAsk, { url: target.url, options: { transports, withCredentials: true, extraHeaders: { "x-who": "me" }, query: { who: "q" }, auth: { a: 1 } } });
        const cookies = (await page.context().cookies(target.url)).map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }));
        if (transports[0] === "polling") {
          assert.deepEqual(cookies, [{ name: "io", httpOnly: true, sameSite: "Lax" }]);
          assert.equal(said.header, "me");
          assert.ok(preflights.length > 0 && preflights.every((status) => status === 204), `preflights: ${preflights}`);
          // The handshake came without a cookie; what follows bears it.
          const again = await page.evaluate(connectAndAsk, { url: target.url, options: { transports, withCredentials: true, forceNew: true } });
          assert.match(again.cookie, /^io=[\w-]{20}$/);
        } else {
          assert.deepEqual(cookies, [], "the handshake of a WebSocket sets no cookie");
        }
        assert.deepEqual([said.query, said.auth], ["q", { a: 1 }]);
        await close();
      });
    }

    test("gets long answers compressed, unless the server says otherwise", async () => {
      const { page, close } = await visit(OFFICIAL);
      const encodings = [];
      page.on("response", async (answer) => {
        const { "content-encoding": encoding, "content-length": length } = answer.headers();
        if (answer.url().includes("transport=polling") && (encoding || Number(length) > 1000)) encodings.push(encoding ?? "none");
      });
      const lengths = await page.evaluate(async (url) => {
        const socket = window.io(url, { transports: ["polling"] });
        const lengths = [];
        for (const compress of [true, false]) {
          socket.emit("compress", compress, "ü".repeat(5000));
          lengths.push(await new Promise((resolve) => socket.once("long", (text) => resolve(text.length))));
        }
        socket.close();
        return lengths;
      }, target.url);
      assert.deepEqual(lengths, [5000, 5000]);
      assert.match(encodings.join(" "), /^(gzip|deflate) none$/);
      await close();
    });

    for (const [name, options] of [
      ["JSONP", { transports: ["polling"], forceJSONP: true }],
      ["polling with base64", { transports: ["polling"], forceBase64: true }],
      ["polling", { transports: ["polling"] }],
      ["WebSocket", { transports: ["websocket"] }],
      ["what it finds best", {}],
    ]) {
      test(`speaks with the client of Socket.IO 2 by ${name}, text and bytes`, async () => {
        const { page, seen, close } = await visit("/v2.js", site);
        const back = await page.evaluate(talk, { url: target.url, options });
        assert.deepEqual(back, [["text", "ü\u{1F41F}\u2028\\n\n\""], ["bytes", [0, 128, 255]]]);
        assert.deepEqual(seen.errors, []);
        await close();
      });
    }
  });

  test("speaks msgpack with the bundle that the server serves for it", async () => {
    const target = await up({ app: "msgpack" });
    try {
      const { page, seen, close } = await visit("/socket.io/socket.io.msgpack.min.js", target);
      const back = await page.evaluate(talk, { url: target.url, options: {} });
      assert.deepEqual(back, [["text", "ü\u{1F41F}\u2028\\n\n\""], ["bytes", [0, 128, 255]]]);
      assert.deepEqual(seen.errors, []);
      await close();
    } finally {
      await target.stop();
    }
  });

  for (const args of [["--per-message-deflate"], ["--per-message-deflate", "--context-takeover"]]) {
    test(`agrees on compression with a server that has ${args.join(" ")}`, async () => {
      const target = await conformance({ args });
      try {
        const { page, close } = await visit("/v2.js", site);
        await page.addScriptTag({ path: join(ROOT, "tests/node_modules/socket.io-client/dist/socket.io.min.js") });
        const back = await page.evaluate(async (url) => {
          const socket = window.io(url, { transports: ["websocket"], forceNew: true });
          const heard = [];
          for (let n = 0; n < 30; n += 1) {
            const text = `${n} words and words. `.repeat(n * 50);
            const [same, bytes] = await new Promise((resolve) => socket.emit("message-with-ack", text, new Uint8Array(n * 100).fill(n), (...said) => resolve(said)));
            heard.push(same === text && new Uint8Array(bytes).every((byte) => byte === n) && bytes.byteLength === n * 100);
          }
          const { extensions } = socket.io.engine.transport.ws;
          socket.close();
          return { heard, extensions };
        }, target.url);
        assert.ok(back.heard.length === 30 && back.heard.every(Boolean));
        assert.match(back.extensions, /^permessage-deflate/);
        await close();
      } finally {
        await target.stop();
      }
    });
  }

  test("gets nothing from a server that lets nobody in", async () => {
    const target = await up({ app: "contract" });
    try {
      const { page, close } = await visit("/v2.js", site);
      await page.addScriptTag({ path: join(ROOT, "tests/node_modules/socket.io-client/dist/socket.io.min.js") });
      const word = await page.evaluate(
        (url) => new Promise((resolve) => window.io(url, { transports: ["polling"], reconnection: false, forceNew: true }).on("connect_error", (error) => resolve(error.message)).on("connect", () => resolve("connected"))),
        target.url,
      );
      assert.equal(word, "xhr poll error");
      await close();
    } finally {
      await target.stop();
    }
  });

  /** Opens a page of the other origin with a client bundle, ours by default, and the statuses of its preflights. */
  async function visit(script, from) {
    const window = await openWindow(browser, `http://127.0.0.1:${site.address().port}/`);
    const preflights = [];
    const cdp = await window.page.context().newCDPSession(window.page);
    await cdp.send("Network.enable");
    const asked = new Set();
    cdp.on("Network.requestWillBeSent", ({ requestId, request }) => request.method === "OPTIONS" && asked.add(requestId));
    cdp.on("Network.responseReceived", ({ requestId, response }) => asked.has(requestId) && preflights.push(response.status));
    const base = from?.url ?? `http://127.0.0.1:${site.address().port}`;
    if (script === OFFICIAL) await window.page.addScriptTag({ path: join(ROOT, "tests/node_modules/socket.io-client/dist/socket.io.min.js") });
    else await window.page.addScriptTag({ url: `${base}${script}` });
    return { ...window, preflights };
  }
});

/** In the page: connects, waits for an upgrade if one comes, and asks what the server saw of the handshake. */
function connectAndAsk({ url, options }) {
  return new Promise((resolve, reject) => {
    const socket = window.io(url, options);
    socket.on("connect_error", (error) => reject(new Error(`connect_error: ${error.message}`)));
    socket.on("connect", () =>
      socket.emit("handshake", (said) => {
        const { engine } = socket.io;
        const done = () => (socket.close(), resolve(said));
        if (options.transports.at(-1) === engine.transport.name) done();
        else engine.once("upgrade", done);
      }),
    );
  });
}

/** In the page: text and bytes go there and come back. */
async function talk({ url, options }) {
  const socket = window.io(url, options);
  const back = [];
  for (const sent of [["text", "ü\u{1F41F}\u2028\\n\n\""], ["bytes", Uint8Array.from([0, 128, 255]).buffer]]) {
    const heard = new Promise((resolve) => socket.once("message", (...said) => resolve(said)));
    socket.emit("message", ...sent);
    back.push(await heard);
  }
  socket.close();
  return back.map(([name, value]) => [name, typeof value === "string" ? value : [...new Uint8Array(value)]]);
}
