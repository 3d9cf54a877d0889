// The official black-box suites of Engine.IO v4 and v3 and of Socket.IO v5, against the conformance server.
//
// `SOCKETIO_SUITES` names a copy of the `docs` directory of the official repository (socketio/socket.io). Without one
// this is skipped, aloud: the suites are not ours to ship. Their fixed address is replaced in a temporary copy.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { conformance, LONG } from "../harness/target.mjs";

const SUITES = process.env.SOCKETIO_SUITES;
const RUNS = LONG ? 5 : 1;
const V4 = "engine.io-protocol/v4-test-suite";

describe("official suites", { skip: SUITES ? false : "SOCKETIO_SUITES is not set" }, () => {
  for (const [name, folder, options] of [
    ["Engine.IO v4", V4, { engine: true }],
    ["Engine.IO v3", "engine.io-protocol/v3-test-suite", { engine: true, args: ["--allow-eio3"] }],
    ["Socket.IO v5", "socket.io-protocol/v5-test-suite", {}],
  ]) {
    test(`${name}: every case passes`, { timeout: 300_000 }, async (t) => {
      const source = join(SUITES, folder);
      assert.ok(existsSync(source), `SOCKETIO_SUITES must hold ${folder}`);
      const dir = mkdtempSync(join(tmpdir(), "sk-suite-"));
      cpSync(source, dir, { recursive: true });
      const target = await conformance({ ...options, hurried: true });
      try {
        const script = join(dir, "test-suite.js");
        const text = buffered(readFileSync(script, "utf8"));
        assert.ok(text.includes("http://localhost:3000"), "the suite's address is where it was");
        writeFileSync(script, text.replaceAll("http://localhost:3000", target.url));
        await run("npm", ["ci", "--no-audit", "--no-fund"], dir);
        for (let i = 0; i < RUNS; i += 1) {
          const { code, output } = await run("npx", ["mocha", "--exit", "--reporter", "dot", "test-suite.js"], dir);
          t.diagnostic(`${name}: ${/\d+ passing/.exec(output)?.[0]}${/, \d+ failing/.exec(output)?.[0] ?? ""}`);
          assert.equal(code, 0, output);
          assert.match(output, /[1-9]\d* passing/);
        }
      } finally {
        await target.stop();
        rmSync(dir, { recursive: true, force: true });
      }
    });
  }
});

/** Gives the v3 suite, which misses events that come before it listens, the v4 suite's own helpers. */
function buffered(text) {
  if (text.includes("function createWebSocket(")) return text;
  const helpers = /function createWebSocket\([^]*?(?=async function )/.exec(readFileSync(join(SUITES, V4, "test-suite.js"), "utf8"));
  assert.ok(helpers, "the v4 suite has the helpers");
  return text.replaceAll("new WebSocket(", "createWebSocket(").replace(/function waitFor\([^]*?\n}\n/, () => helpers[0]);
}

function run(command, args, cwd) {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, maxBuffer: 1e7 }, (error, stdout, stderr) => resolve({ code: error ? (error.code ?? 1) : 0, output: stdout + stderr }));
  });
}
