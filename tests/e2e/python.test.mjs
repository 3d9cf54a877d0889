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
  let target;
  before(async () => (target = await up({ workers: REFERENCE ? 1 : 2 })));
  after(() => target?.stop());

  for (const kind of ["sync", "asyncio"]) {
    for (const transport of ["polling", "websocket", "default"]) {
      test(`the ${kind} client (${transport}) gets acks, binary, broadcasts and rooms whole`, async (t) => {
        const { stdout } = await run(PYTHON, [join(ROOT, "tests/python/contract.py"), target.url, kind, transport], { timeout: 100_000 });
        t.diagnostic(stdout.trim());
      });
    }
  }
});
