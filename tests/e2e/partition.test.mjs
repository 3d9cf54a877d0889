// A node that is cut off from its backplane, and comes back: in a network namespace of its own, whose link is taken down, so that nobody is
// told that a connection is over. Messages are numbered and counted one by one. The tests talk to the node by a second link that stays.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { backend, missing } from "../harness/backends.mjs";
import { sockeye } from "../harness/cluster.mjs";
import { binary, LONG, REFERENCE } from "../harness/target.mjs";

/** By backplane: its URL. None of these keeps what is published while a node is away, but for streams, and those not over a restart. `long`: with --long. */
const CLUSTERS = [
  { name: "Redis, classic", server: "redis", url: (host, port) => `redis://${host}:${port}` },
  { name: "Redis, sharded", server: "redis", url: (host, port) => `redis+sharded://${host}:${port}`, long: true },
  { name: "Redis Streams", server: "redis", url: (host, port) => `redis+streams://${host}:${port}`, long: true },
  { name: "NATS", server: "nats", url: (host, port) => `nats://${host}:${port}` },
  { name: "Postgres", server: "postgres", url: (host, port) => `postgres://postgres@${host}:${port}/postgres` },
];
const BACK_MS = 60_000;
/** Debian keeps it beside a user's PATH. */
const IP = existsSync("/usr/sbin/ip") ? "/usr/sbin/ip" : "ip";
/** No call takes longer, whatever is cut. */
const CALL_MS = 10_000;

for (const [index, cluster] of CLUSTERS.filter(({ long }) => LONG || !long).entries()) {
  const built = existsSync(binary("conformance")) ? false : "conformance is not built";
  const skip = (REFERENCE && "the nodes are ours") || noNamespaces() || missing(cluster.server) || built;
  describe(`${cluster.name}: a node that is cut off`, { skip }, () => {
    let link;
    let server;
    let nodes = [];
    let ledgers;
    before(async () => {
      link = new Link(index);
      link.up();
      server = await backend(cluster.server, { open: true });
      nodes = [
        await sockeye(cluster.url("127.0.0.1", server.port)),
        await sockeye(cluster.url(link.host, server.port), { before: link.before, host: link.control }),
      ];
      await whole(nodes);
      ledgers = await Promise.all(nodes.map(Ledger.of));
    });
    after(async () => {
      await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
      await server?.stop();
      link?.remove();
    });

    test("for a moment: nothing comes twice, order holds, and what the rest said comes", async () => {
      await say(ledgers, 20);
      link.cut();
      const asked = Promise.all(nodes.map(partial));
      await say(ledgers, 20);
      await asked;
      link.mend();
      await whole(nodes);
      await say(ledgers, 20);
      await heardOut(ledgers);
      ledgers.forEach((ledger) => ledger.isInOrder());
      // The backplane holds what it could not hand over yet.
      assert.deepEqual(ledgers[1].heard[0], count(0, ledgers[0].said), "what the node that stayed said");
    });

    test("while the backplane restarts: what is lost is told, no call hangs, and all is whole again", async () => {
      const first = ledgers.map(({ said }) => said);
      await say(ledgers, 20);
      await heardOut(ledgers);
      link.cut();
      const before = ledgers.map(({ said }) => said);
      await server.restart();
      await say(ledgers, 20);
      await Promise.all(nodes.map(partial));
      link.mend();
      await whole(nodes);
      const mended = ledgers.map(({ said }) => said);
      await say(ledgers, 20);
      await heardOut(ledgers);
      for (const [n, ledger] of ledgers.entries()) {
        ledger.isInOrder();
        const other = ledger.heard[1 - n];
        const within = (from, to) => other.filter((number) => number >= from && number < to);
        assert.deepEqual(within(first[1 - n], before[1 - n]), count(first[1 - n], before[1 - n]), "before the cut");
        assert.deepEqual(within(mended[1 - n], ledgers[1 - n].said), count(mended[1 - n], ledgers[1 - n].said), "after the cut");
        // Each client heard its own node all the time.
        assert.deepEqual(ledger.heard[n], count(0, ledger.said));
        const lost = mended[1 - n] - before[1 - n] - within(before[1 - n], mended[1 - n]).length;
        const told = [...ledgers[0].told, ...ledgers[1].told].some(
          ([what, nsp, detail]) => nsp === "/" && ((what === "resumed" && detail === false) || what === "unpublished"),
        );
        assert.ok(lost === 0 || told, `${lost} lost, and told: ${JSON.stringify(ledgers.map((one) => one.told))}`);
      }
    });
  });
}

/** What a client at one node heard of the numbers that both nodes say. */
class Ledger {
  static async of(node, n) {
    const ledger = new Ledger();
    Object.assign(ledger, { node, n, said: 0, heard: [[], []], told: [] });
    const client = await node.client();
    client.on("tick", (from, number) => ledger.heard[from].push(number));
    node.control.on("backplane", (...told) => ledger.told.push(told));
    return ledger;
  }

  isInOrder() {
    for (const heard of this.heard) {
      assert.deepEqual(heard, [...new Set(heard)], "something came twice");
      assert.deepEqual(heard, [...heard].sort((a, b) => a - b), "something came out of order");
    }
  }
}

async function say(ledgers, times) {
  for (let time = 0; time < times; time += 1) {
    await Promise.all(ledgers.map((ledger) => ledger.node.do("emit", {}, "tick", ledger.n, ledger.said++)));
  }
}

/** The last thing that each side said has come to the other. */
async function heardOut(ledgers) {
  await eventually(() => ledgers.every((ledger, n) => ledger.heard[1 - n].at(-1) === ledgers[1 - n].said - 1), BACK_MS);
}

/** A question that cannot be answered whole: what is here is told, in time. */
async function partial(node) {
  const started = Date.now();
  const [error, sockets] = await node.ask("fetch-sockets", { flags: { timeout: 500 } });
  assert.ok(sockets?.length >= 1, `${error}: ${JSON.stringify(sockets)}`);
  assert.ok(Date.now() - started < CALL_MS, "a call hangs");
}

/** Two links between this machine and a namespace: one for the backplane, one for the tests. */
class Link {
  constructor(index) {
    const place = (process.pid % 200) + 20;
    this.name = `sk${process.pid}-${index}`;
    this.wires = ["d", "c"].map((kind) => `sk${kind}${process.pid % 100000}${index}`);
    this.nets = [0, 1].map((net) => `10.${place}.${index * 2 + net}`);
    this.host = `${this.nets[0]}.1`;
    this.control = `${this.nets[1]}.2`;
    this.before = [IP, "netns", "exec", this.name];
  }

  up() {
    ip("netns", "add", this.name);
    ip("-n", this.name, "link", "set", "lo", "up");
    for (const [n, wire] of this.wires.entries()) {
      ip("link", "add", wire, "type", "veth", "peer", "name", `${wire}n`, "netns", this.name);
      ip("addr", "add", `${this.nets[n]}.1/24`, "dev", wire);
      ip("link", "set", wire, "up");
      ip("-n", this.name, "addr", "add", `${this.nets[n]}.2/24`, "dev", `${wire}n`);
      ip("-n", this.name, "link", "set", `${wire}n`, "up");
    }
  }

  cut() {
    ip("link", "set", this.wires[0], "down");
  }

  mend() {
    ip("link", "set", this.wires[0], "up");
  }

  remove() {
    for (const wire of this.wires) spawnSync(IP, ["link", "del", wire]);
    spawnSync(IP, ["netns", "del", this.name]);
  }
}

function ip(...args) {
  const { status, stderr, error } = spawnSync(IP, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${error ?? stderr}`);
}

/** Why there can be no network namespaces; false where there can. */
function noNamespaces() {
  if (process.getuid() !== 0) return "network namespaces need root";
  const name = `sk${process.pid}-try`;
  const made = spawnSync(IP, ["netns", "add", name]).status === 0;
  if (made) spawnSync(IP, ["netns", "del", name]);
  return made ? false : "network namespaces cannot be made here";
}

function count(from, to) {
  return Array.from({ length: to - from }, (_, n) => from + n);
}

/** Both nodes know and answer each other. */
async function whole(nodes) {
  for (const node of nodes) {
    await eventually(async () => {
      const [error, answers] = await node.ask("server-side-emit-ack", { flags: { timeout: 1000 } }, "there?");
      return error === null && answers.length === nodes.length - 1;
    }, BACK_MS);
  }
}

async function eventually(check, within) {
  for (const end = Date.now() + within; ; await sleep(20)) {
    if (await check()) return;
    assert.ok(Date.now() < end, `not within ${within} ms: ${check}`);
  }
}
