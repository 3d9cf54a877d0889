// `sockeye up -i 3 --recovery`: stock clients come back to another worker after theirs was told to end, or was killed, and miss nothing.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { closeAll, connect, connected, everyWorkerServes, TRANSPORTS, whereabouts } from "../harness/clients.mjs";
import { CLUSTER_ONLY, up } from "../harness/target.mjs";

const WORKERS = 3;
const CLIENTS = 12;
const MESSAGES = 1000;
const PATIENCE_MS = 30_000;
/** Clients that come back at once find the other workers; without a pause for chance, which only makes the test longer. */
const BACK = { reconnectionDelay: 20, reconnectionDelayMax: 100, randomizationFactor: 0 };

describe(`${MESSAGES} messages across the end of the worker that has the session`, { skip: CLUSTER_ONLY }, () => {
  let target;
  before(async () => {
    target = await up({ workers: WORKERS, args: ["--recovery"] });
    await everyWorkerServes(target, WORKERS);
  });
  after(() => target?.stop());

  for (const signal of ["SIGTERM", "SIGKILL"]) {
    test(`each client has each message once, in order, after ${signal}`, async (t) => {
      const sockets = [];
      try {
        for (let n = 0; n < CLIENTS; n += 1) sockets.push(await enter(target.url, Object.keys(TRANSPORTS)[n % 3]));
        const homes = await whereabouts(sockets);
        const [speaker, { pid: spared }] = [sockets[0], homes[0]];
        const pid = homes.find((home) => home.pid !== spared).pid;
        const victims = sockets.filter((_, n) => homes[n].pid === pid);
        const ids = sockets.map((socket) => socket.id);
        for (let number = 0; number < MESSAGES; number += 1) {
          if (number === MESSAGES / 4) process.kill(pid, signal);
          speaker.emit("broadcast", number);
          await sleep(1);
        }
        await eventually(() => sockets.every((socket) => socket.heard.length >= MESSAGES));
        const later = await whereabouts(sockets); // And a moment for what is too many.
        const all = Array.from({ length: MESSAGES }, (_, number) => number);
        for (const socket of sockets) assert.deepEqual(socket.heard, all);
        for (const socket of victims) assert.equal(socket.recovered, true, "its session goes on");
        assert.deepEqual(sockets.map((socket) => socket.id), ids);
        for (const [n, home] of later.entries()) {
          if (victims.includes(sockets[n])) assert.notEqual(home.pid, pid);
          else assert.equal(home.pid, homes[n].pid);
        }
        assert.ok(victims.length > 0);
        t.diagnostic(`${victims.length} of ${CLIENTS} clients lost their worker`);
      } finally {
        closeAll(sockets);
      }
      await target.workersAre(WORKERS);
      await everyWorkerServes(target, WORKERS);
    });
  }
});

async function enter(url, transport) {
  const socket = await connect(url, transport, BACK);
  socket.heard = [];
  socket.on("broadcast", (number) => socket.heard.push(number));
  await connected(socket);
  return socket;
}

async function eventually(is) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(20)) {
    if (await is()) return;
  }
  assert.fail(`still not after ${PATIENCE_MS} ms: ${is}`);
}
