// A worker is killed with -9 under 200 clients: its clients are back as soon as they themselves allow, none refused, none hung.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { closeAll, collect, connected, connectMany, everyWorkerServes, TRANSPORTS, whereabouts } from "../harness/clients.mjs";
import { CLUSTER_ONLY, LONG, up } from "../harness/target.mjs";

const CLIENTS = 200;
const WORKERS = 2;
const ROUNDS = LONG ? 20 : 3;
/** From the kill to the next connect, the client's own back-off not counted. The promise is 200 ms; a machine that builds beside the tests is slower, and is to find who hangs. */
const BACK_WITHIN_MS = LONG ? 200 : 2_000;

describe(`kill -9 of a worker with ${CLIENTS} clients`, { skip: CLUSTER_ONLY }, () => {
  let target;
  before(async () => (target = await up({ workers: WORKERS })));
  after(() => target?.stop());

  for (let round = 1; round <= ROUNDS; round += 1) {
    const transport = Object.keys(TRANSPORTS)[round % 3];
    test(`round ${round} (${transport}): all are back within ${BACK_WITHIN_MS} ms of their own back-off`, async (t) => {
      await everyWorkerServes(target, WORKERS);
      const sockets = await connectMany(target.url, transport, CLIENTS);
      try {
        const homes = await whereabouts(sockets);
        const pid = homes[round].pid;
        const victims = sockets.filter((_, i) => homes[i].pid === pid);
        const others = sockets.filter((_, i) => homes[i].pid !== pid);
        const lag = monitorEventLoopDelay({ resolution: 5 });
        lag.enable();
        const returns = victims.map(watchReturn);
        const killed = performance.now();
        process.kill(pid, "SIGKILL");
        await Promise.all(victims.map(gone));
        await Promise.all(victims.map(connected));
        lag.disable();

        const late = returns.map((times) => times.gone - killed + times.back - times.attempts[0]);
        const slack = lag.max / 1e6; // this very process was so late to look
        t.diagnostic(`${victims.length} victims back after ${Math.max(...late).toFixed(0)} ms at most, back-off aside; own lag ${slack.toFixed(0)} ms`);
        assert.deepEqual(returns.flatMap((times) => times.refused), [], "nobody was refused");
        for (const times of returns) assert.equal(times.attempts.length, 1, "the first attempt succeeds");
        assert.ok(Math.max(...late) <= BACK_WITHIN_MS + slack, `late by ${Math.max(...late).toFixed(0)} ms (own lag ${slack.toFixed(0)} ms)`);
        assert.deepEqual(others.flatMap((socket) => socket.troubles), [], "clients of other workers notice nothing");

        const heard = collect(sockets, "broadcast");
        victims[0].emit("broadcast", "after");
        others[0].emit("broadcast", "after");
        await heard.reach(2);
      } finally {
        closeAll(sockets);
      }
    });
  }

  test("the dead were replaced, and the replacements serve", async () => {
    await target.workersAre(WORKERS);
    await everyWorkerServes(target, WORKERS);
  });
});

test("a poll that waits at a worker when it is killed hears the official 400", { skip: CLUSTER_ONLY }, async () => {
  const target = await up({ workers: 1 });
  try {
    const path = "/socket.io/?EIO=4&transport=polling";
    const sessions = await Promise.all(Array.from({ length: 20 }, () => fetch(target.url + path).then((answer) => answer.text())));
    const polls = sessions.map(async (open) => {
      const answer = await fetch(`${target.url}${path}&sid=${JSON.parse(open.slice(1)).sid}`);
      return [answer.status, await answer.text()];
    });
    // One more request behind the polls: they are on their way, and whether one arrives before or after the kill is the same.
    await fetch(target.url + path);
    process.kill(target.workers()[0], "SIGKILL");
    for (const poll of polls) assert.deepEqual(await poll, [400, '{"code":1,"message":"Session ID unknown"}']);
  } finally {
    await target.stop();
  }
});

/** When this client lost its connection, tried again, and was back. */
function watchReturn(socket) {
  const times = { gone: undefined, attempts: [], back: undefined, refused: [] };
  socket.once("disconnect", () => (times.gone = performance.now()));
  socket.on("connect_error", (error) => times.refused.push(error.message));
  socket.io.on("reconnect_attempt", () => times.attempts.push(performance.now()));
  socket.once("connect", () => (times.back = performance.now()));
  return times;
}

/** Resolves when the client has noticed. */
function gone(socket) {
  return socket.connected ? new Promise((resolve) => socket.once("disconnect", resolve)) : undefined;
}
