// What clients of several copies of an app (tests/apps/handlers.cjs) must see, wherever they are connected.

import assert from "node:assert/strict";
import { ask, closeAll, collect, connect, connected, next, TRANSPORTS } from "./clients.mjs";

export const BYTES = Buffer.from([0, 1, 2, 255]);

/** What one client says to all reaches each of them once, as it was said. */
export async function reaches(sockets, ...args) {
  const heard = collect(sockets, "said");
  sockets[0].emit("say", ...args);
  // With recovery there is an offset at the end, as officially.
  for (const [got] of await heard.reach(1)) assert.deepEqual(got.slice(0, args.length), args);
}

/** Everything of socket.io that spans copies, as far as a version has it: `can` says what. */
export async function spans(url, can, instances) {
  const kinds = Object.keys(TRANSPORTS);
  const sockets = await Promise.all(Array.from({ length: 12 }, (_, i) => connect(url, kinds[i % 3])));
  const [first] = sockets;
  const half = sockets.filter((_, i) => i % 2);
  const counts = (member) => sockets.map((socket) => (member(socket) ? 1 : 0));
  try {
    for (const socket of half) await ask(socket, "join", "half");
    let heard = collect(sockets, "said");
    first.emit("to", "half", "to half");
    await heard.reach(counts((socket) => half.includes(socket)));
    heard = collect(sockets, "said");
    first.emit("others", "not me");
    await heard.reach(counts((socket) => socket !== first));
    heard = collect(sockets, "said");
    first.emit("to", sockets[5].id, "to one");
    await heard.reach(counts((socket) => socket === sockets[5]));
    assert.deepEqual(new Set(await ask(first, "all")), new Set(sockets.map(({ id }) => id)));
    if (can.sockets) await remoteSockets(sockets, half, counts);
    if (can.acks) {
      // Stock parsers take 10 binary parts a packet.
      sockets.forEach((socket, i) => socket.on("question", (ack) => ack(i < 4 ? { i, BYTES } : { i })));
      const { error, answers } = await ask(first, "count");
      assert.equal(error, undefined);
      assert.deepEqual(answers.map(({ i }) => i).sort((a, b) => a - b), sockets.map((_, i) => i));
      assert.deepEqual(answers.map(({ BYTES }) => BYTES).filter(Boolean), Array(4).fill(BYTES));
    }
    if (can.servers) {
      const { error, answers } = await ask(first, "servers", BYTES);
      assert.equal(error, undefined);
      assert.deepEqual([answers.length, answers[0].x], [instances - 1, BYTES]);
    }
  } finally {
    closeAll(sockets);
  }
}

async function remoteSockets(sockets, half, counts) {
  const [first] = sockets;
  const data = { name: "ü", BYTES };
  await ask(sockets[3], "data", data);
  const found = await ask(first, "fetch", "half");
  assert.deepEqual(new Set(found.map(({ id }) => id)), new Set(half.map(({ id }) => id)));
  const one = found.find(({ id }) => id === sockets[3].id);
  assert.deepEqual({ ...one, rooms: one.rooms.sort() }, { id: sockets[3].id, rooms: [sockets[3].id, "half"].sort(), data: one.data, address: "127.0.0.1" });
  // socket.data is there since 4.0, and shown by fetchSockets with it.
  assert.deepEqual(one.data, data);

  first.emit("gather", "half", "more");
  await untilFetched(first, "more", 6);
  const heard = collect(sockets, "said");
  first.emit("to", "more", "to more");
  await heard.reach(counts((socket) => half.includes(socket)));
  first.emit("scatter", "more");
  await untilFetched(first, "more", 0);

  const last = sockets.at(-1);
  const gone = next(last, "disconnect");
  first.emit("kick", last.id);
  await gone;
  last.off("disconnect").connect();
  await connected(last);
}

async function untilFetched(socket, room, count) {
  for (let tries = 0; (await ask(socket, "fetch", room)).length !== count; tries += 1) assert.ok(tries < 1000, `${room} never has ${count}`);
}
