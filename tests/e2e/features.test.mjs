// What the contract leaves out, a feature a test, by stock clients of Socket.IO 4, 3 and 2 and with the msgpack parser, on one worker.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import v4 from "socket.io-client";
import v2 from "socket.io-client-v2";
import v3 from "socket.io-client-v3";
import parser from "socket.io-msgpack-parser";
import { ask, closeAll, connected, next, TRANSPORTS, upgraded, within } from "../harness/clients.mjs";
import { up } from "../harness/target.mjs";
import { eventually } from "../harness/waiting.mjs";

for (const [kind, app, io, options] of [
  ["Socket.IO 4", "features", v4, {}],
  ["Socket.IO 3", "features", v3, {}],
  ["Socket.IO 2", "features", v2, {}],
  ["Socket.IO 4 with msgpack", "msgpack", v4, { parser }],
]) {
  for (const transport of Object.keys(TRANSPORTS)) {
    describe(`a client of ${kind} (${transport})`, () => {
      let target;
      let one;
      let two;
      let three;
      before(async () => {
        target = await up({ app });
        [one, two, three] = await Promise.all(Array.from({ length: 3 }, () => entered()));
      });
      after(async () => {
        closeAll([one, two, three]);
        await target?.stop();
      });

      test("`send` is the event `message`", async () => {
        const back = next(one, "message");
        one.send("a", { b: [Buffer.from([1])] });
        assert.deepEqual(inBytes(await back), ["a", { b: [Buffer.from([1])] }]);
      });

      test("a broadcast is for the union of its rooms, each client once, less the exceptions", async () => {
        await ask(one, "join", ["r1", "r2"]);
        await ask(two, "join", ["r2", "r3"]);
        await ask(three, "join", ["r3", "quiet"]);
        for (const [event, to, except, hearers] of [
          ["say", [], [], [one, two, three]],
          ["say", ["r1", "r2"], [], [one, two]],
          ["say", ["r1", "r2", "r3"], ["quiet"], [one, two]],
          ["say", [], ["r2"], [three]],
          ["say", ["nobody"], [], []],
          ["say-others", [], [], [two, three]],
          ["say-others", ["r2", "r3"], ["quiet"], [two]],
          ["say-others", ["r1"], [], []],
        ]) {
          assert.deepEqual(await heardBy(() => one.emit(event, to, except, "x", Buffer.from("b"))), names(hearers), `${event} ${to} ${except}`);
        }
        await ask(two, "leave", "r2");
        assert.deepEqual(await heardBy(() => one.emit("say", ["r2"], [], "x")), ["one"]);
      });

      test("`local` and `volatile` reach whoever can take them", async () => {
        const everybody = ["one", "two", "three"];
        assert.deepEqual(await heardBy(() => one.emit("say-here", "x")), everybody);
        // Who polls can take it while a poll hangs: it is said until it met all of them at rest.
        await eventually(async () => isDeepStrictEqual(await heardBy(() => one.emit("say-volatile", "x")), everybody));
      });

      test("the server asks one client, and waits no longer than it said", async () => {
        one.once("question", (answer) => answer({ yes: true }));
        assert.deepEqual(await ask(one, "ask-within", 10_000), { said: { yes: true } });
        assert.deepEqual(await ask(one, "ask-within", 50), { error: "operation has timed out" });
      });

      test("the server asks all of a room, and tells who did not answer from who did", async () => {
        await Promise.all([one, two, three].map((socket) => ask(socket, "join", ["voters"])));
        for (const socket of [one, two]) socket.on("question", (...args) => args.pop()(named(socket)));
        const some = await ask(three, "ask-room", "voters", 500);
        assert.deepEqual([some.said.sort(), some.timedOut], [["one", "two"], true]);
        three.on("question", (...args) => args.pop()("three"));
        const all = await ask(three, "ask-room", "voters", 10_000);
        assert.deepEqual([all.said.sort(), all.timedOut], [["one", "three", "two"], false]);
        for (const socket of [one, two, three]) socket.off("question");
        assert.deepEqual(await ask(one, "ask-room", "nobody", 10_000), { said: [], timedOut: false });
      });

      test("a question and its answers may be bytes", async () => {
        await Promise.all([one, two].map((socket) => ask(socket, "join", ["bytes"])));
        const asked = Buffer.from([0, 1, 255]);
        for (const socket of [one, two]) socket.once("question", (room, bytes, answer) => answer(bytes));
        assert.deepEqual(inBytes(await ask(one, "ask-room-bytes", "bytes", asked)), [asked, asked]);
      });

      test("sockets are fetched with rooms and data, and spoken to", async () => {
        await ask(one, "join", ["fetched"]);
        await ask(two, "join", ["fetched"]);
        await ask(one, "set-data", { name: "ü" });
        const found = await ask(three, "fetch", "fetched");
        const mine = found.find((socket) => socket.id === one.id);
        assert.deepEqual(found.map((socket) => socket.id).sort(), [one.id, two.id].sort());
        assert.ok(mine.rooms.includes(one.id) && mine.rooms.includes("fetched"));
        assert.deepEqual(mine.data, { name: "ü" });
        assert.deepEqual(await heardBy(() => three.emit("tell-each", "fetched", "you")), ["one", "two"]);
      });

      test("sockets are made to join and to leave", async () => {
        await ask(one, "join", ["from"]);
        three.emit("sockets-join", "from", "to");
        assert.deepEqual(await heardBy(() => three.emit("say", ["to"], [], "x")), ["one"]);
        three.emit("sockets-leave", "from", "to");
        assert.deepEqual(await heardBy(() => three.emit("say", ["to"], [], "x")), []);
      });

      test("who leaves is in its rooms until it has left, and whoever sends it away chooses how", async () => {
        await ask(three, "join", ["watch"]);
        for (const [close, word] of [[false, "server namespace disconnect"], [true, "server namespace disconnect"], [undefined, "client namespace disconnect"]]) {
          const leaver = await entered();
          await ask(leaver, "join", ["last room"]);
          const { id } = leaver;
          const leaving = next(three, "leaving");
          const here = next(leaver, "disconnect");
          if (close === undefined) leaver.disconnect();
          else three.emit("disconnect-sockets", "last room", close);
          assert.deepEqual(await leaving, [{ id, rooms: [id, "last room"].sort(), reason: word }]);
          assert.equal((await here)[0], close === undefined ? "io client disconnect" : "io server disconnect");
          closeAll([leaver]);
        }
        await ask(three, "leave", "watch");
      });

      test("listeners of everything hear what comes in and what goes out", async () => {
        const heard = [next(one, "any-in"), next(one, "any-out"), next(two, "any-went-out")];
        one.emit("any", 1, "two");
        assert.deepEqual(await Promise.all(heard), [[1, "two"], [1, "two"], [1, "two"]]);
      });

      test("a guard of events refuses one and the rest goes on", async () => {
        const refused = next(one, "refused");
        one.emit("forbidden", 1);
        assert.deepEqual(await refused, ["not you"]);
      });

      test("rooms begin and end in the official order", async () => {
        const seen = [];
        three.on("room", (...what) => seen.push(what.join(" ")));
        await ask(three, "join", ["watch"]);
        await ask(one, "join", ["seen a"]);
        await ask(two, "join", ["seen a"]);
        await ask(one, "leave", "seen a");
        await ask(two, "leave", "seen a");
        await ask(three, "leave", "watch");
        const order = ["create-room", "join-room", "join-room", "leave-room", "leave-room", "delete-room"];
        assert.deepEqual(seen, order.map((what) => `${what} seen a`));
        three.off("room");
      });

      test("namespaces begin by a pattern and by a function's word, once more after they were empty", async () => {
        const query = io === v2 ? "?token=member" : "";
        const begun = [];
        two.on("namespace", (name) => begun.push(name));
        for (let round = 1; round <= 2; round += 1) {
          const [room, same, other] = await Promise.all(["/room-1", "/room-1", "/room-2"].map((name) => entered(name)));
          const [here, elsewhere] = [[room, same].map((socket) => next(socket, "said")), []];
          other.on("said", (...args) => elsewhere.push(args));
          room.emit("say", "here");
          assert.deepEqual(await Promise.all(here), [["here"], ["here"]]);
          const all = [room, same, other].map((socket) => next(socket, "said"));
          room.emit("say-to-all-rooms", "everywhere");
          assert.deepEqual(await Promise.all(all), [["everywhere"], ["everywhere"], ["everywhere"]]);
          assert.deepEqual(elsewhere, [["everywhere"]]);
          const team = await entered(`/team/a${query}`, { auth: { token: "member" } });
          const back = next(team, "said");
          team.emit("say", 1);
          assert.deepEqual(await back, [1]);
          closeAll([room, same, other, team]);
          await ask(two, "set-data", {});
          for (const deadline = Date.now() + 5000; begun.length < 3 * round && Date.now() < deadline; ) await sleep(5);
          await sleep(50); // The empty ones end.
        }
        assert.deepEqual(begun.sort(), ["/room-1", "/room-1", "/room-2", "/room-2", "/team/a", "/team/a"]);
        two.off("namespace");
        for (const name of ["/team/a", "/elsewhere"]) {
          const lost = socketOf(name);
          const [error] = await next(lost, io === v2 ? "error" : "connect_error");
          assert.equal(error.message ?? error, "Invalid namespace", name);
          closeAll([lost]);
        }
      });

      if (transport === "websocket") {
        test("a client that does not read loses volatile events and nothing else", async () => {
          const socket = await entered();
          const heard = [];
          socket.on("flood", (number) => heard.push(number));
          const tcp = socket.io.engine.transport.ws._socket;
          const flooded = next(socket, "flooded");
          socket.emit("volatile-flood", 2_000, "x".repeat(20_000));
          await sleep(0);
          tcp.pause();
          while ((await ask(two, "fetch", "flooded")).length === 0) await sleep(10);
          tcp.resume();
          assert.deepEqual(await flooded, [2_000]);
          assert.ok(heard.length > 0 && heard.length < 2_000, `${heard.length} of 2000`);
          assert.deepEqual(heard, heard.toSorted((a, b) => a - b));
          closeAll([socket]);
        });
      }

      if (io === v4 && app === "features" && transport !== "default") {
        test("a handler waits ten seconds for its own client, which goes on talking: no ping is missed", async () => {
          const socket = await entered();
          const troubles = [];
          socket.on("disconnect", (reason) => troubles.push(reason));
          const late = Date.now() + 10_000;
          let asked;
          socket.once("question", (answer) => (asked = answer));
          const said = ask(socket, "ask-within", 15_000);
          let sent = 0;
          for (; Date.now() < late; sent += 1) {
            socket.emit("say", ["nobody"], [], sent);
            await sleep(50);
          }
          asked("at last");
          assert.deepEqual(await said, { said: "at last" });
          await ask(socket, "set-data", {});
          assert.deepEqual(troubles, []);
          closeAll([socket]);
        });
      }

      /** A client that has said hello and is where it should be. */
      async function entered(name = "", more = {}) {
        const socket = socketOf(name, more);
        await connected(socket);
        if (transport === "default") await upgraded(socket);
        return socket;
      }

      function socketOf(name, more = {}) {
        return io(`${target.url}${name}`, { ...TRANSPORTS[transport], forceNew: true, reconnection: false, ...options, ...more });
      }

      /** Who hears `said` in consequence: what was said before another ask is delivered when that is answered. */
      async function heardBy(act) {
        const heard = [];
        const sockets = [one, two, three];
        for (const socket of sockets) socket.on("said", () => heard.push(socket));
        act();
        // One after the other, so that all of it was said by whoever acts, and then delivered to each.
        for (const socket of [...sockets, ...sockets]) await within(new Promise((resolve) => socket.emit("set-data", {}, resolve)), "an ack");
        for (const socket of sockets) socket.off("said");
        return names(sockets.filter((socket) => heard.includes(socket)), heard);
      }

      function names(sockets, heard = sockets) {
        assert.equal(heard.length, new Set(heard).size, "each hears it once");
        return sockets.map(named);
      }

      function named(socket) {
        return ["one", "two", "three"][[one, two, three].indexOf(socket)];
      }
    });
  }
}

/** Bytes of any kind as a Buffer. */
function inBytes(x) {
  if (x instanceof ArrayBuffer || ArrayBuffer.isView(x)) return Buffer.from(x.buffer ?? x, x.byteOffset, x.byteLength);
  if (Array.isArray(x)) return x.map(inBytes);
  return x && typeof x === "object" ? Object.fromEntries(Object.entries(x).map(([key, y]) => [key, inBytes(y)])) : x;
}
