// The stock Rust client passes the contract by every transport, and comes back by itself when the server does.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { within } from "../harness/clients.mjs";
import { REFERENCE, ROOT, up } from "../harness/target.mjs";

const CLIENT = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "rust-client/debug/rust-client");
const WORKERS = REFERENCE ? 1 : 2;

describe("rust_socketio", { skip: existsSync(CLIENT) ? false : `${CLIENT} is missing: ./test builds it` }, () => {
  for (const transport of ["polling", "websocket", "upgrade", "any"]) {
    test(`events, acks, bytes, rooms, namespaces, and a server that is started again (${transport})`, async (t) => {
      let target = await up({ workers: WORKERS });
      const { port } = target;
      const client = spawn(CLIENT, [target.url, transport], { stdio: ["pipe", "pipe", "pipe"] });
      t.after(() => client.kill("SIGKILL"));
      let troubles = "";
      client.stderr.setEncoding("utf8").on("data", (text) => (troubles += text));
      const ended = new Promise((resolve) => client.on("close", resolve));
      const lines = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
      const says = async () => (await within(lines.next(), "a line of the client", 60_000)).value;
      try {
        assert.equal(await says(), "held", troubles);
        await target.stop();
        target = await up({ workers: WORKERS, port });
        client.stdin.write("again\n");
        assert.equal(await says(), "back", troubles);
        assert.equal(await within(ended, "the end of the client"), 0);
      } finally {
        await target.stop();
      }
    });
  }
});
