// A bare machine: `sockeye up` as it comes, started in an empty directory, without npm's files anywhere near.

import assert from "node:assert/strict";
import { test } from "node:test";
import { launch, NO_CHROMIUM, openWindow, settled } from "../harness/browser.mjs";
import { closeAll, next, open } from "../harness/clients.mjs";
import { REFERENCE, up } from "../harness/target.mjs";

test("the page, its files and our own client are served from the program itself", { skip: REFERENCE && "the reference needs npm" }, async () => {
  const target = await up({ app: "chat", workers: 2, client: "own" });
  try {
    for (const [path, type, word] of [
      ["/", /text\/html/, /id="send"/],
      ["/assets/js/client.js", /javascript/, /input your message/],
      ["/assets/css/chat.css", /text\/css/, /#log/],
      ["/socket.io/socket.io.js", /javascript/, /own small browser client/],
    ]) {
      const answer = await target.knock(path);
      assert.equal(answer.status, 200, path);
      assert.match(answer.headers.get("content-type"), type);
      assert.match(await answer.text(), word);
    }
  } finally {
    await target.stop();
  }
});

test("the default application is the chat: a stock client gets its welcome and its message back", async () => {
  const target = await up({ app: "chat", workers: REFERENCE ? 1 : 2, client: "own" });
  try {
    const sockets = ["default", "polling"].map((transport) => open(target.url, transport));
    const welcomes = await Promise.all(sockets.map((socket) => next(socket, "info")));
    assert.deepEqual(welcomes, [[{ msg: "welcome" }], [{ msg: "welcome" }]]);
    const heard = sockets.map((socket) => next(socket, "msg"));
    sockets[0].emit("msg", "to all, the sender included");
    for (const one of await Promise.all(heard)) assert.deepEqual(one, [{ msg: "to all, the sender included" }]);
    closeAll(sockets);
  } finally {
    await target.stop();
  }
});

test("in a real browser the page works with nothing installed", { skip: NO_CHROMIUM }, async () => {
  const target = await up({ app: "chat", workers: REFERENCE ? 1 : 2, client: "own" });
  const browser = await launch();
  try {
    const window = await openWindow(browser, target.url);
    await settled(window.page);
    await window.page.waitForSelector("#log .info >> text=welcome");
    assert.deepEqual(window.seen.bad, []);
    assert.deepEqual(window.seen.errors, []);
  } finally {
    await browser.close();
    await target.stop();
  }
});
