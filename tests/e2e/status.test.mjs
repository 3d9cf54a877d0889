// The status page in a real browser: what it shows, that it refreshes itself, asks for the token, and loads nothing from elsewhere.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { closeAll, connectMany } from "../harness/clients.mjs";
import { echo } from "../harness/echo.mjs";
import { launch, NO_CHROMIUM } from "../harness/browser.mjs";
import { settingsFile, upFile } from "../harness/files.mjs";
import { freePort, REFERENCE } from "../harness/target.mjs";

const TOKEN = "0123456789abcdef0123";
const skip = (REFERENCE && "the reference has no status page") || NO_CHROMIUM;

describe("the status page", { skip }, () => {
  let browser, edge, file, down, port, admin, quiet;
  before(async () => {
    [port, admin, quiet] = [await freePort(), await freePort(), await freePort()];
    down = await echo("app01");
    file = settingsFile(`
      [admin]
      address = "127.0.0.1:${admin}"
      token = "${TOKEN}"
      [[listen]]
      address = "127.0.0.1:${port}"
      [[listen]]
      name = "quiet"
      address = "127.0.0.1:${quiet}"
      few_upgrades = 0
      [app.chat]
      bundled = "contract"
      instances = 2
      [upstream.legacy]
      servers = [{ name = "app01", address = "${down.at}" }, { name = "app02", address = "127.0.0.1:1", state = "maintenance" }]
      [[site]]
      path = "/legacy"
      upstream = "legacy"
      [[site]]
      upstream = "chat"
    `);
    edge = await upFile(file, port, { workers: 2 });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await edge?.stop();
    await down?.stop();
    file?.done();
  });

  test("asks for the token, shows upstreams, states, sessions and rates, and refreshes itself", async () => {
    const page = await (await browser.newContext({ viewport: { width: 1200, height: 900 } })).newPage();
    const asked = [];
    const troubles = [];
    page.on("request", (request) => asked.push(request.url()));
    page.on("pageerror", (error) => troubles.push(error.message));
    page.on("console", (line) => line.type() === "error" && !line.text().includes("401") && troubles.push(line.text()));
    const sockets = await connectMany(edge.url, "default", 6);
    try {
      const answer = await page.goto(`http://127.0.0.1:${admin}/`);
      assert.match(answer.headers()["content-security-policy"], /^default-src 'none'/);
      await page.getByLabel("Token").fill("not the token at all");
      await page.getByRole("button", { name: "Show" }).click();
      await page.getByText("This is not the token.").waitFor();
      await page.getByLabel("Token").fill(TOKEN);
      await page.getByRole("button", { name: "Show" }).click();
      const upstreams = page.getByRole("region", { name: "Upstreams" });
      await upstreams.getByRole("row").filter({ hasText: "app02" }).getByText("maintenance").waitFor();
      const sessions = page.locator("#tiles div", { hasText: "Sessions" }).locator("dd");
      await page.waitForFunction(() => document.querySelector("#tiles dd").textContent === "6");
      assert.equal(await upstreams.getByRole("row").count(), 5, "a head, two workers and two servers");
      assert.equal(await page.getByRole("region", { name: "Listeners" }).getByRole("rowheader", { name: "main" }).count(), 1);
      if (process.env.SOCKEYE_SCREENSHOT) await page.screenshot({ path: process.env.SOCKEYE_SCREENSHOT });
      closeAll(sockets);
      await page.waitForFunction(() => document.querySelector("#tiles dd").textContent === "0");
      assert.equal(await sessions.textContent(), "0");
      assert.deepEqual(troubles, []);
      assert.deepEqual(asked.filter((url) => !url.startsWith(`http://127.0.0.1:${admin}/`)), [], "nothing from elsewhere");
      assert.deepEqual(await page.evaluate(() => [document.documentElement.lang, [...document.querySelectorAll("th")].every((one) => one.scope)]), ["en", true]);
    } finally {
      closeAll(sockets);
      await page.context().close();
    }
  });

  test("without the token nothing but the page is answered", async () => {
    const at = `http://127.0.0.1:${admin}`;
    for (const [path, authorization, status] of [
      ["/status", undefined, 401],
      ["/metrics", "Bearer 0123456789abcdef0124", 401],
      ["/status", `Basic ${TOKEN}`, 401],
      ["/status", `bearer ${TOKEN}`, 200],
      ["/nothing", undefined, 401],
    ]) {
      const answer = await fetch(at + path, { headers: authorization ? { authorization } : {} });
      assert.equal(answer.status, status, path);
      await answer.text();
    }
    assert.equal((await fetch(`${at}/upstreams/legacy/app01/drain`, { method: "POST" })).status, 401);
    const drained = await fetch(`${at}/upstreams/legacy/app01/drain`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` } });
    assert.deepEqual([drained.status, await drained.json()], [200, { done: "app01 of legacy: drain" }]);
    const status = await (await fetch(`${at}/status`, { headers: { authorization: `Bearer ${TOKEN}` } })).json();
    const legacy = status.groups.find((group) => group.name === "legacy").servers.map((server) => [server.name, server.state]);
    assert.deepEqual(legacy, [["app01", "drain"], ["app02", "maintenance"]]);
  });

  // The last one: its sessions stay until they are missed.
  test("S4-15: names the listener whose clients ask for a WebSocket in vain, as the metrics and the log do; who polls by choice does not count", async () => {
    const metrics = async () => (await fetch(`http://127.0.0.1:${admin}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })).text();
    const page = await (await browser.newContext()).newPage();
    // As they come where the header Upgrade is lost on the way.
    const polling = async (at, ask) => {
      for (let begun = 0; begun < 200; begun += 20) {
        await Promise.all(Array.from({ length: 20 }, async () => {
          const answer = await fetch(`http://127.0.0.1:${at}/socket.io/?EIO=4&transport=polling`);
          assert.equal(answer.status, 200);
          const { sid } = JSON.parse((await answer.text()).slice(1));
          if (ask) assert.equal((await fetch(`http://127.0.0.1:${at}/socket.io/?EIO=4&transport=websocket&sid=${sid}`)).status, 400);
        }));
      }
    };
    const few = async (name) => new RegExp(`^sockeye_edge_listener_few_upgrades\\{listener="${name}"\\} (\\d)$`, "m").exec(await metrics())[1];
    try {
      await page.goto(`http://127.0.0.1:${admin}/`);
      await page.getByLabel("Token").fill(TOKEN);
      await page.getByRole("button", { name: "Show" }).click();
      const where = page.locator("#bad div", { hasText: "Clients stay on polling at" }).locator("dd");
      await where.getByText("no listener", { exact: true }).waitFor();
      await polling(port, false);
      assert.equal(await few("main"), "0");
      await Promise.all([polling(port, true), polling(quiet, true)]);
      await edge.until("told", async () => (await few("main")) === "1" && edge.output.includes("few clients that ask for a WebSocket get it"));
      await where.getByText("main", { exact: true }).waitFor();
      assert.equal(await few("quiet"), "0", "it was turned off there");
    } finally {
      await page.context().close();
    }
  });
});
