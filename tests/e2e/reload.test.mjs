// `sockeye reload` of programs that cannot take connections: their clients are moved, what is under way ends, and then nobody is waited for.
// A drain may take an hour here, so a reload that comes to its end has not waited for the clock.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ask, closeAll, connect, connectMany } from "../harness/clients.mjs";
import { Home, SOCKEYE, until } from "../harness/keeper.mjs";
import { CLUSTER_ONLY, freePort, ROOT } from "../harness/target.mjs";

const APPS = join(ROOT, "tests/apps/node_modules");
const skip = CLUSTER_ONLY || (existsSync(APPS) ? false : "tests/apps is not installed (npm ci)");

/** Answers `/slow` once the file `go` is there. */
const APP = `const fs = require("fs");
const server = require("http").createServer((q, r) => {
  if (q.url !== "/slow") return r.end(String(process.pid));
  console.log("asked");
  const timer = setInterval(() => fs.existsSync("go") && (clearInterval(timer), r.end(String(process.pid))), 20);
});
const { Server } = require(${JSON.stringify(join(APPS, "socket.io"))});
new Server(server).on("connection", (socket) => socket.on("whoami", (ack) => ack({ pid: process.pid })));
server.listen(process.env.PORT || 3000, "127.0.0.1");`;

// What Python becomes is no Node.js to us: the first is reached by its PORT alone, the second by its plain link.
for (const [kind, file, words] of [
  ["reached by its PORT", "run.py", ["--port"]],
  ["with the preload", "app.js", []],
]) {
  describe(`a program ${kind}`, { skip }, () => {
    let home, port, url;
    before(async () => {
      home = new Home();
      port = await freePort();
      url = `http://127.0.0.1:${port}`;
      home.file("app.js", APP);
      home.file("run.py", 'import os; os.execvp("node", ["node", "app.js"])');
      if (words.length === 0) home.env.PORT = String(port);
      await start("1h");
    });
    after(() => home?.stop());
    const start = (drain) => home.ok("start", file, "--name", "web", "-i", "2", "--drain", drain, ...words.flatMap((word) => [word, port]));

    test("a reload without clients waits for nobody", async () => {
      const were = await home.pids("web");
      await home.ok("reload", "web");
      assert.ok((await home.pids("web")).every((pid) => pid && !were.includes(pid)));
    });

    test("what is under way ends first", async () => {
      const [slow, quick] = [fetch(`${url}/slow`).then((answer) => answer.text()), await fetch(url)];
      assert.equal(quick.status, 200);
      const asked = () => [0, 1].some((place) => home.lines("web", "out", place).lines.includes("asked"));
      await until("the request is at the program", asked);
      const were = await home.pids("web");
      const reload = home.ok("reload", "web");
      await until("a successor serves", async () => (await home.pids("web")).some((pid) => pid && !were.includes(pid)));
      home.file("go", "");
      assert.ok(were.includes(Number(await slow)), "it is answered by whom it was asked");
      await reload;
    });

    test("clients are moved, and come back to others", async () => {
      if (words.length === 0) {
        // The copy spreads them over the whole time.
        await home.ok("delete", "web");
        await start("2s");
      }
      const sockets = [...(await connectMany(url, "websocket", 3)), await connect(url, "polling")];
      try {
        const were = await home.pids("web");
        const mine = sockets.map((socket) => new Promise((resolve) => socket.once("disconnect", resolve)));
        await home.ok("reload", "web");
        await Promise.all(mine);
        for (const socket of sockets) {
          await until("it is at a new process", async () => socket.connected && !were.includes((await ask(socket, "whoami")).pid));
        }
      } finally {
        closeAll(sockets);
      }
    });
  });
}

// Three old processes and clients on each: one that comes to an old process again would be moved once more.
for (const [kind, file, words] of [
  ["our library", SOCKEYE, ["--port", "--", "worker", "chat"]],
  ["its PORT alone", "run.py", ["--port"]],
  ["the preload", "app.js", []],
]) {
  test(`a reload moves no client twice: ${kind}`, { skip }, async () => {
    const home = new Home();
    const port = await freePort();
    let sockets = [];
    try {
      home.file("app.js", APP);
      home.file("run.py", 'import os; os.execvp("node", ["node", "app.js"])');
      if (words.length === 0) home.env.PORT = String(port);
      const flags = words.flatMap((word) => (word === "--port" ? [word, port] : [word]));
      await home.ok("start", file, "--name", "web", "-i", "3", "--drain", "1s", ...flags);
      const [url, soon] = [`http://127.0.0.1:${port}`, { reconnectionDelay: 10, reconnectionDelayMax: 50 }];
      sockets = [...(await connectMany(url, "websocket", 12, soon)), ...(await connectMany(url, "polling", 3, soon))];
      const cuts = sockets.map(() => 0);
      sockets.forEach((socket, i) => socket.on("disconnect", () => (cuts[i] += 1)));
      const were = await home.pids("web");
      await home.ok("reload", "web");
      assert.ok((await home.pids("web")).every((pid) => pid && !were.includes(pid)));
      // All old processes are gone, and whoever was there has noticed.
      await until(() => `all were moved and are back: ${cuts}`, () => sockets.every((socket, i) => socket.connected && cuts[i] > 0));
      assert.deepEqual(cuts, cuts.map(() => 1));
    } finally {
      closeAll(sockets);
      await home.stop();
    }
  });
}
