// A Node script of a few lines joins the mesh and broadcasts both ways, as docs/mesh.md says.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { closeAll, collect, connectMany, within } from "../harness/clients.mjs";
import { CLUSTER_ONLY, ROOT, up } from "../harness/target.mjs";

const SCRIPT = join(ROOT, "tests/mesh-node.mjs");
const SKIP = CLUSTER_ONLY || (existsSync(SCRIPT) ? false : "tests/mesh-node.mjs is missing");

test("a foreign node hears every broadcast of the workers, and every client hears its own", { skip: SKIP }, async () => {
  const target = await up({ workers: 2 });
  const sockets = await connectMany(target.url, "websocket", 10);
  const node = meshNode(meshDir(target.runtimeDir));
  try {
    await node.says((line) => line === "joined");

    for (const x of [{ n: 1, text: "ü\u{1F41F}" }, [1, [2]], "x".repeat(100_000)]) {
      sockets[0].emit("broadcast", x);
      const line = await node.says((line) => line.startsWith("heard "));
      assert.deepEqual(JSON.parse(line.slice("heard ".length)), ["broadcast", x]);
    }

    const heard = collect(sockets, "from-afar");
    node.tell(`emit ${JSON.stringify(["from-afar", { n: 2 }, "ü"])}`);
    for (const box of await heard.reach(1)) assert.deepEqual(box, [[{ n: 2 }, "ü"]]);

    assert.equal(await node.leave(), 0);
    const after = collect(sockets, "broadcast");
    sockets[0].emit("broadcast", "it is not missed");
    await after.reach(1);
  } finally {
    node.kill();
    closeAll(sockets);
    await target.stop();
  }
});

test("a foreign node with a board hears the rooms that it shows, and no other", { skip: SKIP }, async () => {
  const target = await up({ workers: 2 });
  const [speaker] = await connectMany(target.url, "websocket", 1);
  const node = meshNode(meshDir(target.runtimeDir), "board");
  /** What it has heard, up to the end of this round. */
  const round = async (number) => {
    speaker.emit("room", "cellar", "cellar", number);
    speaker.emit("broadcast", "all", number);
    speaker.emit("room", "kitchen", "kitchen", number);
    const heard = [];
    do heard.push(JSON.parse((await node.says((line) => line.startsWith("heard "))).slice("heard ".length)));
    while (heard.at(-1)[1] !== "kitchen");
    return heard;
  };
  try {
    await node.says((line) => line === "joined");
    node.tell("hear kitchen");
    await node.says((line) => line === "hears kitchen");
    // A worker sends everything until its first mark has come back.
    let number = 0;
    while ((await round(number)).length > 1) number += 1;
    for (const end = number + 20; number < end; number += 1) assert.deepEqual(await round(number), [["room", "kitchen", number]]);
    // What it has begun to hear by the time of an emit it hears.
    node.tell("hear cellar");
    await node.says((line) => line === "hears cellar");
    assert.deepEqual(await round("both"), [["room", "cellar", "both"], ["room", "kitchen", "both"]]);
    node.tell("deaf cellar");
    await node.says((line) => line === "deaf to cellar");
    assert.deepEqual(await round("one"), [["room", "kitchen", "one"]]);
    assert.equal(await node.leave(), 0);
  } finally {
    node.kill();
    closeAll([speaker]);
    await target.stop();
  }
});

/** The directory where the nodes of this run meet. */
function meshDir(runtimeDir) {
  const [run, ...more] = readdirSync(runtimeDir);
  assert.ok(run && more.length === 0, "one directory for one run");
  return join(runtimeDir, run, "mesh");
}

function meshNode(dir, ...more) {
  const child = spawn(process.execPath, [SCRIPT, dir, ...more], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = [];
  const waiting = [];
  createInterface({ input: child.stdout }).on("line", (line) => (lines.push(line), waiting.splice(0).forEach((wake) => wake())));
  const ended = new Promise((resolve) => child.on("close", resolve));
  return {
    says: (wanted) =>
      within(
        (async () => {
          for (;;) {
            const at = lines.findIndex(wanted);
            if (at >= 0) return lines.splice(at, 1)[0];
            await new Promise((resolve) => waiting.push(resolve));
          }
        })(),
        "a line of the mesh node",
      ),
    tell: (line) => child.stdin.write(`${line}\n`),
    leave: () => (child.stdin.end(), within(ended, "the end of the mesh node")),
    kill: () => child.kill("SIGKILL"),
  };
}
