// Runs the end-to-end tests, one file after the other, and says what is left behind.
//
//   node run.mjs [--reference] [--long] [file…]     files are named by their beginning: `contract`, `kill`
//
// Exit code 0 when every test passed and no process of the run is left. A summary is written as JSON to
// $SOCKEYE_SUMMARY for ./test.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
const total = { passed: 0, failed: 0, skipped: 0 };

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    child?.kill("SIGKILL");
    for (const pid of withEnvironment(mark)) process.kill(pid, "SIGKILL");
    rmSync(temp, { recursive: true, force: true });
    process.exit(1);
  });
}

for (const file of files) {
  console.log(`\n== ${file}`);
  const tap = join(temp, "tap");
  const report = ["spec", "stdout", "tap", tap];
  const reporters = report.map((value, i) => (i % 2 ? `--test-reporter-destination=${value}` : `--test-reporter=${value}`));
  child = spawn(process.execPath, ["--test", ...reporters, join(here, "e2e", file)], { env, stdio: ["ignore", "inherit", "inherit"], timeout: FILE_MS, killSignal: "SIGKILL" });
  const code = await new Promise((resolve) => child.on("close", resolve));
  const text = readFileSync(tap, "utf8");
  const count = (word) => Number(new RegExp(`^# ${word} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  total.passed += count("pass");
  total.failed += count("fail") + count("cancelled");
  total.skipped += text.match(/^\s*ok \d+ - .* # SKIP/gm)?.length ?? 0; // node's own count leaves whole suites out
  if (code !== 0 && count("fail") + count("cancelled") === 0) total.failed += 1;
  rmSync(tap);
  await leftovers(file);
}
rmSync(temp, { recursive: true, force: true });

console.log(`\nend-to-end: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
if (process.env.SOCKEYE_SUMMARY) writeFileSync(process.env.SOCKEYE_SUMMARY, JSON.stringify(total));
process.exit(total.failed === 0 && files.length > 0 ? 0 : 1);

/** Fails for each process and file that a test file left behind, and removes them before the next. */
async function leftovers(file) {
  let pids = withEnvironment(mark);
  for (const deadline = Date.now() + 2000; pids.length > 0 && Date.now() < deadline; pids = withEnvironment(mark)) await sleep(50);
  for (const pid of pids) {
    console.log(`✖ ${file} left process ${pid} behind: ${commandLine(pid)}`);
    total.failed += 1;
    process.kill(pid, "SIGKILL");
  }
  for (const name of readdirSync(temp)) {
    if (!name.startsWith("sk-")) continue; // node's and Chromium's own
    console.log(`✖ ${file} left ${name} behind`);
    total.failed += 1;
    rmSync(join(temp, name), { recursive: true, force: true });
  }
}
