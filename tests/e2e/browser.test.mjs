// The chat page in a real browser: two windows, real messages, WebSocket at every load. With the official client and with our own.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, NO_CHROMIUM, openWindow, settled } from "../harness/browser.mjs";
import { LONG, REFERENCE, up } from "../harness/target.mjs";

const RELOADS = LONG ? 200 : 20;
const MARKS = { official: /Socket\.IO v4/, own: /own small browser client/ };

for (const client of ["official", "own"]) {
  describe(`the page with the ${client} client`, { skip: NO_CHROMIUM }, () => {
    let target;
    let browser;
    before(async () => {
      target = await up({ app: "chat", workers: REFERENCE ? 1 : 4, client });
      browser = await launch();
    });
    after(async () => {
      await browser?.close();
      await target?.stop();
    });

    test("the client served is the one expected", async () => {
      const answer = await target.knock("/socket.io/socket.io.js");
      assert.equal(answer.status, 200);
      assert.match(answer.headers.get("content-type"), /javascript/);
      assert.match((await answer.text()).slice(0, 500), MARKS[client]);
    });

    test("two windows see each other's messages over WebSocket", async () => {
      const windows = await Promise.all([openWindow(browser, target.url), openWindow(browser, target.url)]);
      const [one, two] = windows.map(({ page }) => page);
      await Promise.all([settled(one), settled(two)]);
      for (const page of [one, two]) await page.waitForSelector("#log .info >> text=welcome");
      assert.equal(await one.textContent("#transport"), "websocket");
      assert.equal(await one.textContent("#socket"), await one.evaluate(() => window.socket.id));

      await say(one, "hello from one <b>&amp;</b>");
      await say(two, "hello from two \u{1F41F}");
      for (const page of [one, two]) {
        await page.waitForFunction(() => document.querySelectorAll("#log .msg").length === 2, null, { timeout: 20_000 });
        assert.deepEqual((await page.locator("#log .msg span").allTextContents()).sort(), ["hello from one <b>&amp;</b>", "hello from two \u{1F41F}"]);
        for (const time of await page.locator("#log time").allTextContents()) assert.match(time, /^\d\d:\d\d:\d\d$/);
      }
      for (const { seen } of windows) assert.deepEqual(seen, { upgrades: [101], bad: [], errors: [], dialogs: [] });
      await Promise.all(windows.map((window) => window.close()));
    });

    test("an empty message is not sent: the page asks for one", async () => {
      const window = await openWindow(browser, target.url);
      await settled(window.page);
      await window.page.click("#send");
      assert.deepEqual(window.seen.dialogs, ["input your message"]);
      assert.equal(await window.page.locator("#log .msg").count(), 0);
      await window.close();
    });

    test(`${RELOADS} reloads: always websocket, never an error`, { timeout: 600_000 }, async () => {
      const window = await openWindow(browser, target.url);
      for (let i = 0; i < RELOADS; i += 1) {
        await window.page.reload();
        await settled(window.page);
        await say(window.page, `reload ${i}`);
        await window.page.waitForSelector(`#log .msg >> text="reload ${i}"`);
        assert.equal(await window.page.locator("#log .disconnect").count(), 0);
      }
      assert.deepEqual(window.seen.bad, []);
      assert.deepEqual(window.seen.errors, []);
      assert.ok(window.seen.upgrades.length >= RELOADS && window.seen.upgrades.every((status) => status === 101));
      await window.close();
    });

    test("a page that comes back from a cut line says so and goes on", async () => {
      const window = await openWindow(browser, target.url);
      await settled(window.page);
      await window.page.evaluate(() => window.socket.io.engine.transport.ws.close());
      await window.page.waitForSelector("#log .disconnect >> text=disconnected: transport close");
      await settled(window.page);
      await say(window.page, "back again");
      await window.page.waitForSelector('#log .msg >> text="back again"');
      await window.close();
    });
  });
}

async function say(page, text) {
  await page.fill("#input", text);
  await page.click("#send");
}
