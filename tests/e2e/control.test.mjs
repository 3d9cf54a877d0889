// The namespace /control of the conformance server: each call does what its name says, on the namespace that it names.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { binary, freePort, REFERENCE } from "../harness/target.mjs";

const PROGRAM = binary("conformance");
const SKIP = REFERENCE ? "the server is ours" : existsSync(PROGRAM) ? false : `${PROGRAM} is not built`;

describe("the namespace /control", { skip: SKIP }, () => {
  let server;
  let url;
  let control;
  const clients = [];
  const client = async (nsp = "/") => {
    const socket = io(url + nsp, { forceNew: true, transports: ["websocket"] });
    clients.push(socket);
    await once(socket, "connect");
    return socket;
  };
  before(async () => {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    server = spawn(PROGRAM, ["--control", "--port", port], { stdio: "inherit" });
    process.once("exit", () => server.kill("SIGKILL"));
    for (let tries = 0; tries < 200 && server.exitCode === null; tries += 1) {
      if (await fetch(`${url}/health`).then((answer) => answer.ok, () => false)) break;
      await sleep(25);
    }
    control = await client("/control");
  });
  after(() => {
    for (const socket of clients) socket.close();
    server?.kill();
  });

  test("emits to rooms and without exceptions, bytes included", async () => {
    const [one, two] = [await client(), await client()];
    const heard = [];
    for (const socket of [one, two]) socket.on("news", (...args) => heard.push([socket, ...args]));
    assert.equal(await control.emitWithAck("sockets-join", { rooms: [one.id] }, ["a", "b"]), null);
    assert.equal(await control.emitWithAck("emit", { rooms: ["a"] }, "news", 1, { body: Buffer.from("x") }), null);
    assert.equal(await control.emitWithAck("emit", { except: ["b"] }, "news", 2), null);
    await Promise.all([one, two].map((socket) => socket.emitWithAck("message-with-ack")));
    assert.deepEqual(heard, [[one, 1, { body: Buffer.from("x") }], [two, 2]]);
  });

  test("gathers acks, sockets, counts and rooms", async () => {
    const nsp = "/dynamic-7";
    const [one, two] = [await client(nsp), await client(nsp)];
    one.on("ask", (what, answer) => answer(Buffer.from(what)));
    const of = (error, result) => [error, result];
    const ask = (...args) => new Promise((resolve) => control.emit(...args, (...answer) => resolve(of(...answer))));
    assert.deepEqual(await ask("emit-ack", { nsp, rooms: [one.id] }, "ask", "hi"), [null, [Buffer.from("hi")]]);
    assert.deepEqual(await ask("emit-ack", { nsp, flags: { timeout: 50 } }, "ask", "hi"), ["operation has timed out", [Buffer.from("hi")]]);
    await control.emitWithAck("sockets-join", { nsp, rooms: [two.id] }, ["kitchen"]);
    assert.deepEqual(await ask("count", { nsp }), [null, 2]);
    assert.deepEqual(await ask("rooms", { nsp }), [null, [one.id, two.id, "kitchen"].sort()]);
    const [error, [told]] = await ask("fetch-sockets", { nsp, rooms: ["kitchen"] });
    assert.equal(error, null);
    assert.deepEqual([told.id, told.rooms.sort(), told.data], [two.id, [two.id, "kitchen"].sort(), {}]);
    assert.equal(told.handshake.address, "127.0.0.1");
    assert.deepEqual(await ask("server-side-emit-ack", { nsp }, "anybody?"), [null, []]);
    const gone = once(two, "disconnect");
    assert.equal(await control.emitWithAck("disconnect-sockets", { nsp, rooms: ["kitchen"] }, true), null);
    await gone;
  });

  test("names what is wrong with a call", async () => {
    assert.match(await control.emitWithAck("emit", { nsp: "/nope" }, "news"), /expected a namespace of this node, got "\/nope"/);
    assert.match(await control.emitWithAck("sockets-join", {}, 5), /invalid type/);
  });
});
