// A hundred clients that come at once are shared evenly by two workers, whatever they travel by and through.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { NO_NGINX, nginx } from "../harness/balancer.mjs";
import { closeAll, connectMany, TRANSPORTS, untroubled, whereabouts } from "../harness/clients.mjs";
import { contractHolds } from "../harness/scenarios.mjs";
import { CLUSTER_ONLY, REFERENCE, up } from "../harness/target.mjs";

const CLIENTS = 100;
const WORKERS = REFERENCE ? 1 : 2;
/** ±5 % of even. */
const TOLERANCE = 0.05;

for (const [door, skip] of [["straight", false], ["through an nginx that keeps its connections", NO_NGINX]]) {
  describe(`${CLIENTS} clients at once, ${door}`, { skip }, () => {
    let target;
    let front;
    // A server for each case: clients of an earlier one that are still leaving would count.
    beforeEach(async () => {
      target = await up({ workers: WORKERS });
      front = door === "straight" ? undefined : await nginx(target.port);
    });
    afterEach(async () => {
      await front?.stop();
      await target?.stop();
    });

    for (const transport of Object.keys(TRANSPORTS)) {
      test(`are shared evenly by two workers (${transport})`, { skip: CLUSTER_ONLY }, async (t) => {
        const sockets = await connectMany(front?.url ?? target.url, transport, CLIENTS);
        try {
          const homes = (await whereabouts(sockets)).map((home) => home.pid);
          const shares = target.workers().map((pid) => homes.filter((home) => home === pid).length);
          t.diagnostic(`shares: ${shares.join(" : ")}`);
          const even = CLIENTS / WORKERS;
          for (const share of shares) assert.ok(Math.abs(share - even) <= even * TOLERANCE, `shares: ${shares.join(" : ")}`);
          untroubled(sockets);
        } finally {
          closeAll(sockets);
        }
      });

      test(`get every message whole (${transport})`, async () => {
        const sockets = await connectMany(front?.url ?? target.url, transport, CLIENTS);
        try {
          await contractHolds(sockets, { transport, workers: WORKERS });
        } finally {
          closeAll(sockets);
        }
      });
    }
  });
}
