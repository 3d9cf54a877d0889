// The stock Python client passes the same contract: sync and asyncio, every transport.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { REFERENCE, ROOT, up } from "../harness/target.mjs";

const PYTHON = join(ROOT, "tests/.venv/bin/python");
const run = promisify(execFile);

describe("python-socketio", { skip: existsSync(PYTHON) ? false : "tests/.venv is missing: ./test makes it" }, () => {
  const targets = {};
  before(async () => {
    for (const app of ["contract", "features", "msgpack"]) targets[app] = await up({ app, workers: REFERENCE ? 1 : 2 });
  });
  after(async () => {
    for (const target of Object.values(targets)) await target.stop();
  });

  for (const kind of ["sync", "asyncio"]) {
    for (const transport of ["polling", "websocket", "default"]) {
      test(`the ${kind} client (${transport}) gets acks, binary, broadcasts and rooms whole`, async (t) => {
        const { stdout } = await run(PYTHON, [join(ROOT, "tests/python/contract.py"), targets.contract.url, kind, transport], { timeout: 100_000 });
        t.diagnostic(stdout.trim());
      });

      for (const [app, serializer] of [["features", "default"], ["msgpack", "msgpack"]]) {
        test(`the ${kind} client (${transport}, ${serializer} serializer) asks, answers and is found`, async () => {
          await run(PYTHON, [join(ROOT, "tests/python/features.py"), targets[app].url, kind, transport, serializer], { timeout: 100_000 });
        });
      }
    }
  }
});
