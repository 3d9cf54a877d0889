// permessage-deflate with stock clients: `ws`, and socket.io-client over it. Compressed both ways, whole, in order, and beside a
// client that compresses nothing.

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import WebSocket from "ws";
import { ask, closeAll, connect, within } from "../harness/clients.mjs";
import { conformance } from "../harness/target.mjs";

const MESSAGES = 100;
const SIZES = [0, 1, 100, 1022, 1023, 1024, 5_000, 65_600, 200_000];

for (const [name, args, agreed] of [
  ["each message on its own", ["--per-message-deflate"], /server_no_context_takeover; client_no_context_takeover/],
  ["with context takeover", ["--per-message-deflate", "--context-takeover"], /^permessage-deflate$/],
]) {
  describe(`permessage-deflate, ${name}`, () => {
    test("ws: a hundred messages of all sizes, text and binary, come back", async () => {
      const target = await conformance({ engine: true, args });
      try {
        const url = `${target.url.replace("http", "ws")}/engine.io/?EIO=4&transport=websocket`;
        const [small, plain] = await Promise.all([
          echoes(new WebSocket(url, { perMessageDeflate: { threshold: 0 } })),
          echoes(new WebSocket(url, { perMessageDeflate: false })),
        ]);
        assert.match(small.answer, agreed);
        assert.equal(plain.answer, undefined);
        assert.ok(small.written < plain.written / 5, `sent ${small.written} of ${plain.written} bytes`);
        assert.ok(small.read < plain.read / 5, `got ${small.read} of ${plain.read} bytes`);
      } finally {
        await target.stop();
      }
    });

    for (const offer of [
      { serverMaxWindowBits: 10 },
      { clientMaxWindowBits: 10 },
      { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
      { serverNoContextTakeover: true },
      { clientNoContextTakeover: true, clientMaxWindowBits: 15 },
      { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 12 },
    ]) {
      test(`ws: what is offered with ${JSON.stringify(offer)} is agreed upon and kept`, async () => {
        const target = await conformance({ engine: true, args });
        try {
          const url = `${target.url.replace("http", "ws")}/engine.io/?EIO=4&transport=websocket`;
          const [offered, plain] = await Promise.all([
            echoes(new WebSocket(url, { perMessageDeflate: { threshold: 0, ...offer } })),
            echoes(new WebSocket(url, { perMessageDeflate: false })),
          ]);
          assert.match(offered.answer, /^permessage-deflate/);
          if (offer.serverNoContextTakeover) assert.match(offered.answer, /server_no_context_takeover/);
          if (offer.serverMaxWindowBits) assert.ok(Number(/server_max_window_bits=(\d+)/.exec(offered.answer)[1]) <= offer.serverMaxWindowBits, offered.answer);
          assert.ok(offered.read < plain.read / 4, `got ${offered.read} of ${plain.read} bytes: ${offered.answer}`);
        } finally {
          await target.stop();
        }
      });
    }

    test("socket.io-client: a hundred acks with text and binary, after an upgrade too", async () => {
      const target = await conformance({ args });
      const traffic = {};
      const sockets = [];
      try {
        for (const [who, transport, perMessageDeflate] of [
          ["small", "websocket", { threshold: 1024 }],
          ["upgraded", "default", { threshold: 1024 }],
          ["plain", "websocket", false],
        ]) {
          const socket = await connect(target.url, transport, { perMessageDeflate });
          sockets.push(socket);
          const tcp = socket.io.engine.transport.ws._socket;
          for (let i = 0; i < MESSAGES; i += 1) {
            const sent = [text(i), Buffer.from(text(i + 3)), { nested: Buffer.from("tiny") }];
            assert.deepEqual(await ask(socket, "message-with-ack", ...sent), sent, `${who} ${i}`);
          }
          traffic[who] = { written: tcp.bytesWritten, read: tcp.bytesRead };
        }
        for (const who of ["small", "upgraded"]) {
          assert.ok(traffic[who].written < traffic.plain.written / 5, JSON.stringify(traffic));
          assert.ok(traffic[who].read < traffic.plain.read / 5, JSON.stringify(traffic));
        }
      } finally {
        closeAll(sockets);
        await target.stop();
      }
    });
  });
}

test("a server that compresses nothing answers no offer", async () => {
  const target = await conformance({ engine: true });
  try {
    const url = `${target.url.replace("http", "ws")}/engine.io/?EIO=4&transport=websocket`;
    const { answer } = await echoes(new WebSocket(url, { perMessageDeflate: true }));
    assert.equal(answer, undefined);
  } finally {
    await target.stop();
  }
});

/** Sends all messages at once, checks what comes back, and counts the bytes on the wire. */
async function echoes(ws) {
  const heard = [];
  let answer;
  ws.on("upgrade", (response) => (answer = response.headers["sec-websocket-extensions"]));
  const sent = Array.from({ length: MESSAGES }, (_, i) => (i % 3 === 1 ? Buffer.from(text(i)) : `4${text(i)}`));
  const done = new Promise((resolve, reject) => {
    ws.on("error", reject).on("close", (code) => reject(new Error(`closed with ${code}`)));
    ws.on("message", (data, binary) => {
      if (!binary && data.toString().startsWith("0{")) return;
      if (!binary && data.toString() === "2") return ws.send("3");
      heard.push(binary ? data : data.toString());
      if (heard.length === MESSAGES) resolve();
    });
  });
  await within(once(ws, "open"), "opening");
  for (const message of sent) ws.send(message);
  await within(done, "all echoes");
  assert.deepEqual(heard, sent);
  const counted = { answer, read: ws._socket.bytesRead, written: ws._socket.bytesWritten };
  ws.removeAllListeners("close");
  ws.close();
  return counted;
}

/** Text of one of the sizes; it can be compressed, and no two are the same. */
function text(i) {
  const size = SIZES[i % SIZES.length];
  return `${i} says that words come back in words. `.repeat(Math.ceil(size / 35)).slice(0, size);
}
