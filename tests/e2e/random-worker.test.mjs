// Any node takes any request: a balancer sends each one to a random worker's own port, and nobody notices.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { randomBalancer } from "../harness/balancer.mjs";
import { closeAll, connectMany, TRANSPORTS } from "../harness/clients.mjs";
import { contractHolds } from "../harness/scenarios.mjs";
import { CLUSTER_ONLY, REFERENCE, up } from "../harness/target.mjs";

const CONNECTS = 200;

for (const workers of REFERENCE ? [1] : [1, 2, 4, 8]) {
  describe(`a random one of ${workers} workers for every request`, () => {
    let target;
    let balancer;
    before(async () => {
      target = await up({ workers, workerPorts: true });
      balancer = await randomBalancer([...target.workerPorts().values()]);
    });
    after(async () => {
      await balancer?.stop();
      await target?.stop();
    });

    for (const transport of Object.keys(TRANSPORTS)) {
      test(`${CONNECTS} clients (${transport}) connect without a 400 and every message arrives whole`, async () => {
        const sockets = await connectMany(balancer.url, transport, CONNECTS);
        try {
          await contractHolds(sockets, { transport, workers });
          assert.deepEqual([...balancer.statuses.keys()].filter((status) => status !== 200 && status !== 101), []);
          if (transport !== "polling") assert.ok(balancer.statuses.get(101) >= CONNECTS, "every upgrade was a 101");
        } finally {
          closeAll(sockets);
        }
      });
    }
  });
}

test("the public port serves beside the workers' own", { skip: CLUSTER_ONLY }, async () => {
  const target = await up({ workers: 2, workerPorts: true });
  try {
    const sockets = await connectMany(target.url, "default", 20);
    await contractHolds(sockets, { transport: "default", workers: 2 });
    closeAll(sockets);
  } finally {
    await target.stop();
  }
});
