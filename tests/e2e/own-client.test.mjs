// Sockeye's own small browser client, under Node with a WebSocket lent to it: every transport, against any server.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { ask, connected, next, TRANSPORTS, upgraded } from "../harness/clients.mjs";
import { REFERENCE, up } from "../harness/target.mjs";

globalThis.WebSocket = WebSocket;
const io = createRequire(import.meta.url)("../../crates/sockeye/client/socket.io.js");
const WORKERS = REFERENCE ? 1 : 2;

describe("our own client", () => {
  let target;
  before(async () => (target = await up({ workers: WORKERS })));
  after(() => target?.stop());

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`connects, with its auth payload, by ${transport}`, async () => {
      const socket = io(target.url, { ...TRANSPORTS[transport], auth: { token: "äbc" } });
      const auth = next(socket, "auth");
      await ready(socket, transport);
      assert.deepEqual(await auth, [{ token: "äbc" }]);
      const home = await ask(socket, "whoami");
      assert.equal(home.transport, transport === "polling" ? "polling" : "websocket");
      assert.equal(home.id, socket.id);
      await leaves(socket);
    });

    test(`events, acks and bytes come back whole by ${transport}`, async () => {
      const socket = io(target.url, TRANSPORTS[transport]);
      socket.emit("echo", "said before it was connected");
      assert.deepEqual(await next(socket, "echo"), ["said before it was connected"]);
      for (const round of [1, 2]) {
        for (const x of [1, "ü\u{1F41F}\u2028", { a: [null, true, { b: "c" }] }, "x".repeat(200_000)]) {
          assert.deepEqual(await ask(socket, "echo-ack", x), x);
        }
        const sent = { one: Uint8Array.from([0, 128, 255]), two: [new Uint8Array(5000).fill(7), new Uint8Array(0)] };
        assert.deepEqual(inBytes(await ask(socket, "echo-ack", sent)), sent);
        const back = next(socket, "message-back");
        socket.emit("message", "text", sent.one, 3);
        assert.deepEqual((await back).map(inBytes), ["text", sent.one, 3]);
        socket.once("question", (x, answer) => answer({ heard: x, bytes: sent.one }));
        assert.deepEqual(inBytes(await ask(socket, "ask", round)), { heard: round, bytes: sent.one });
        if (round === 1 && transport === "default") await upgraded(socket);
      }
      await leaves(socket);
    });

    test(`500 emits in one breath arrive in order by ${transport}, across the upgrade`, async () => {
      const socket = io(target.url, TRANSPORTS[transport]);
      await connected(socket);
      const heard = [];
      socket.on("echo", (n) => heard.push(n));
      for (let n = 0; n < 500; n += 1) {
        socket.emit("echo", n);
        if (n % 50 === 0) await sleep(1);
      }
      await ask(socket, "echo-ack", "the last");
      while (heard.length < 500) await next(socket, "echo");
      assert.deepEqual(heard, Array.from({ length: 500 }, (_, n) => n));
      await leaves(socket);
    });

    test(`the server's goodbye and the client's own have the official words by ${transport}`, async () => {
      const watcher = io(target.url);
      await ready(watcher, "default");
      await ask(watcher, "join", "watch");
      for (const [act, here, there] of [
        [(socket) => socket.emit("kick"), "io server disconnect", "server namespace disconnect"],
        [(socket) => socket.emit("kick-close"), "io server disconnect", "server namespace disconnect"],
        [(socket) => socket.disconnect(), "io client disconnect", "client namespace disconnect"],
        [(socket) => socket.emit("echo", "in the way").disconnect(), "io client disconnect", "client namespace disconnect"],
      ]) {
        const socket = io(target.url, TRANSPORTS[transport]);
        await ready(socket, transport);
        const { id } = socket;
        const gone = new Promise((resolve) => watcher.on("gone", (end) => end.id === id && resolve(end.reason)));
        const word = next(socket, "disconnect");
        act(socket);
        assert.equal((await word)[0], here);
        assert.equal(await gone, there);
        assert.equal(socket.connected, false);
        const again = next(socket, "connect");
        socket.connect();
        await again;
        await leaves(socket);
      }
      await leaves(watcher);
    });

    test(`a refusal is a connect_error with the server's words by ${transport}`, async () => {
      const refused = io(target.url, { ...TRANSPORTS[transport], auth: { deny: "not you" } });
      const [error] = await next(refused, "connect_error");
      assert.equal(error.message, "not you");
      assert.deepEqual(error.data, { denied: true });
      const lost = io(`${target.url}/nowhere`, TRANSPORTS[transport]);
      assert.equal((await next(lost, "connect_error"))[0].message, "Invalid namespace");
    });
  }

  test("a namespace is named by the path of the address", async () => {
    const socket = io(`${target.url}/custom`, { auth: { n: 1 } });
    assert.deepEqual(await next(socket, "auth"), [{ n: 1 }]);
    const sent = { bytes: Uint8Array.from([1]) };
    assert.deepEqual(inBytes(await ask(socket, "echo-ack", sent)), sent);
    await leaves(socket);
  });

  test("where WebSocket fails, polling goes on", async () => {
    globalThis.WebSocket = class extends WebSocket {
      constructor() {
        super("ws://127.0.0.1:1/");
      }
    };
    const socket = io(target.url);
    globalThis.WebSocket = WebSocket;
    await connected(socket);
    assert.equal(await ask(socket, "echo-ack", 1), 1);
    await leaves(socket);
  });
});

test("our own client comes back after its own back-off when the server does", async (t) => {
  let target = await up({ workers: 1 });
  t.after(() => target.stop());
  const { port } = target;
  for (const transport of Object.keys(TRANSPORTS)) {
    const socket = io(target.url, TRANSPORTS[transport]);
    t.after(() => socket.disconnect());
    await ready(socket, transport);
    const gone = next(socket, "disconnect").then(([word]) => ({ word, at: performance.now() }));
    await target.stop();
    const lost = await gone;
    assert.ok(["transport close", "transport error"].includes(lost.word), lost.word);
    target = await up({ workers: 1, port });
    await connected(socket);
    assert.ok(performance.now() - lost.at >= 450, "the back-off is 500 ms at least");
    assert.equal(await ask(socket, "echo-ack", "back"), "back");
    await leaves(socket);
  }
});

async function ready(socket, transport) {
  await connected(socket);
  if (transport === "default") await upgraded(socket);
}

async function leaves(socket) {
  const gone = next(socket, "disconnect");
  socket.disconnect();
  assert.equal((await gone)[0], "io client disconnect");
}

/** ArrayBuffers, as a browser gives them, as Uint8Arrays, which can be compared. */
function inBytes(x) {
  if (x instanceof ArrayBuffer) return new Uint8Array(x);
  if (Array.isArray(x)) return x.map(inBytes);
  return x && typeof x === "object" && !ArrayBuffer.isView(x) ? Object.fromEntries(Object.entries(x).map(([key, y]) => [key, inBytes(y)])) : x;
}
