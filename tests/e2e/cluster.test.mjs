// The features that reach over workers: clients of one hear, answer and are moved by clients of another. As text and as msgpack.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import parser from "socket.io-msgpack-parser";
import { ask, closeAll, connect, next } from "../harness/clients.mjs";
import { CLUSTER_ONLY, up } from "../harness/target.mjs";

const WORKERS = 3;
const BYTES = Buffer.from([0, 1, 2, 127, 128, 255]);

for (const [app, options] of [["features", {}], ["msgpack", { parser }]]) {
  describe(`${WORKERS} workers with the app ${app}`, { skip: CLUSTER_ONLY }, () => {
    let target;
    let sockets;
    let homes;
    let one;
    let elsewhere;
    before(async () => {
      target = await up({ app, workers: WORKERS });
      sockets = await Promise.all(Array.from({ length: 4 * WORKERS }, () => connect(target.url, "websocket", options)));
      homes = new Set(sockets.map(home));
      assert.equal(homes.size, WORKERS, "every worker has clients");
      one = sockets[0];
      elsewhere = sockets.filter((socket) => home(socket) !== home(one));
    });
    after(async () => {
      closeAll(sockets ?? []);
      await target?.stop();
    });

    test("a broadcast with text, numbers and bytes reaches the clients of all workers", async () => {
      const sent = [{ text: "ü\u{1F41F}", n: [1, -1, 1.5, 2 ** 40, null, true], bytes: BYTES, deep: [{ BYTES }] }, "tail"];
      const heard = sockets.map((socket) => next(socket, "said"));
      one.emit("say", [], [], ...sent);
      for (const said of await Promise.all(heard)) assert.deepEqual(said, sent);
    });

    test("rooms and exceptions hold across workers, and `local` stays at home", async () => {
      await Promise.all(sockets.map((socket) => ask(socket, "join", ["all", `at ${home(socket)}`])));
      const away = [...homes].filter((tag) => tag !== home(one));
      for (const [event, args, hears] of [
        ["say", [[`at ${away[0]}`], [], BYTES], (socket) => home(socket) === away[0]],
        ["say", [["all"], [`at ${away[0]}`], "x"], (socket) => home(socket) !== away[0]],
        ["say-others", [["all"], [], "x"], (socket) => socket !== one],
        ["say-here", ["x"], (socket) => home(socket) === home(one)],
        ["say-volatile", [BYTES], () => true],
      ]) {
        assert.deepEqual(await heardBy(() => one.emit(event, ...args)), sockets.filter(hears).map((socket) => socket.id), `${event} ${args}`);
      }
    });

    test("a question to a room is answered from every worker, with what is missing told", async () => {
      await Promise.all(elsewhere.map((socket) => ask(socket, "join", ["voters"])));
      for (const socket of elsewhere.slice(1)) socket.on("question", (...args) => args.pop()(socket.id));
      const some = await ask(one, "ask-room", "voters", 500);
      assert.deepEqual([some.said.sort(), some.timedOut], [ids(elsewhere.slice(1)), true]);
      elsewhere[0].on("question", (...args) => args.pop()(elsewhere[0].id));
      const all = await ask(one, "ask-room", "voters", 20_000);
      assert.deepEqual([all.said.sort(), all.timedOut], [ids(elsewhere), false]);
      for (const socket of elsewhere) socket.off("question").on("question", (room, bytes, answer) => answer(bytes));
      const bytes = await ask(one, "ask-room-bytes", "voters", BYTES);
      assert.deepEqual(bytes, elsewhere.map(() => BYTES));
      for (const socket of elsewhere) socket.off("question");
    });

    test("sockets of all workers are fetched with rooms and data, and spoken to one by one", async () => {
      await Promise.all(sockets.map((socket, i) => ask(socket, "set-data", { i, name: "ü" })));
      await Promise.all(sockets.map((socket) => ask(socket, "join", ["fetched"])));
      const found = await ask(one, "fetch", "fetched");
      assert.deepEqual(found.map((socket) => socket.id).sort(), ids(sockets));
      for (const { id, data, rooms } of found) {
        assert.deepEqual(data, { i: sockets.findIndex((socket) => socket.id === id), name: "ü" });
        assert.ok(rooms.includes(id) && rooms.includes("fetched"));
      }
      assert.deepEqual(await heardBy(() => one.emit("tell-each", "fetched", "you")), sockets.map((socket) => socket.id));
    });

    test("sockets of other workers are made to join and to leave", async () => {
      await Promise.all(elsewhere.map((socket) => ask(socket, "join", ["from"])));
      one.emit("sockets-join", "from", "to");
      assert.deepEqual(await heardBy(() => one.emit("say", ["to"], [], "x")), elsewhere.map((socket) => socket.id));
      one.emit("sockets-leave", "from", "to");
      assert.deepEqual(await heardBy(() => one.emit("say", ["to"], [], "x")), []);
    });

    test("servers speak to the other servers, and are answered by each", async () => {
      const hears = (socket) => home(socket) !== home(one);
      assert.deepEqual(await heardBy(() => one.emit("server-side-emit", { n: 1 }), "hello"), sockets.filter(hears).map((socket) => socket.id));
      assert.deepEqual(await ask(one, "server-side-ask", "ü"), Array.from({ length: WORKERS - 1 }, () => ({ heard: "ü" })));
    });

    test("sockets of other workers are sent away, and their rooms hear of it first", async () => {
      const [watcher, leaver] = [one, elsewhere[0]];
      await ask(watcher, "join", ["watch"]);
      await ask(leaver, "join", ["last room"]);
      const [leaving, gone, { id }] = [next(watcher, "leaving"), next(leaver, "disconnect"), leaver];
      one.emit("disconnect-sockets", "last room", true);
      const [told] = await leaving;
      assert.deepEqual([told.id, told.reason, told.rooms.includes("last room")], [id, "server namespace disconnect", true]);
      assert.equal((await gone)[0], "io server disconnect");
    });

    /** The ids of those who hear an event in consequence; each hears it once. */
    async function heardBy(act, event = "said") {
      const heard = [];
      for (const socket of sockets) socket.on(event, () => heard.push(socket.id));
      act();
      await ask(one, "set-data", {});
      // Workers speak to each other in order: what was asked later is answered later.
      await ask(one, "fetch", "nobody");
      await Promise.all(sockets.map((socket) => ask(socket, "set-data", {})));
      for (const socket of sockets) socket.off(event);
      assert.equal(heard.length, new Set(heard).size, "each hears it once");
      return sockets.filter((socket) => heard.includes(socket.id)).map((socket) => socket.id);
    }
  });
}

/** Who has the socket: its id begins with its worker's tag. */
function home(socket) {
  return socket.id.slice(0, 6);
}

function ids(sockets) {
  return sockets.map((socket) => socket.id).sort();
}
