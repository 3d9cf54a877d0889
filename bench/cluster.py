"""The rows of `bench/run --cluster`: two nodes on one core, with Redis or without a broker. CPU time is that of all processes together."""

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

# Name: how it starts, what it shares, and whether one process opens both ports.
REDIS, MESH, ALONE = "redis", "mesh", None
SERVERS = {
    "ours, Redis": ("ours", REDIS, False),
    "socketioxide, Redis": ("socketioxide", REDIS, False),
    "node, Redis": ("node", REDIS, False),
    "ours, mesh": ("ours", MESH, False),
    "node, cluster-adapter": ("node", "cluster", True),
    # One process without others: the system calls that the clients alone cost any server.
    "floor, alone": ("floor", ALONE, False),
}
FLOOR = "floor, alone"
# CPU rows: what the load is told.
ROWS = {
    "broadcast to 200": ["fanout", "--clients=200"],
    "rooms of 10": ["rooms", "--clients=200"],
}
# Of each row and the pair of servers: what the targets ask.
MUST = [
    ("broadcast to 200", "ours, Redis", "socketioxide, Redis", 0.85),
    ("rooms of 10", "ours, Redis", "socketioxide, Redis", 0.75),
    ("broadcast to 200", "ours, mesh", "node, cluster-adapter", 0.45),
    ("rooms of 10", "ours, mesh", "node, cluster-adapter", 0.45),
]
# Latency rows, one client: what the load is told for each side.
LATENCIES = {
    "polling echo, right node": ("ours, mesh", ["polling"], False),
    "polling echo, wrong node": ("ours, mesh", ["polling"], True),
    "connect, in a cluster": ("ours, Redis", ["connect-ws"], False),
    "unknown sid": ("ours, Redis", ["unknown-sid"], False),
    "404": ("ours, Redis", ["not-found"], False),
}


def table(flags, tools):
    """The tables as lines of Markdown."""
    cpu, latency = {}, {}
    with contextlib.ExitStack() as stack:
        started = {name: stack.enter_context(Nodes(name, flags, tools)) for name in SERVERS}
        alone = stack.enter_context(tools.Server("ours", flags))
        for number in range(flags.rounds):
            for row, command in ROWS.items():
                for name, nodes in started.items():
                    report = load(command, nodes, flags, tools)
                    cpu.setdefault((row, name), []).append((report["server"]["cpu_us_per_message"], report["latency"]["p99_us"]))
                    print(f"{row}, {name} {number + 1}/{flags.rounds}: {tools.summary(report)}", flush=True)
            for row, (name, command, wrong) in LATENCIES.items():
                report = load([*command, "--clients=1"], started[name], flags, tools, wrong)
                latency.setdefault(row, []).append(report["latency"]["p50_us"])
                print(f"{row} {number + 1}/{flags.rounds}: p50 {report['latency']['p50_us']:,.0f} µs", flush=True)
            report = tools.loaded([tools.LOAD, "connect-ws", "--clients=1", f"--port={alone.port}", *times(flags)], flags, "connect")
            latency.setdefault("connect, alone", []).append(report["latency"]["p50_us"])
    return [*cpu_lines(cpu), "", *latency_lines(latency)]


def load(command, nodes, flags, tools, wrong=False):
    first = nodes.ports[0]
    ports = ["--port=" + ",".join(map(str, nodes.ports))]
    if wrong:
        ports = [f"--port={first}", f"--wrong-port={nodes.ports[1]}"]
    elif "--clients=1" in command:
        ports = [f"--port={first}"]
    pids = [f"--server-pid={pid}" for pid in nodes.pids()]
    return tools.loaded([tools.LOAD, *command, *ports, *pids, *times(flags)], flags, f"{command[0]} against {nodes.name}")


def times(flags):
    return [f"--seconds={flags.seconds}", f"--warmup={flags.warmup}", *["--sleep"] * flags.sleep]


def cpu_lines(cpu):
    lines = ["CPU µs per delivery of all processes (nodes and Redis), and p99 in ms; median (min–max) of the rounds", ""]
    lines += ["| row | " + " | ".join(SERVERS) + " |", "|" + " --- |" * (len(SERVERS) + 1)]
    for row in ROWS:
        cells = [row]
        for name in SERVERS:
            costs, tails = zip(*cpu[row, name], strict=True)
            cells.append(f"{statistics.median(costs):.2f} ({min(costs):.2f}–{max(costs):.2f}), {statistics.median(tails) / 1000:.1f} ms")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| row | pair | ratio of CPU, median of the rounds' | must | ratio of p99 |", "| --- | --- | --- | --- | --- |"]
    for row, name, other, must in MUST:
        pairs = list(zip(cpu[row, name], cpu[row, other], strict=True))
        cost = statistics.median(a[0] / b[0] for a, b in pairs)
        tail = statistics.median(a[1] / b[1] for a, b in pairs)
        lines.append(f"| {row} | {name} / {other} | {cost:.2f} | ≤ {must} | {tail:.2f} |")
    lines += ["", "× the floor, median of the rounds' ratios", "", "| row | " + " | ".join(SERVERS) + " |", "|" + " --- |" * (len(SERVERS) + 1)]
    for row in ROWS:
        floor = [cost for cost, _ in cpu[row, FLOOR]]
        over = [statistics.median(a / b for (a, _), b in zip(cpu[row, name], floor, strict=True)) for name in SERVERS]
        lines.append(f"| {row} | " + " | ".join(f"{ratio:.2f}" for ratio in over) + " |")
    return lines


def latency_lines(latency):
    lines = ["One client, p50 in µs: median (min–max) of the rounds", "", "| what | µs |", "| --- | --- |"]
    for row, values in latency.items():
        lines.append(f"| {row} | {statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f}) |")

    def more(one, other):
        return statistics.median(a - b for a, b in zip(latency[one], latency[other], strict=True))

    wrong, connect = more("polling echo, wrong node", "polling echo, right node"), more("connect, in a cluster", "connect, alone")
    unknown = statistics.median(a / b for a, b in zip(latency["unknown sid"], latency["404"], strict=True))
    lines += ["", f"Wrong node against the right one: {wrong:+,.0f} µs (must: at most +300). Connect in a cluster against alone: {connect:+,.0f} µs"]
    return [*lines, f"(must: +0). Unknown sid against 404: {unknown:.2f} (must: the time of a 404)."]


class Nodes:
    """Two nodes and what they share, from their first answers to the end of the block."""

    def __init__(self, name, flags, tools):
        self.name = name
        self.flags, self.tools = flags, tools
        self.kind, self.shared, self.joint = SERVERS[name]
        self.processes = []
        self.directory = tempfile.mkdtemp(prefix="sk-bench-")
        self.ports = self.free_ports()

    def free_ports(self):
        while True:
            first = self.tools.free_port()
            with contextlib.suppress(OSError), self.tools.socket.create_server(("127.0.0.1", first + 1)):
                return [first] if self.shared is ALONE else [first, first + 1]

    def __enter__(self):
        try:
            adapter = self.shared
            if self.shared == REDIS:
                if not shutil.which("redis-server"):
                    sys.exit("bench/run: --cluster needs redis-server")
                port = self.tools.free_port()
                self.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.directory])
                self.wait(lambda: self.tools.socket.create_connection(("127.0.0.1", port), 5).close())
                adapter = f"redis://127.0.0.1:{port}"
            elif self.shared == MESH:
                adapter = f"mesh:{self.directory}/mesh"
            adapter = [f"--adapter={adapter}"] if adapter else []
            for port in self.ports[: 1 if self.joint else 2]:
                self.start([*self.tools.SERVERS[self.kind], "--host=127.0.0.1", f"--port={port}", "--threads=1", *adapter])
            for port in self.ports:
                self.wait(lambda port=port: urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close())
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, command):
        command = self.tools.pinned(command, self.tools.SERVER_CORE)
        hurry = lambda: self.tools.hurry(self.flags)  # noqa: E731
        self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=hurry))

    def wait(self, ask):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return ask()
            time.sleep(0.05)
        sys.exit(f"bench/run: {self.name} does not answer")

    def pids(self):
        own = [process.pid for process in self.processes]
        if not self.joint:
            return own
        # The workers of a primary.
        children = subprocess.run(["pgrep", "-P", str(own[0])], capture_output=True, text=True, check=False).stdout.split()
        return own + [int(pid) for pid in children]

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
