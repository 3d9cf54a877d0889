// A stock client whose line is cut hears what it missed: once, and in order. The server is the library's example `recovery`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { existsSync } from "node:fs";
import { io } from "socket.io-client";
import parser from "socket.io-msgpack-parser";
import { binary, freePort, REFERENCE } from "../harness/target.mjs";

const PROGRAM = process.env.SOCKEYE_RECOVERY_EXAMPLE ?? binary("examples/recovery");
const SKIP = REFERENCE ? "the server is an example of ours" : existsSync(PROGRAM) ? false : `${PROGRAM} is not built`;
const COUNT = 200;

for (const [kind, environment, options] of [
  ["text", {}, {}],
  ["msgpack", { PARSER: "msgpack" }, { parser }],
])
describe(`a client whose line is cut, by ${kind}`, { skip: SKIP }, () => {
  let port;
  let server;
  before(async () => {
    port = await freePort();
    server = spawn(PROGRAM, { env: { ...process.env, ...environment, PORT: String(port) }, stdio: "inherit" });
    for (let tries = 0; tries < 200; tries += 1) {
      if (await fetch(`http://127.0.0.1:${port}/health`).then((answer) => answer.ok, () => false)) return;
      await sleep(25);
    }
    throw new Error("the server does not come up");
  });
  after(() => server?.kill());

  for (const transports of [["websocket"], ["polling"]]) {
    test(`hears each number once and in order by ${transports}`, async () => {
      const socket = io(`http://127.0.0.1:${port}`, { transports, reconnectionDelay: 50, forceNew: true, ...options });
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
