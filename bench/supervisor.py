#!/usr/bin/env python3
"""What a process manager costs while nothing happens: `sockeye start` beside pm2, each with two instances of a chat server. See bench/README.md.

Rows: RSS of all processes of the stack and of the daemon alone (MiB), the time of `list` (ms), the daemon's growth while one app writes --lines lines (MiB), and how many
workers live after the daemon was killed with -9.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PM2 = ROOT / "bench/peers/pm2/node_modules/.bin/pm2"
NODE_APP = ROOT / "bench/peers/node/server.js"
RUST_APP = RELEASE / "examples" / "hello"
MIB = 1 << 20


class Stack:
    """One manager with its own home, known by a mark in the environment of all its processes."""

    def __init__(self, name, command, is_daemon):
        self.name, self.command, self.is_daemon = name, command, is_daemon
        self.mark = f"SOCKEYE_BENCH={uuid.uuid4()}"
        self.home = tempfile.mkdtemp(prefix="sk-b")
        key, value = self.mark.split("=")
        self.env = {**os.environ, key: value, "HOME": self.home, "PM2_HOME": f"{self.home}/pm2", "XDG_STATE_HOME": f"{self.home}/s", "XDG_RUNTIME_DIR": f"{self.home}/r"}
        os.mkdir(f"{self.home}/r", 0o700)

    def run(self, *words):
        return subprocess.run([*self.command, *words], env=self.env, check=True, capture_output=True, text=True).stdout

    def processes(self):
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() in entry.joinpath("environ").read_bytes().split(b"\0"):
                    resident = int(entry.joinpath("statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                    if resident:
                        found[int(entry.name)] = (resident, entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    def daemon(self):
        return next(pid for pid, (_, line) in self.processes().items() if self.is_daemon(line))

    def end(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)


def resident(stack, pids=None):
    return sum(size for pid, (size, _) in stack.processes().items() if pids is None or pid in pids) / MIB


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def list_times(stack, rounds):
    times = []
    for _ in range(rounds):
        since = time.perf_counter()
        stack.run("list")
        times.append((time.perf_counter() - since) * 1000)
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def measure(stack, start, port, lines, chatter):
    row = {}
    try:
        stack.run(*start)
        until(f"{stack.name} serves", lambda: answers(port))
        time.sleep(3)  # idle is what is left when starting is over; pages of the start are given back a second later
        row["stack"], row["daemon"] = resident(stack), resident(stack, {stack.daemon()})
        row["list"] = list_times(stack, 20)
        done = pathlib.Path(stack.home, "done")
        before = resident(stack, {stack.daemon()})
        stack.run(*chatter(done))
        until(f"{lines} lines are written", done.exists, 300)
        time.sleep(1)
        row["growth"] = resident(stack, {stack.daemon()}) - before
        workers = {pid for pid, (_, line) in stack.processes().items() if str(NODE_APP) in line or str(RUST_APP) in line}
        os.kill(stack.daemon(), signal.SIGKILL)
        time.sleep(2)
        row["alive"] = f"{len(workers & set(stack.processes()))} of {len(workers)}"
    finally:
        stack.end()
    return row


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--lines", type=int, default=1_000_000)
    words.add_argument("--json", action="store_true")
    asked = words.parse_args()
    chatter = f"const fs = require('fs'); let n = 0; (function more() {{ while (n < {asked.lines}) if (!process.stdout.write('line ' + n++ + '\\n')) return process.stdout.once('drain', more); fs.writeFileSync(process.env.DONE, ''); setInterval(() => {{}}, 1e6); }})();"
    rows = {}
    with tempfile.TemporaryDirectory() as directory:
        script = pathlib.Path(directory, "chatter.js")
        script.write_text(chatter, encoding="utf-8")

        def write(stack):
            def start(done):
                stack.env["DONE"] = str(done)
                return ["start", str(script), "--name", "chatter"]

            return start

        ours = Stack("sockeye", [str(RELEASE / "sockeye")], lambda line: line.rstrip().endswith(" daemon"))
        rows["sockeye, Rust app"] = measure(ours, ["start", str(RUST_APP), "-i", "2"], 3000, asked.lines, write(ours))
        node = Stack("sockeye", ours.command, ours.is_daemon)
        rows["sockeye, Node app"] = measure(node, ["start", str(NODE_APP), "-i", "2"], 3000, asked.lines, write(node))
        if PM2.exists():
            pm2 = Stack("pm2", [str(PM2)], lambda line: "God Daemon" in line)
            pm2.env["NUMBER"] = "0"  # what the server adds to its port when it is one of a cluster
            rows["pm2, Node app"] = measure(pm2, ["start", str(NODE_APP), "-i", "2"], 3000, asked.lines, write(pm2))
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print("| | stack MiB | daemon MiB | `list` ms (min–max) | daemon's growth MiB | workers alive after the daemon's kill -9 |\n| --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        took = row["list"]
        print(f"| {name} | {row['stack']:.1f} | {row['daemon']:.1f} | {took['median']:.1f} ({took['min']:.1f}–{took['max']:.1f}) | {row['growth']:+.2f} | {row['alive']} |")


if __name__ == "__main__":
    main()
