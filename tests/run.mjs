// Runs the end-to-end tests, one file after the other, and says what is left behind.
//
//   node run.mjs [--reference] [--long] [file…]     files are named by their beginning: `contract`, `kill`
//
// Exit code 0 when every test passed and no process of the run is left. Where at most three files failed they are run once
// more: one that passes then is told as unsteady, by name and with its first failure, and is a defect to be found; `--long` has no second run.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { commandLine, withEnvironment } from "./harness/processes.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const flags = process.argv.slice(2).filter((word) => word.startsWith("--"));
const names = process.argv.slice(2).filter((word) => !word.startsWith("--"));
for (const flag of flags) {
  if (!["--reference", "--long"].includes(flag)) {
    console.error(`unknown flag ${flag}: --reference or --long`);
    process.exit(2);
  }
}

const files = readdirSync(join(here, "e2e"))
  .filter((file) => file.endsWith(".test.mjs") && (names.length === 0 || names.some((name) => file.startsWith(name))))
  .sort();
const mark = `SOCKEYE_TEST_RUN=${randomUUID()}`;
const temp = mkdtempSync(join(tmpdir(), "sk-run-"));
// Servers that leave root behind have directories of their own in it.
chmodSync(temp, 0o711);
const env = {
  ...process.env,
  SOCKEYE_TEST_RUN: mark.split("=")[1],
  TMPDIR: temp,
  ...(flags.includes("--reference") ? { SOCKEYE_REFERENCE: "1" } : {}),
  ...(flags.includes("--long") ? { SOCKEYE_LONG: "1" } : {}),
};
/** No file takes longer, or it hangs. */
const FILE_MS = flags.includes("--long") ? 1_800_000 : 600_000;
let child;
/** More files than these that fail are no chance. */
const AGAIN_MAX = 3;

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    child?.kill("SIGKILL");
    for (const pid of withEnvironment(mark)) process.kill(pid, "SIGKILL");
    rmSync(temp, { recursive: true, force: true });
    process.exit(1);
  });
}

const results = new Map();
for (const file of files) results.set(file, await run(file));
const failed = [...results].filter(([, { failed }]) => failed > 0).map(([file]) => file);
const unsteady = [];
if (failed.length <= AGAIN_MAX && !flags.includes("--long")) {
  for (const file of failed) {
    const again = await run(file, " (a second time: it failed)");
    if (again.failed > 0) continue;
    results.set(file, again);
    unsteady.push(file);
  }
}
rmSync(temp, { recursive: true, force: true });

const sum = (word) => [...results.values()].reduce((sum, counts) => sum + counts[word], 0);
console.log(`\nend-to-end: ${sum("passed")} passed, ${sum("failed")} failed, ${sum("skipped")} skipped`);
for (const file of unsteady) console.log(`unsteady: ${file} failed once and passed when it was run again: its first failure stands above, and wants a cause`);
process.exit(sum("failed") === 0 && files.length > 0 ? 0 : 1);

async function run(file, why = "") {
  console.log(`\n== ${file}${why}`);
  const tap = join(temp, "tap");
  const report = ["spec", "stdout", "tap", tap];
  const reporters = report.map((value, i) => (i % 2 ? `--test-reporter-destination=${value}` : `--test-reporter=${value}`));
  child = spawn(process.execPath, ["--test", ...reporters, join(here, "e2e", file)], { env, stdio: ["ignore", "inherit", "inherit"], timeout: FILE_MS, killSignal: "SIGKILL" });
  const code = await new Promise((resolve) => child.on("close", resolve));
  const text = readFileSync(tap, "utf8");
  const count = (word) => Number(new RegExp(`^# ${word} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  const counts = {
    passed: count("pass"),
    failed: count("fail") + count("cancelled"),
    skipped: text.match(/^\s*ok \d+ - .* # SKIP/gm)?.length ?? 0, // node's own count leaves whole suites out
  };
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  rmSync(tap);
  counts.failed += await leftovers(file);
  return counts;
}

/** The processes and files that a test file left behind: each is told, removed before the next, and counts as a failure. */
async function leftovers(file) {
  let count = 0;
  let pids = withEnvironment(mark);
  for (const deadline = Date.now() + 2000; pids.length > 0 && Date.now() < deadline; pids = withEnvironment(mark)) await sleep(50);
  for (const pid of pids) {
    console.log(`✖ ${file} left process ${pid} behind: ${commandLine(pid)}`);
    count += 1;
    process.kill(pid, "SIGKILL");
  }
  for (const name of readdirSync(temp)) {
    if (!name.startsWith("sk-")) continue; // node's and Chromium's own
    console.log(`✖ ${file} left ${name} behind`);
    count += 1;
    rmSync(join(temp, name), { recursive: true, force: true });
  }
  return count;
}
