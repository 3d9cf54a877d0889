// The parts of the preload by themselves: which calls of `listen` it takes, its msgpack beside another codec, and the mesh against what is no member.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import notepack from "notepack.io";
import { within } from "../harness/clients.mjs";
import { ROOT } from "../harness/target.mjs";

const require = createRequire(join(ROOT, "crates/supervisor/preload/preload.cjs"));
const BYTES = Buffer.from([0, 1, 2, 255]);

test("listen is taken for TCP ports of the app's choosing, and for nothing else", () => {
  const { wish } = require("./listen.cjs");
  for (const taken of [[3000], ["3000"], [3000, "::1"], [3000, () => {}], [3000, 511, () => {}], [{ port: 3000 }], [{ port: "3000", host: "127.0.0.1" }, () => {}], [3000, undefined, () => {}]]) {
    assert.equal(typeof wish(taken), "function", JSON.stringify(taken));
  }
  const others = [[], [0], ["0"], [() => {}], ["/run/app.sock"], [{ path: "/run/app.sock" }], [{ port: 0 }], [{ fd: 3 }], [{ port: 3000, fd: 3 }], [null], [70_000], [-1], ["3000x"], [{}]];
  for (const other of others) assert.equal(wish(other), undefined, JSON.stringify(other));
});

test("msgpack reads what it writes, what another codec writes, and is read by it", () => {
  const { encode, decode, hasBinary } = require("./msgpack.cjs");
  const numbers = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, -1, -32, -33, -128, -129, -32_768, -32_769, -(2 ** 31), -(2 ** 31) - 1, 2 ** 53 - 1, 1.5, -0.1, 1e-300];
  const texts = ["", "ü🐟", "x".repeat(31), "x".repeat(32), "x".repeat(256), "x".repeat(70_000)];
  const lists = [[], Array(15).fill(1), Array(16).fill(null), Array(70_000).fill(true)];
  const maps = [{}, { a: { b: [{ c: BYTES }] } }, Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, i]))];
  for (const value of [null, true, false, ...numbers, ...texts, ...lists, ...maps, BYTES, Buffer.alloc(300), Buffer.alloc(70_000)]) {
    assert.deepEqual(decode(encode(value)), value);
    assert.deepEqual(decode(Buffer.from(notepack.encode(value))), value);
    assert.deepEqual(notepack.decode(encode(value)), value);
  }
  assert.deepEqual(decode(encode({ date: new Date(0), none: undefined, call() {}, list: [undefined] })), { date: "1970-01-01T00:00:00.000Z", list: [null] });
  assert.deepEqual([hasBinary({ a: [BYTES.buffer] }), hasBinary({ a: [new Date(), "x", { toJSON: () => BYTES }] }), hasBinary([1, { a: null }])], [true, true, false]);
  const whole = encode({ a: [1, "x", BYTES, { b: -5 }] });
  for (let length = 0; length < whole.length; length += 1) assert.throws(() => decode(whole.subarray(0, length)), RangeError);
  for (const broken of [[0xc1], [0xdd, 255, 255, 255, 255], [0xdf, 255, 255, 255, 255], [0xc6, 255, 255, 255, 255], [1, 1], Array(1000).fill(0x91)]) assert.throws(() => decode(Buffer.from(broken)), RangeError);
  assert.equal(Object.getPrototypeOf(decode(Buffer.from([0x81, 0xa9, ...Buffer.from("__proto__"), 0x80]))), Object.prototype);
});

test("the mesh meets members, skips what is no message, and shuts out who is no member", async () => {
  const directory = mkdtempSync(join(tmpdir(), "sk-mesh-"));
  const code = `
    const mesh = require(${JSON.stringify(join(ROOT, "crates/supervisor/preload/mesh.cjs"))});
    mesh.on("message", (message) => process.send(message));
    mesh.join(${JSON.stringify(directory)}, "Node01").then(() => process.send("joined"));
    process.on("message", (message) => message === "leave" ? (mesh.leave(), process.disconnect()) : mesh.publish(message));`;
  const member = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const heard = [];
  let wake = () => {};
  member.on("message", (message) => (heard.push(message), wake()));
  const until = (what, holds) => within((async () => {
    while (!holds()) await new Promise((done) => (wake = done));
  })(), what);
  const back = [];
  const own = net.createServer((socket) => socket.on("data", (data) => (back.push(data.toString("latin1")), wake())).on("error", () => {}));
  await new Promise((done) => own.listen(join(directory, "Other1.sock"), done));
  const path = join(directory, "Node01.sock");
  const frame = (payload) => Buffer.concat([Buffer.from(new Uint32Array([payload.length]).buffer).reverse(), Buffer.from(payload)]);
  const sockets = [];
  const dial = (bytes) => {
    const socket = net.connect(path).on("error", () => {});
    sockets.push(socket);
    socket.gone = new Promise((done) => socket.once("close", done));
    socket.resume().write(bytes);
    return socket;
  };
  try {
    // Nobody has said hello there: it waits its second, and goes on.
    await until("joined", () => heard.includes("joined"));
    const strangers = ["GET / HTTP/1.1\r\n\r\n", frame("{}"), frame('{"mesh":2,"tag":"Other1","uid":"o"}'), frame('{"mesh":1,"tag":"Node01","uid":"o"}'), frame('{"mesh":1,"tag":"../../","uid":"o"}')].map(dial);
    await within(Promise.all(strangers.map((socket) => socket.gone)), "the strangers are shut out");

    const hello = frame(JSON.stringify({ mesh: 1, tag: "Other1", uid: "other", x: 1 }));
    const messages = [frame(""), frame("{"), frame([0xc1]), frame("null"), frame('{"type":3,"uid":"other","nsp":"/","data":{"n":1}}'), frame('{"type":3,"uid":"other","nsp":"/","data":{"n":2}}')];
    const socket = dial("");
    for (const byte of Buffer.concat([hello, ...messages])) socket.write(Buffer.from([byte]));
    await until("messages", () => heard.filter(({ data }) => data).length === 2);
    assert.deepEqual(heard.filter(({ data }) => data).map(({ data }) => data.n), [1, 2]);

    member.send({ type: 3, data: { here: "ü" }, nsp: "/" });
    await until("its hello and its message", () => back.join("").includes('"here":"Ã¼"'));
    assert.match(back.join(""), /^....\{"mesh":1,"tag":"Node01","uid":"[0-9a-f]{16}"\}/s);
    member.send("leave");
    await until("its leave", () => back.join("").includes('"type":13'));
    await within(new Promise((done) => member.once("close", done)), "the end of the member: nothing holds it");
    assert.deepEqual(readdirSync(directory), ["Other1.sock"]);
  } finally {
    member.kill("SIGKILL");
    for (const socket of sockets) socket.destroy();
    own.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
