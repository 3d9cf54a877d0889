// A stock client whose line is cut hears what it missed: once, and in order. The server is the library's example `recovery`.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import parser from "socket.io-msgpack-parser";
import { skipped, start } from "../harness/examples.mjs";

const COUNT = 200;

for (const [kind, environment, options] of [
  ["text", {}, {}],
  ["msgpack", { PARSER: "msgpack" }, { parser }],
])
describe(`a client whose line is cut, by ${kind}`, { skip: skipped("recovery") }, () => {
  let server;
  before(async () => {
    server = await start("recovery", environment);
  });
  after(() => server?.stop());

  for (const transports of [["websocket"], ["polling"]]) {
    test(`hears each number once and in order by ${transports}`, async () => {
      const socket = io(server.url, { transports, reconnectionDelay: 50, forceNew: true, ...options });
      const numbers = [];
      const ids = [];
      let cuts = 0;
      socket.on("number", (n) => numbers.push(n));
      // Neither a volatile event nor a question is to become the client's offset: both end in a string.
      const words = [];
      socket.on("word", (word) => words.push(word));
      socket.on("question", (question, answer) => answer(`${question} Ann`));
      socket.on("connect", () => ids.push([socket.id, socket.recovered]));
      await new Promise((resolve) => socket.once("connect", resolve));
      await socket.emitWithAck("count", COUNT);
      while (numbers.length < COUNT) {
        if (cuts < 4 && numbers.length > cuts * 40 && socket.connected) {
          cuts += 1;
          assert.equal(await socket.emitWithAck("ask me"), "what is your name? Ann");
          socket.io.engine.close();
        }
        await sleep(10);
      }
      await sleep(50);
      assert.deepEqual(numbers, Array.from({ length: COUNT }, (_, n) => n));
      assert.equal(cuts, 4);
      assert.equal(new Set(ids.map(([id]) => id)).size, 1);
      assert.deepEqual(ids.map(([, recovered]) => recovered), [false, true, true, true, true]);
      assert.ok(words.length > 0 && words.every((word) => word.startsWith("number ")));
      socket.close();
    });
  }
});
