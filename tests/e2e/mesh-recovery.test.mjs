// Clients of a mesh that go on at a process which was not there when their session began: it asks the others. All processes speak, text
// and bytes, to rooms, to all and to single sockets.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { switchable } from "../harness/balancer.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { binary, REFERENCE } from "../harness/target.mjs";

const ROUNDS = 200;
const CLIENTS = 4;
const PATIENCE_MS = 30_000;
const args = ["--recovery"];
const built = existsSync(binary("conformance")) ? false : "conformance is not built";

describe("sessions on a mesh", { skip: (REFERENCE && "the nodes are ours") || built }, () => {
  let directory;
  let nodes;
  let sockets;
  let proxy;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sk-mesh-"));
    [nodes, sockets, proxy] = [[], [], undefined];
  });
  afterEach(async () => {
    for (const socket of sockets) socket.close();
    await proxy?.stop();
    await Promise.all(nodes.map((node) => node.stop("SIGKILL").catch(() => {})));
    rmSync(directory, { recursive: true, force: true });
  });

  const node = async () => {
    const started = await sockeye(`mesh:${directory}/mesh`, { args });
    nodes.push(started);
    return started;
  };

  for (const signal of ["SIGTERM", "SIGKILL"]) {
    test(`what three processes say comes once and in order, also by a fourth one that came later, after ${signal}`, async () => {
      const [owner, two, three] = [await node(), await node(), await node()];
      proxy = await switchable(owner.port);
      sockets = await Promise.all(Array.from({ length: CLIENTS }, (_, n) => enter(proxy.url, n % 2 ? "polling" : "websocket")));
      const ids = sockets.map(({ id }) => id);
      await two.do("sockets-join", { rooms: ids }, ["room"]);
      await eventually(async () => (await three.ask("count", { rooms: ["room"] }))[1] === CLIENTS);
      let speakers = [owner, two, three];
      const said = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        if (round === ROUNDS / 4) {
          // What the owner has said stands at the others before it ends.
          await eventually(() => sockets.every((socket) => socket.heard.length === said.length));
          speakers = [two, three];
          proxy.target = undefined;
          const ended = owner.stop(signal);
          nodes = nodes.filter((other) => other !== owner);
          const later = await node();
          speakers.push(later);
          await ended;
        }
        for (const [index, speaker] of speakers.entries()) {
          const number = `${index}-${round}`;
          const rooms = [["room"], [], ids][round % 3];
          said.push(number);
          await speaker.do("emit", { rooms }, "number", number, Buffer.from([round]));
          await speaker.do("emit", { rooms: ["elsewhere"] }, "number", "not for them");
        }
        if (round === ROUNDS / 2) proxy.target = nodes.at(-1).port;
      }
      await eventually(() => sockets.every((socket) => socket.heard.length >= said.length));
      await sleep(100); // For what should not come.
      for (const socket of sockets) {
        for (const speaker of ["0", "1", "2"]) {
          const from = (all) => all.filter((number) => number.startsWith(`${speaker}-`));
          assert.deepEqual(from(socket.heard), from(said));
        }
        assert.deepEqual([ids.includes(socket.id), socket.recovered, socket.enters, socket.broken], [true, true, 2, 0]);
      }
    });
  }

  test("clients that go from one process to another, again and again, miss nothing and get nothing twice", async () => {
    const [one, two, three] = [await node(), await node(), await node()];
    proxy = await switchable(one.port);
    sockets = await Promise.all(Array.from({ length: CLIENTS }, (_, n) => enter(proxy.url, n % 2 ? "polling" : "websocket")));
    const ids = sockets.map(({ id }) => id);
    for (let round = 0; round < ROUNDS; round += 1) {
      const speakers = [one, two, three];
      await Promise.all(speakers.map((speaker, index) => speaker.do("emit", {}, "number", `${index}-${round}`, Buffer.from([round]))));
      if (round % 20 === 10) {
        proxy.target = speakers[(round / 10) % 3 | 0].port;
        for (const socket of sockets) socket.io.engine.close();
      }
      if (round % 20 === 19) await eventually(() => sockets.every((socket) => socket.connected));
    }
    await eventually(() => sockets.every((socket) => socket.heard.length >= 3 * ROUNDS));
    await sleep(100); // For what should not come.
    for (const [index, socket] of sockets.entries()) {
      for (const speaker of ["0", "1", "2"]) {
        const heard = socket.heard.filter((number) => number.startsWith(`${speaker}-`));
        assert.deepEqual(heard, Array.from({ length: ROUNDS }, (_, round) => `${speaker}-${round}`));
      }
      assert.deepEqual([socket.id, socket.recovered, socket.broken], [ids[index], true, 0]);
    }
  });
});

async function enter(url, transport) {
  const socket = io(url, { transports: [transport], forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
  Object.assign(socket, { heard: [], enters: 0, broken: 0 });
  socket.on("number", (number, bytes) => {
    socket.heard.push(number);
    if (new Uint8Array(bytes)[0] !== Number(number.split("-")[1])) socket.broken += 1;
  });
  socket.on("connect", () => (socket.enters += 1));
  await eventually(() => socket.connected);
  return socket;
}

async function eventually(is) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(20)) {
    if (await is()) return;
  }
  assert.fail(`still not after ${PATIENCE_MS} ms: ${is}`);
}
