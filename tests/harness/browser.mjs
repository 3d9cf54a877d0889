// A real headless Chromium, Debian's, driven over its own protocol.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** Why browser tests are skipped; false when Chromium is there. */
export const NO_CHROMIUM = existsSync(EXECUTABLE) ? false : `${EXECUTABLE} is missing`;

export function launch() {
  return chromium.launch({
    executablePath: EXECUTABLE,
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
}

/** A window of its own, with what went over its network written down. */
export async function openWindow(browser, url) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const seen = { upgrades: [], bad: [], errors: [], dialogs: [] };
  const cdp = await context.newCDPSession(page);
  await cdp.send("Network.enable");
  cdp.on("Network.webSocketHandshakeResponseReceived", ({ response }) => seen.upgrades.push(response.status));
  page.on("response", (response) => response.status() >= 400 && seen.bad.push(`${response.status()} ${response.url()}`));
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("dialog", (dialog) => (seen.dialogs.push(dialog.message()), dialog.accept()));
  if (url) await page.goto(url);
  return { page, seen, close: () => context.close() };
}

/** Waits until the page's socket is connected and has settled on this transport. */
export function settled(page, transport = "websocket") {
  return page.waitForFunction((name) => window.socket?.connected && window.socket.io.engine.transport.name === name, transport, { timeout: 20_000 });
}
