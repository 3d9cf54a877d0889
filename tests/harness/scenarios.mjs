// What must hold for any set of connected clients of the `contract` app, however they travelled and wherever they live.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { ask, collect, next, untroubled, whereabouts } from "./clients.mjs";

/** All of them, on one set of clients. */
export async function contractHolds(sockets, { transport, workers }) {
  const homes = await travelledAsTold(sockets, transport);
  const byWorker = groupBy(sockets, (_, i) => homes[i].pid);
  assert.equal(byWorker.size, workers, "workers that serve somebody");
  const oneOfEach = [...byWorker.values()].map((there) => there[0]);
  await everyBroadcastReachesEveryone(sockets, oneOfEach);
  await acksAndBinaryComeBackWhole(oneOfEach);
  await roomsHoldAcrossWorkers(sockets, [...byWorker.values()]);
  untroubled(sockets);
}

/** Both ends agree on the transport, and it is the one that was asked for. */
export async function travelledAsTold(sockets, transport) {
  const homes = await whereabouts(sockets);
  const wanted = transport === "polling" ? "polling" : "websocket";
  for (const [i, socket] of sockets.entries()) {
    assert.equal(socket.io.engine.transport.name, wanted, "transport, as the client sees it");
    assert.equal(homes[i].transport, wanted, "transport, as the server sees it");
    assert.equal(homes[i].id, socket.id, "socket id on both ends");
  }
  return homes;
}

export async function everyBroadcastReachesEveryone(sockets, senders) {
  const texts = collect(sockets, "broadcast");
  for (const sender of senders) sender.emit("broadcast", { from: sender.id });
  for (const box of await texts.reach(senders.length)) {
    assert.deepEqual(box.map(([x]) => x.from).sort(), senders.map((sender) => sender.id).sort());
  }
  const bytes = randomBytes(300);
  const binary = collect(sockets, "broadcast");
  for (const sender of senders) sender.emit("broadcast", { deep: [1, { bytes }] });
  for (const box of await binary.reach(senders.length)) {
    for (const [x] of box) assert.deepEqual(x, { deep: [1, { bytes }] });
  }
  const others = collect(sockets, "broadcast-others");
  for (const sender of senders) sender.emit("broadcast-others", sender.id);
  const boxes = await others.reach(sockets.map((socket) => senders.length - (senders.includes(socket) ? 1 : 0)));
  boxes.forEach((box, i) => assert.ok(box.every(([from]) => from !== sockets[i].id), "a sender is left out of its own"));
}

export async function acksAndBinaryComeBackWhole(sockets) {
  const rows = [
    [1, "2", { 3: ["4", null, true] }],
    ["ünïcødé \u{1F41F} \u2028 \x1e"],
    [Buffer.from([1, 2, 3])],
    [{ a: Buffer.from([0, 255]), b: [Buffer.alloc(0), { c: Buffer.from("x".repeat(5000)) }] }, "tail"],
    [randomBytes(100_000), randomBytes(1), "text between", randomBytes(70_000)],
    ["x".repeat(200_000)],
  ];
  for (const socket of sockets) {
    for (const row of rows) {
      const back = next(socket, "message-back");
      socket.emit("message", ...row);
      assert.deepEqual(await back, row, "message-back");
      const said = await ask(socket, "message-with-ack", ...row);
      assert.deepEqual(row.length > 1 ? said : [said], row, "ack");
    }
    socket.once("question", (x, answer) => answer({ heard: x }));
    const x = { bytes: randomBytes(10) };
    assert.deepEqual(await ask(socket, "ask", x), { heard: x }, "the server's own ack");
  }
}

/** One client of every worker joins a room; what any of them says there reaches these and nobody else. */
export async function roomsHoldAcrossWorkers(sockets, groups) {
  const room = `room ${randomBytes(4).toString("hex")}`;
  const members = groups.map((there) => there.at(-1));
  await Promise.all(members.map((member) => ask(member, "join", room)));
  assert.deepEqual((await ask(members[0], "rooms")).sort(), [members[0].id, room].sort());
  const heard = collect(sockets, "room");
  const outsider = sockets.find((socket) => !members.includes(socket)) ?? members[0];
  outsider.emit("room", room, { bytes: Buffer.from("to the room") });
  members[0].emit("room", room, "again");
  await heard.reach(sockets.map((socket) => (members.includes(socket) ? 2 : 0)));
  await Promise.all(members.map((member) => ask(member, "leave", room)));
  assert.deepEqual(await ask(members[0], "rooms"), [members[0].id]);
}

function groupBy(items, key) {
  const groups = new Map();
  items.forEach((item, i) => groups.set(key(item, i), [...(groups.get(key(item, i)) ?? []), item]));
  return groups;
}
