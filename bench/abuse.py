#!/usr/bin/env python3
"""Abuses a server of the benchmark contract at a steady pace until it is told to stop. See bench/README.md.

usage: abuse.py PORT

Ends at SIGTERM and prints how often it did what, as one line of JSON. What the server makes of it is not looked at, but
for answers to bogus session ids, which have to be refusals: a stranger that hangs up in the middle is part of the abuse.
"""

import asyncio
import collections
import contextlib
import json
import os
import signal
import sys

HOST = "127.0.0.1"
# How often each happens in a second.
PACE = {"bogus_sid": 1_000, "broken_frame": 100, "half_request": 50, "oversize": 5, "flood": 5, "slow_reader": 2}
# Half requests and slow readers stay, up to so many; then the oldest goes.
LINGERING_MAX = 500
HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
FLOOD_EVENTS = 2_000
SLOW_BYTES = 200_000

counts = collections.Counter()
lingering = collections.deque()


async def main(port):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    kinds = {"broken_frame": broken_frame, "half_request": half_request, "oversize": oversize, "flood": flood, "slow_reader": slow_reader}
    tasks = [asyncio.create_task(bogus_sids(port))]
    tasks += [asyncio.create_task(steadily(name, act, port)) for name, act in kinds.items()]
    await stop.wait()
    for task in tasks:
        task.cancel()
    print(json.dumps(counts), flush=True)


async def steadily(name, act, port):
    """Does it at its pace; what is still under way does not hold up the next."""
    under_way = set()
    while True:
        await asyncio.sleep(1 / PACE[name])
        if len(under_way) < 50:
            task = asyncio.create_task(once(name, act, port))
            under_way.add(task)
            task.add_done_callback(under_way.discard)


async def once(name, act, port):
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(HOST, port)
            counts[name] += 1
            try:
                if await act(reader, writer):
                    lingering.append(writer)
                    if len(lingering) > LINGERING_MAX:
                        lingering.popleft().close()
                else:
                    writer.close()
            except BaseException:
                writer.close()
                raise


async def bogus_sids(port):
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(HOST, port)
            while True:
                await asyncio.sleep(1 / PACE["bogus_sid"])
                sid = os.urandom(10).hex()
                writer.write(f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = await reader.readuntil(b'"Session ID unknown"}')
                if not answer.startswith(b"HTTP/1.1 400"):
                    sys.exit(f"abuse.py: a bogus session id was answered by {answer!r}")
                counts["bogus_sid"] += 1


async def broken_frame(reader, writer):
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(os.urandom(256))
    await writer.drain()
    await reader.read()


async def half_request(reader, writer):
    writer.write(b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHo")
    await writer.drain()
    return True


async def oversize(reader, writer):
    writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"}")
    sid = head.split(b'"sid":"')[1].split(b'"')[0].decode()
    target = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n".encode() + b"4" * 1_000_000)
    await writer.drain()
    await reader.read(1000)


async def flood(reader, writer):
    await enter(reader, writer)
    writer.write(frame(b'42["noise",1]') * FLOOD_EVENTS)
    await writer.drain()


async def slow_reader(reader, writer):
    await enter(reader, writer)
    # What comes back is never read: the transport stops at what the kernel holds.
    writer.transport.pause_reading()
    writer.write(frame(b'42["echo","' + b"x" * 20_000 + b'"]') * (SLOW_BYTES // 20_000))
    await writer.drain()
    return True


async def enter(reader, writer):
    writer.write(HANDSHAKE)
    await reader.readuntil(b"}")
    writer.write(frame(b"40"))
    await reader.readuntil(b"}")


def frame(payload):
    """A text frame, masked with nothing."""
    length = len(payload)
    head = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return b"\x81" + head + b"\0\0\0\0" + payload


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
