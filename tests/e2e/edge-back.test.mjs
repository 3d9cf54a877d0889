// Unmodified Socket.IO apps of Node behind our edge, told by a file of ours: who gets whom, who is killed, who drains.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { app, balance, until } from "../harness/balance.mjs";
import { closeAll, connectMany, open } from "../harness/clients.mjs";
import { LONG, REFERENCE } from "../harness/target.mjs";

const skip = REFERENCE && "the balancer is ours";
const CLIENTS = 200;
const COOKIE_APP = { cookie: { name: "io", path: "/", httpOnly: true } };
const credentials = () => ({ withCredentials: true });

/** By name: the lines of the group, what the apps are told, what each client is, and whether the load is even. */
const MODES = {
  "the sid, learnt": { rule: 'sticky = "sid"', even: true },
  "a cookie that the edge inserts": { rule: 'sticky = "cookie"', client: credentials, even: true },
  "the app's cookie with the server's name before its value": { rule: 'sticky = "cookie"\ncookie = { name = "io", mode = "prefix" }', app: COOKIE_APP, client: credentials, even: true },
  "the app's cookie with the server's name in place of its value": { rule: 'sticky = "cookie"\ncookie = { name = "io", mode = "rewrite" }', app: COOKIE_APP, client: credentials, even: true },
  "the address": { rule: 'sticky = "ip"\nhash_bound = 0' },
  "the address as nginx hashes it": { rule: 'sticky = "ip_hash"\nhash_bound = 0' },
  "the address, with bounded load": { rule: 'sticky = "ip"', even: true, slack: 0.15 },
  "the forwarded address": { rule: 'sticky = "xff"', top: 'trust = ["127.0.0.0/8"]', client: (n) => ({ extraHeaders: { "x-forwarded-for": `6.6.6.6, 203.0.113.${n}` } }), even: true, slack: 0.2 },
  "a header": { rule: 'sticky = "header:x-user"', client: (n) => ({ extraHeaders: { "x-user": `user-${n}` } }), even: true, slack: 0.2 },
};

describe("an unmodified app on two ports", { skip }, () => {
  for (const [name, mode] of Object.entries(MODES)) {
    // WebSockets alone meet the rules once, as handshakes do.
    const transports = name === "the sid, learnt" || LONG ? ["polling", "default", "websocket"] : ["polling", "default"];
    describe(`affinity by ${name}`, () => {
      let apps = [];
      let edge;
      before(async () => {
        apps = await Promise.all(["app01", "app02"].map((one) => app(one, { options: mode.app })));
        edge = await balance(apps, { group: mode.rule, top: mode.top });
      });
      after(() => Promise.all([edge, ...apps].map((one) => one?.kill())));

      for (const transport of transports) {
        test(`${transport}: all connect, and nobody gets a 400`, async () => {
          const sockets = [];
          try {
            // In bursts: one Node process is both ends of all of them.
            for (let n = 0; n < CLIENTS; n += 50) {
              const burst = Array.from({ length: 50 }, (_, i) => connectMany(edge.url, transport, 1, mode.client?.(n + i)));
              sockets.push(...(await Promise.all(burst)).flat());
            }
            const answers = await Promise.all(sockets.map((socket, n) => socket.timeout(20_000).emitWithAck("echo", n)));
            assert.deepEqual(answers, [...sockets.keys()]);
            assert.deepEqual(sockets.flatMap((socket) => socket.troubles), []);
            const stats = await edge.stats();
            assert.deepEqual([stats.unknown_sids, stats.unavailable], [0, 0]);
            const loads = stats.servers.map((server) => server.sessions + server.on_the_way);
            if (mode.even && transport === transports[0]) {
              const off = Math.abs(loads[0] - loads[1]) / 2 / (loads[0] + loads[1]);
              assert.ok(off <= (mode.slack ?? 0.05), `${loads}`);
            }
          } finally {
            closeAll(sockets);
          }
        });
      }
    });
  }
});

describe("servers that come, go and die", { skip }, () => {
  let apps = [];
  let edge;
  const started = async (told, names = ["app01", "app02"]) => {
    apps = await Promise.all(names.map((name) => app(name)));
    edge = await balance(apps, told);
  };
  const stop = () => Promise.all([edge, ...apps].map((one) => one?.kill()));

  test("a hundred at once are split evenly, and a cookie is set once", async () => {
    try {
      await started({ group: 'sticky = ["sid", "cookie"]' });
      const homes = await Promise.all(Array.from({ length: 100 }, () => handshake(edge.url)));
      const first = homes.filter(({ home }) => home === "app01").length;
      assert.ok(Math.abs(first - 50) <= 5, `${first} of 100`);
      assert.match(homes[0].cookie, /^SERVERID=app0[12]; Path=\/; HttpOnly$/);
      const again = await handshake(edge.url, { cookie: `SERVERID=${homes[0].home}` });
      assert.deepEqual([again.home, again.cookie], [homes[0].home, null], "where it was, and nothing to set");
      const migrated = await handshake(edge.url, { cookie: `SERVERID=sticky.${homes[0].home}` });
      assert.deepEqual([migrated.home, migrated.cookie], [homes[0].home, null]);
      const stranger = await handshake(edge.url, { cookie: "SERVERID=nobody" });
      assert.equal(stranger.cookie.split(";")[0], `SERVERID=${stranger.home}`);
      const seen = await fetch(`${edge.url}/headers`, { headers: { cookie: "a=b; SERVERID=app01" } }).then((answer) => answer.json());
      assert.equal(seen.cookie, "a=b", "the server does not see it");
    } finally {
      await stop();
    }
  });

  test("kill -9 under load: whoever has no sid is served by another, the dead one's sids get the official 400, no POST comes twice", async () => {
    try {
      await started({ group: 'health = { check = "connect", interval = "200ms" }' });
      const sessions = await Promise.all(Array.from({ length: 20 }, () => handshake(edge.url)));
      const dead = sessions.filter(({ home }) => home === "app01");
      // The edge has begun this moment, and gave nobody a session before both had said that they serve. Shares are the matter of `split`.
      assert.ok(dead.length > 0 && dead.length < 20, `${dead.length} of 20`);
      let going = true;
      const faults = [];
      const answered = { get: 0, handshake: 0, post: 0 };
      const lost = [];
      const load = async (worker) => {
        for (let n = 0; going; n += 1) {
          const id = `${worker}-${n}`;
          const [get, shake] = await Promise.all([fetch(`${edge.url}/page`), handshake(edge.url)]);
          if (get.status === 200) answered.get += 1;
          else faults.push(`GET ${get.status}`);
          if (shake.status === 200) answered.handshake += 1;
          else faults.push(`handshake ${shake.status}`);
          const post = await fetch(`${edge.url}/post?id=${id}`, { method: "POST", body: "x".repeat(1000) });
          // One that was under way when its server died is lost, and is not sent again.
          if (post.status === 200) answered.post += 1;
          else if (post.status === 502) lost.push(id);
          else faults.push(`POST ${post.status}`);
        }
      };
      const loads = Array.from({ length: 8 }, (_, worker) => load(worker));
      await until(() => answered.post > 50, "load");
      await apps[0].kill();
      const killed = answered.post;
      const answers = await Promise.all(dead.map(({ sid }) => poll(edge.url, sid)));
      for (const answer of answers) assert.deepEqual(answer, { status: 400, body: '{"code":1,"message":"Session ID unknown"}' });
      await until(() => answered.post > killed + 50, "load after the kill");
      going = false;
      await Promise.all(loads);
      assert.deepEqual(faults, []);
      assert.ok(lost.length <= 8, `${lost.length} POSTs were under way`);
      const posts = apps.flatMap((one) => one.posts);
      assert.equal(new Set(posts).size, posts.length, "no POST came twice");
      const stats = await edge.stats();
      assert.equal(stats.servers[0].state, "down");
      // It comes back on its port, and gets sessions again.
      apps.push(await app("app01", { port: apps[0].port }));
      await until(async () => (await edge.stats()).servers[0].state === "up", "the server is back");
      await until(async () => (await handshake(edge.url)).home === "app01", "it gets sessions");
    } finally {
      await stop();
    }
  });

  test("a drained server's sessions move at the pace, and nobody new comes to it", async () => {
    const sockets = [];
    try {
      await started({ group: "drain_pace = 40" });
      for (const transport of ["polling", "websocket", "default"]) sockets.push(...(await connectMany(edge.url, transport, 20)));
      const homes = sockets.map(home);
      const settled = ({ servers }) => servers.every(({ sessions }) => sessions === 30) && servers[0].tunnels + servers[1].tunnels === 40;
      await until(async () => settled(await edge.stats()), "all are counted, and have moved to WebSocket who would");
      const began = performance.now();
      await edge.state("app01", "drain");
      await until(async () => (await edge.stats()).servers[0].sessions < 30, "it begins");
      assert.equal((await edge.stats()).servers[0].drain_began_with, 30);
      await until(async () => (await edge.stats()).servers[0].sessions === 0, "all have left");
      assert.ok(performance.now() - began > 500, "at 40 a second");
      await until(() => homes.filter((one) => one.last === "app02").length === 30, "all are at the other");
      assert.equal((await edge.stats()).moved, 30);
      await edge.state("app01", "up");
      assert.equal((await handshake(edge.url)).home, "app01");
    } finally {
      closeAll(sockets);
      await stop();
    }
  });

  test("after a server came the excess over the mean moves to it, and how much is left is shown", async () => {
    const sockets = [];
    try {
      await started({ group: "drain_pace = 1\nrebalance = true" }, ["app01"]);
      sockets.push(...(await connectMany(edge.url, "websocket", 40)));
      apps.push(await app("app02"));
      await edge.apply(apps);
      await until(async () => (await edge.stats()).servers[0].to_move > 0, "it begins");
      assert.equal((await edge.stats()).servers[1]?.to_move, 0);
      await edge.apply(apps, "drain_pace = 50\nrebalance = true");
      await until(async () => (await edge.stats()).servers.map(({ sessions, to_move }) => [sessions, to_move]).join() === "20,0,20,0", "the load is level");
    } finally {
      closeAll(sockets);
      await stop();
    }
  });

  test("a watched file names the servers; a faulty one changes nothing", async () => {
    try {
      apps = await Promise.all(["app01", "app02"].map((name) => app(name)));
      const [one, two] = apps.map(({ at, name }) => `${at} route=${name}`);
      edge = await balance([], { group: 'watch = "servers"' });
      const file = join(edge.dir, "servers");
      writeFileSync(file, `${one}\n`);
      await until(async () => (await handshake(edge.url)).home === "app01", "the first is there");
      writeFileSync(file, `# both\n${one}\n${two} weight=2\n`);
      await until(async () => (await edge.stats()).servers.length === 2, "the second came");
      writeFileSync(file, "nonsense\n");
      writeFileSync(file, `${two} weight=2\n`);
      await until(async () => (await edge.stats()).servers.some(({ state }) => state === "leaving"), "the first leaves");
      assert.equal((await handshake(edge.url)).home, "app02");
    } finally {
      await stop();
    }
  });

  test("too many sessions at once are asked to come later", async () => {
    let socket;
    try {
      await started({ top: "[limits]\nsessions_per_second = 5" });
      const answers = await Promise.all(Array.from({ length: 20 }, () => handshake(edge.url)));
      const turned = answers.filter(({ status }) => status === 503);
      assert.ok(turned.length >= 10 && answers.length - turned.length >= 5, `${turned.length} of 20`);
      assert.ok(turned.every(({ retryAfter }) => Number(retryAfter) >= 1));
      // The stock client comes again by itself.
      socket = open(edge.url, "polling");
      await until(() => socket.connected, "it is in");
    } finally {
      socket?.disconnect();
      await stop();
    }
  });
});

/** Remembers where a client was last. */
function home(socket) {
  const seen = { last: undefined };
  socket.on("home", (name) => (seen.last = name));
  return seen;
}

/** A polling handshake by hand, and who answered it. */
async function handshake(url, headers = {}) {
  const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers });
  const text = await answer.text();
  const cookie = answer.headers.get("set-cookie");
  if (answer.status !== 200) return { status: answer.status, retryAfter: answer.headers.get("retry-after"), cookie };
  const { sid } = JSON.parse(text.slice(1));
  await fetch(`${url}/socket.io/?EIO=4&transport=polling&sid=${sid}`, { method: "POST", body: "40" });
  const { body } = await poll(url, sid);
  return { status: 200, sid, cookie, home: /"home","(\w+)"/.exec(body)?.[1] ?? (/"home","(\w+)"/.exec((await poll(url, sid)).body)?.[1]) };
}

async function poll(url, sid) {
  const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling&sid=${sid}`);
  return { status: answer.status, body: await answer.text() };
}
