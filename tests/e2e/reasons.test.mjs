// Why a connection ended, in the official words, at both ends. The server's word comes back as a `gone` event.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, closeAll, connect, next, TRANSPORTS, within } from "../harness/clients.mjs";
import { rawClient } from "../harness/raw.mjs";
import { conformance, REFERENCE, up } from "../harness/target.mjs";

const WORKERS = REFERENCE ? 1 : 2;

describe("disconnect reasons", () => {
  let target;
  let watcher;
  let silent;
  before(async () => {
    target = await up({ workers: WORKERS });
    watcher = await connect(target.url, "websocket");
    await ask(watcher, "join", "watch");
    // Its 45 s of silence pass while the other rows run.
    silent = await rawClient(target.url);
    silent.gone = gone(silent.id);
  });
  after(async () => {
    if (watcher) closeAll([watcher]);
    await target?.stop();
  });

  const ROWS = [
    ["the client disconnects", (socket) => socket.disconnect(), "io client disconnect", "client namespace disconnect"],
    ["the server disconnects", (socket) => socket.emit("kick"), "io server disconnect", "server namespace disconnect"],
    ["the server disconnects and closes", (socket) => socket.emit("kick-close"), "io server disconnect", "server namespace disconnect"],
    ["the client's engine closes", (socket) => socket.io.engine.close(), "forced close", "transport close"],
  ];
  for (const transport of Object.keys(TRANSPORTS)) {
    for (const [what, act, clientWord, serverWord] of ROWS) {
      test(`${what} (${transport}): "${clientWord}" here, "${serverWord}" there`, async () => {
        const socket = await connect(target.url, transport, { reconnection: false });
        const there = gone(socket.id);
        const here = next(socket, "disconnect");
        act(socket);
        assert.equal((await here)[0], clientWord);
        assert.equal(await there, serverWord);
      });
    }
  }

  test('the line is cut (websocket): "transport close" at both ends', async () => {
    const socket = await connect(target.url, "websocket", { reconnection: false });
    const there = gone(socket.id);
    const here = next(socket, "disconnect");
    socket.io.engine.transport.ws._socket.destroy();
    assert.equal((await here)[0], "transport close");
    assert.equal(await there, "transport close");
  });

  // Where two words stand, which one the official server says depends on whether something was still to be written.
  for (const [what, frame, ...serverWords] of [
    ["a second CONNECT", "40", "forced close", "forced server close"],
    ["an event for a namespace not joined", '42/custom,["x"]', "forced close", "forced server close"],
    ["a packet that is no Socket.IO", "4abc", "forced close"],
    ["a packet that is no Engine.IO", "abc", "parse error"],
    ["a ping, which is the server's to send", "2", "transport error"],
  ]) {
    test(`${what} ends the session: "${serverWords.join('" or "')}"`, async () => {
      const ws = await rawClient(target.url);
      const there = gone(ws.id);
      ws.send(frame);
      const word = await there;
      assert.ok(serverWords.includes(word), word);
      await within(ws.closed, "close of the websocket");
    });
  }

  test('a client that never answers a ping: "ping timeout", when interval and timeout are over', { timeout: 90_000 }, async () => {
    assert.equal(await silent.gone, "ping timeout");
    await within(silent.closed, "close of the websocket");
  });

  /** What the server says of the end of this socket. */
  function gone(id) {
    return within(
      new Promise((resolve) => {
        watcher.on("gone", function heard(end) {
          if (end.id !== id) return;
          watcher.off("gone", heard);
          resolve(end.reason);
        });
      }),
      `"gone" of ${id}`,
      60_000,
    );
  }
});

test('a server that falls silent: "ping timeout" at the client', async () => {
  const target = await conformance({ hurried: true });
  try {
    for (const transport of ["polling", "websocket"]) {
      const socket = await connect(target.url, transport, { reconnection: false });
      await sleep(400); // past the first ping
      const here = next(socket, "disconnect");
      process.kill(target.pid, "SIGSTOP");
      assert.equal((await here)[0], "ping timeout");
      process.kill(target.pid, "SIGCONT");
    }
  } finally {
    await target.stop();
  }
});

for (const [transport, words] of [
  ["websocket", ["transport close"]],
  ["polling", ["transport error", "transport close"]],
]) {
  test(`a server that is stopped (${transport}): "${words.join('" or "')}"`, async () => {
    const target = await up({ workers: WORKERS });
    const socket = await connect(target.url, transport, { reconnection: false });
    const here = next(socket, "disconnect");
    await target.stop();
    assert.ok(words.includes((await here)[0]));
  });
}
