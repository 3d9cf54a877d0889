// `sockeye emit`: a command says something to the clients of servers that run, by their backplane or by the mesh of their machine.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { backend, missing } from "../harness/backends.mjs";
import { closeAll, connectMany } from "../harness/clients.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { binary, REFERENCE, up } from "../harness/target.mjs";
import { eventually } from "../harness/waiting.mjs";

const BACKPLANES = [
  { server: "redis", urls: (port) => [`redis://127.0.0.1:${port}`, `redis+sharded://127.0.0.1:${port}`, `redis+streams://127.0.0.1:${port}`] },
  { server: "nats", urls: (port) => [`nats://127.0.0.1:${port}`] },
  { server: "postgres", urls: (port) => [`postgres://postgres@127.0.0.1:${port}/postgres`] },
  { server: "mongo", urls: (port) => [`mongodb://127.0.0.1:${port}/test?collection=socket_io`] },
  { server: "directory", urls: (_, directory) => [`mesh:${directory}/mesh`] },
];
const SKIP = REFERENCE ? "the command is ours" : existsSync(binary("conformance")) ? false : "conformance is not built";

describe("sockeye emit", { skip: SKIP }, () => {
  for (const { server, urls } of BACKPLANES) {
    test(`reaches rooms, exceptions and namespaces by ${server}`, { skip: missing(server) }, async () => {
      const backplane = await backend(server);
      try {
        for (const url of urls(backplane.port, backplane.directory)) await reaches(url);
      } finally {
        await backplane.stop();
      }
    });
  }

  test("reaches the clients of `sockeye up` by the directory of its workers", async () => {
    const target = await up({ workers: 2 });
    const sockets = await connectMany(target.url, "websocket", 6);
    try {
      const heard = sockets.map((socket) => new Promise((resolve) => socket.once("news", (...args) => resolve(args))));
      const [run] = readdirSync(target.runtimeDir);
      const { code, output } = await emit(["news", "1", '"ü"', "--mesh", join(target.runtimeDir, run, "mesh")]);
      assert.deepEqual([code, output], [0, ""]);
      for (const args of await Promise.all(heard)) assert.deepEqual(args, [1, "ü"]);
    } finally {
      closeAll(sockets);
      await target.stop();
    }
  });

  test("says in one line what is wrong", async () => {
    const rows = [
      [["news"], 2, /to which servers\? Say --adapter URL/],
      [["news", "--adapter", "kafka://:secret@127.0.0.1"], 2, /^sockeye: --adapter: the scheme is `kafka`(?!.*secret)/],
      [["news", "hello", "--adapter", "redis://127.0.0.1"], 2, /argument 'hello': expected a JSON value; a text wants quotes/],
      [["news", "--json", "{", "--adapter", "redis://127.0.0.1"], 2, /--json '\{': expected JSON/],
      [["connect", "--adapter", "redis://127.0.0.1:1"], 1, /redis/],
      [["news", "--mesh", "/nowhere"], 1, /mesh_dir \/nowhere/],
      [["news", "--mesh", "/tmp", "--adapter", "redis://127.0.0.1"], 2, /cannot be used with/],
    ];
    for (const [args, expected, line] of rows) {
      const { code, output } = await emit(args);
      assert.equal(code, expected, `${args}: ${output}`);
      assert.match(output, line);
      assert.equal(output.trim().split("\n").length, 1, output);
    }
  });
});

test("where the program with the clients of backplanes is missing, one line says so and how to get it", { skip: REFERENCE && "the command is ours" }, () => {
  const directory = mkdtempSync(join(tmpdir(), "sk-alone-"));
  try {
    const alone = join(directory, "sockeye");
    copyFileSync(binary(), alone);
    for (const args of [["emit", "news"], ["up", "--port", "0"]]) {
      const { status, stderr } = spawnSync(alone, [...args, "--adapter", "redis://:secret@127.0.0.1"], { encoding: "utf8", timeout: 30_000 });
      assert.equal(status, 1, stderr);
      assert.match(stderr, /^sockeye: a backplane needs the program sockeye-backplanes beside this one, and there is no .*: build it with cargo build(?!.*secret).*\n$/);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

async function reaches(url) {
  const node = await sockeye(url);
  try {
    const [one, two, other] = [await node.client(), await node.client(), await node.client({ nsp: "/custom" })];
    for (const socket of [one, two, other]) {
      socket.news = [];
      socket.on("news", (...args) => socket.news.push(args));
    }
    await node.do("sockets-join", { rooms: [one.id] }, ["kitchen"]);
    const said = [
      [["news", "1", '{"a":[true]}'], "", [1, 1, 0]],
      [["news", "2", "--to", "kitchen"], "", [2, 1, 0]],
      [["news", "3", "--except", "kitchen", "--volatile"], "", [2, 2, 0]],
      [["news", "--json", "-", "--to", one.id, "--to", two.id, "--except", two.id], '["from stdin", 4]\n', [3, 2, 0]],
      [["news", "--nsp", "custom", "--json", "5"], "", [3, 2, 1]],
    ];
    for (const [args, input, counts] of said) {
      const { code, output } = await emit([...args, "--adapter", url], input);
      assert.deepEqual([code, output], [0, ""], `${args} ${url}`);
      // What is volatile is lost on a client that still has something before it: each is heard before the next is said.
      await eventually(() => [one, two, other].every((socket, i) => socket.news.length >= counts[i]));
    }
    assert.deepEqual(one.news, [[1, { a: [true] }], [2], ["from stdin", 4]], url);
    assert.deepEqual(two.news, [[1, { a: [true] }], [3]], url);
    assert.deepEqual(other.news, [[5]], url);
  } finally {
    await node.stop();
  }
}

function emit(args, input = "") {
  const env = { ...process.env, SOCKEYE_ADAPTER: "" };
  const child = spawn(binary(), ["emit", ...args], { env, stdio: ["pipe", "pipe", "pipe"], timeout: 30_000 });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  child.stdin.on("error", () => {}).end(input);
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, output })));
}
