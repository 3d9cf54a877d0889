"""What the contract leaves out, by the stock Python client, against a server of the `features` app or, with msgpack, of `msgpack`.

usage: features.py URL sync|asyncio polling|websocket|default default|msgpack
"""

import asyncio
import os
import sys

from contract import Client


async def everything_comes_back(client, sent):
    for row in ([1, "ü\u2028", {"a": [None, True, 1.5]}], [sent], [{"a": [sent, {"b": sent}]}, "tail"]):
        await client.emit("message", *row)
        assert await client.next("message") == row


async def the_server_is_answered(client):
    assert await client.call("ask-within", 10_000) == {"said": "heard"}


async def rooms_are_asked_and_told(clients, sent):
    for client in clients:
        await client.call("join", ["python"])
    said = await clients[0].call("ask-room", "python", 10_000)
    assert said == {"said": ["heard"] * len(clients), "timedOut": False}, said
    await clients[0].emit("say-others", ["python"], [], sent)
    for client in clients[1:]:
        assert await client.next("said") == [sent]
    found = await clients[0].call("fetch", "python")
    assert {socket["id"] for socket in found} == {client.socket.get_sid("/") for client in clients}


async def main(url, kind, transport, serializer):
    clients = [Client(kind, transport, serializer, events=("message", "said")) for _ in range(3)]
    for client in clients:
        await client.connect(url)
    # The sync client takes each frame in a thread of its own, and may take attachments before their packet.
    racing = kind == "sync" and serializer == "default"
    sent = "text" if racing else os.urandom(5000)
    await everything_comes_back(clients[0], sent)
    await the_server_is_answered(clients[1])
    await rooms_are_asked_and_told(clients, sent)
    assert all(client.reasons == [] for client in clients)
    for client in clients:
        await client.close()


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:5]), 90))
