#!/usr/bin/env python3
"""Whether a relay gains by `splice`: its own CPU µs per message and direction, read and written against moved through a pipe. See bench/PROFILE.md."""

import argparse
import os
import pathlib
import socket
import statistics
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOOR = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "bench-floor"
SIZES = [512, 4096, 16384, 65536, 262144]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floor", type=pathlib.Path, default=FLOOR)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    flags = parser.parse_args()
    echo = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(echo,), daemon=True).start()
    print("| message, bytes | read and write | splice | ratio |\n| --- | --- | --- | --- |")
    for size in SIZES:
        pairs = [[measure(flags, echo.getsockname()[1], size, how) for how in ([], ["--splice"])] for _ in range(flags.rounds)]
        both = [statistics.median(column) for column in zip(*pairs, strict=True)]
        print(f"| {size} | {both[0]:.1f} | {both[1]:.1f} | {statistics.median(b / a for a, b in pairs):.2f} |", flush=True)


def measure(flags, to, size, how):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    relay = subprocess.Popen(["taskset", "-c", "0", flags.floor, f"--port={port}", f"--relay-to={to}", *how], stdout=subprocess.PIPE, text=True)
    try:
        relay.stdout.readline()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            message, count = b"x" * size, 0
            for _ in range(20):
                turn(client, message)
            before, end = cpu(relay.pid), time.monotonic() + flags.seconds
            while time.monotonic() < end:
                turn(client, message)
                count += 1
            return (cpu(relay.pid) - before) / count / 2 / 1000
    finally:
        relay.kill()
        relay.wait()


def turn(client, message):
    client.sendall(message)
    left = len(message)
    while left:
        left -= len(client.recv(min(left, 1 << 18)))


def cpu(pid):
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0])


def serve(listener):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def answer(stream):
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while piece := stream.recv(1 << 18):
        stream.sendall(piece)


if __name__ == "__main__":
    main()
