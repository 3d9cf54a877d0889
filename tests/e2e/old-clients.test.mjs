// Stock clients of Socket.IO 2 and 3, and stock clients with another parser, every way they can travel.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import v4 from "socket.io-client";
import v2 from "socket.io-client-v2";
import v3 from "socket.io-client-v3";
import parser from "socket.io-msgpack-parser";
import { ask, closeAll, connected, next, TRANSPORTS, upgraded, within } from "../harness/clients.mjs";
import { conformance } from "../harness/target.mjs";

/** As the suites' server pings: long enough for three of them. */
const SEVERAL_PINGS_MS = 1200;

const VALUES = [1, "2€🦀", { 3: [true, null], "\u2028": "\x1e" }];
const BYTES = Buffer.from([0, 1, 2, 4, 255]);

describe("a server with allowEIO3", () => {
  everyClientIsServed(["--allow-eio3"], [
    ["2", v2, {}],
    ["2 that takes no bytes", v2, { forceBase64: true }],
    ["3", v3, {}],
    ["4", v4, {}],
  ]);
});

describe("a server with the msgpack parser", () => {
  everyClientIsServed(["--msgpack"], [
    ["3", v3, { parser }],
    ["4", v4, { parser }],
    ["4 that takes no bytes", v4, { parser, forceBase64: true }],
  ]);
});

describe("a server without allowEIO3", () => {
  let target;
  before(async () => (target = await conformance()));
  after(() => target?.stop());

  test("a client of Socket.IO 2 hears why it is refused", async () => {
    const answer = await fetch(`${target.url}/socket.io/?EIO=3&transport=polling`);
    assert.equal(answer.status, 400);
    assert.equal(await answer.text(), '{"code":5,"message":"Unsupported protocol version"}');
  });

  test("a client of Socket.IO 3 is served", async () => {
    const socket = open(v3, target.url, "default", {});
    try {
      await connected(socket);
      await upgraded(socket);
    } finally {
      closeAll([socket]);
    }
  });
});

describe("the bytes of Engine.IO v3", () => {
  let target;
  before(async () => (target = await conformance({ args: ["--allow-eio3"] })));
  after(() => target?.stop());

  test("a JSONP client gets scripts and posts forms", async () => {
    const url = `${target.url}/socket.io/?EIO=3&transport=polling&b64=1&j=7`;
    const [opening, type] = await get(url);
    assert.equal(type, "text/plain; charset=UTF-8");
    const [, length, json] = /^___eio\[7\]\("(\d+):0(.*)"\);$/.exec(opening);
    assert.equal(Number(length), 1 + JSON.parse(`"${json}"`).length);
    const { sid } = JSON.parse(JSON.parse(`"${json}"`));
    const session = `${url}&sid=${sid}`;
    assert.match(await untilAuth(session), /^___eio\[7\]\("2:40/);
    const body = new URLSearchParams({ d: '20:42["message","a\\\\n€"]' });
    const posted = await fetch(session, { method: "POST", body });
    assert.deepEqual([posted.status, posted.headers.get("content-type"), await posted.text()], [200, "text/html", "ok"]);
    assert.equal((await get(session))[0], '___eio[7]("25:42[\\"message-back\\",\\"a\\\\n€\\"]");');
  });

  test("bytes travel as bytes where the client takes them, else as base64", async () => {
    for (const [b64, type, expected] of [
      ["", "application/octet-stream", '00 05 00 ff 451-["message-back",{"_placeholder":true,"num":0}] 01 04 ff 04 01 02 03'],
      ["&b64=1", "text/plain; charset=UTF-8", '50:451-["message-back",{"_placeholder":true,"num":0}]6:b4AQID'],
    ]) {
      const url = `${target.url}/socket.io/?EIO=3&transport=polling${b64}`;
      const { sid } = JSON.parse((await get(url))[0].replace(/^\d+:0/, ""));
      const session = `${url}&sid=${sid}`;
      assert.match(await untilAuth(session), /^2:40/);
      const body = '45:451-["message",{"_placeholder":true,"num":0}]6:b4AQID';
      assert.equal(await (await fetch(session, { method: "POST", body })).text(), "ok");
      const answer = await fetch(session);
      const bytes = Buffer.from(await answer.arrayBuffer());
      assert.equal(answer.headers.get("content-type"), type);
      assert.deepEqual(bytes, b64 ? Buffer.from(expected) : spelled(expected));
    }
  });
});

/** Every way of travelling, for clients of every make. */
function everyClientIsServed(args, clients) {
  let target;
  before(async () => (target = await conformance({ args })));
  after(() => target?.stop());

  for (const [version, io, options] of clients) {
    for (const transport of Object.keys(TRANSPORTS)) {
      test(`a client of Socket.IO ${version} (${transport}) says and hears everything`, async () => {
        const socket = open(io, target.url, transport, options);
        const custom = open(socket.io, "/custom?token=x", transport, { auth: { token: "x" } });
        let why;
        socket.on("disconnect", (reason) => (why = reason));
        try {
          const auth = next(socket, "auth");
          await connected(socket);
          assert.deepEqual(await auth, [{}]);
          assert.ok(socket.id, "it has an id");
          if (transport === "default") await upgraded(socket);
          await everythingComesBack(socket);
          await within(new Promise((resolve) => setTimeout(resolve, SEVERAL_PINGS_MS)), "several pings");
          await everythingComesBack(socket);
          assert.equal(why, undefined);
        } finally {
          closeAll([custom, socket]);
        }
      });
    }

    test(`a client of Socket.IO ${version} enters a namespace with its credentials, and is told where there is none`, async () => {
      const socket = open(io, target.url, "default", options);
      try {
        await connected(socket);
        const query = io === v2 ? "?token=x%20y" : "";
        const custom = open(socket.io, `/custom${query}`, "default", { auth: { token: "x y" } });
        assert.deepEqual(await next(custom, "auth"), [{ token: "x y" }]);
        const left = new Promise((resolve) => custom.once("disconnect", resolve));
        custom.disconnect();
        assert.equal(await within(left, "disconnect"), "io client disconnect");
        const nowhere = open(socket.io, "/nowhere", "default", {});
        const refused = new Promise((resolve) => nowhere.once(io === v2 ? "error" : "connect_error", resolve));
        const error = await within(refused, "refusal");
        assert.equal(error.message ?? error, "Invalid namespace");
      } finally {
        closeAll([socket]);
      }
    });
  }
}

async function everythingComesBack(socket) {
  const back = next(socket, "message-back");
  socket.emit("message", ...VALUES);
  assert.deepEqual(await back, VALUES);
  const bytes = next(socket, "message-back");
  socket.emit("message", BYTES, { deep: [BYTES] });
  const [one, { deep }] = await bytes;
  assert.deepEqual([Buffer.from(one), Buffer.from(deep[0])], [BYTES, BYTES]);
  assert.deepEqual(await ask(socket, "message-with-ack", ...VALUES), VALUES);
  const [word, acked] = await ask(socket, "message-with-ack", "x", BYTES);
  assert.deepEqual([word, Buffer.from(acked)], ["x", BYTES]);
}

/** A client of any make; `from` is its function or the manager of an open connection. */
function open(from, address, transport, options) {
  if (typeof from === "function") {
    return from(address, { ...TRANSPORTS[transport], forceNew: true, reconnection: false, ...options });
  }
  return from.socket(address.replace(/\?.*/, ""), { query: address.split("?")[1] ?? "", ...options });
}

/** Polls until the server's greeting is there; it may come in one answer or in two. */
async function untilAuth(session) {
  let heard = "";
  while (!heard.includes("auth")) heard += (await get(session))[0];
  return heard;
}

async function get(url) {
  const answer = await fetch(url);
  return [await answer.text(), answer.headers.get("content-type")];
}

/** Bytes as two digits each, and texts as they are, apart by spaces. */
function spelled(text) {
  return Buffer.concat(text.split(" ").map((part) => (/^[0-9a-f]{2}$/.test(part) ? Buffer.from(part, "hex") : Buffer.from(part))));
}
