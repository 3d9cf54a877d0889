// Waiting for what is to become true, for a bounded time.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Asks again and again until the answer is yes. */
export async function eventually(check, within = 15_000) {
  for (const end = Date.now() + within; ; await sleep(20)) {
    if (await check()) return;
    assert.ok(Date.now() < end, `not within ${within} ms: ${check}`);
  }
}
