// Starts an example of the library on a free port; `SKIP(name)` says why it cannot.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { binary, freePort, REFERENCE } from "./target.mjs";

const PROGRAM = (name) => binary(`examples/${name}`);
const READY_TRIES = 200;
const READY_PAUSE_MS = 25;

/** Why the tests of an example are skipped; false when they are not. */
export function skipped(name) {
  if (REFERENCE) return "the server is an example of ours";
  return existsSync(PROGRAM(name)) ? false : `${PROGRAM(name)} is not built`;
}

/** The program, its address, and what ends it. */
export async function start(name, environment = {}) {
  const port = await freePort();
  const server = spawn(PROGRAM(name), { env: { ...process.env, ...environment, PORT: String(port) }, stdio: ["pipe", "inherit", "inherit"] });
  const dead = new Promise((resolve) => server.once("exit", resolve));
  const kill = () => server.kill("SIGKILL");
  process.once("exit", kill);
  const stop = async () => {
    kill();
    await dead;
    process.off("exit", kill);
  };
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < READY_TRIES && server.exitCode === null; tries += 1) {
    if (await fetch(`${url}/socket.io/?EIO=4&transport=polling`).then((answer) => answer.ok, () => false)) return { url, server, dead, stop };
    await sleep(READY_PAUSE_MS);
  }
  await stop();
  throw new Error(`the example ${name} does not come up`);
}
