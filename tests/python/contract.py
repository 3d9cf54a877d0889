"""The stock Python client, sync or asyncio, against a server of the `contract` app.

usage: contract.py URL sync|asyncio polling|websocket|default

Prints one line and exits 0 when everything held; a traceback otherwise. The rows are the same for both kinds: they
are written as coroutines, and for the sync client each call just happens to be finished when it returns.
"""

import asyncio
import os
import sys

import socketio

CLIENTS = 10
WITHIN_S = 20
EVENTS = ("auth", "message-back", "echo", "broadcast", "room", "broadcast-others")
ROWS = [
    [1, "2", {"3": ["4", None, True]}],
    ["ünïcødé 🐟 \u2028"],
    [b"\x01\x02\x03"],
    [{"a": b"\x00\xff", "b": [b"", {"c": b"x" * 5000}]}, "tail"],
    [os.urandom(100_000), "text between", os.urandom(70_000)],
    ["x" * 200_000],
]


class Client:
    """One stock client behind coroutines."""

    def __init__(self, kind, transport, serializer="default", events=EVENTS, namespace="/"):
        self.asyncio = kind == "asyncio"
        self.transport = transport
        self.namespace = namespace
        self.socket = (socketio.AsyncClient if self.asyncio else socketio.Client)(reconnection=False, serializer=serializer)
        self.heard = {}
        self.loop = asyncio.get_running_loop()
        for event in events:
            self.listen(event)
        self.socket.on("question", self.answer(), namespace=namespace)
        self.reasons = []
        if self.asyncio:
            async def ended(reason):
                self.reasons.append(reason)
        else:
            def ended(reason):
                self.reasons.append(reason)
        self.socket.on("disconnect", ended, namespace=namespace)

    def listen(self, event):
        box = self.heard[event] = asyncio.Queue()
        if self.asyncio:
            async def handler(*args):
                box.put_nowait(list(args))
        else:
            def handler(*args):
                self.loop.call_soon_threadsafe(box.put_nowait, list(args))
        self.socket.on(event, handler, namespace=self.namespace)

    def answer(self):
        if self.asyncio:
            async def handler(*args):
                return {"heard": args[-1]} if args else "heard"
        else:
            def handler(*args):
                return {"heard": args[-1]} if args else "heard"
        return handler

    async def connect(self, url, auth=None):
        transports = None if self.transport == "default" else [self.transport]
        auth = auth or {"token": "äbc"}
        await self.do(self.socket.connect, url, auth=auth, transports=transports, namespaces=[self.namespace], wait_timeout=WITHIN_S)

    async def do(self, method, *args, **named):
        if self.asyncio:
            return await method(*args, **named)
        return await asyncio.to_thread(method, *args, **named)

    async def emit(self, event, *args):
        await self.do(self.socket.emit, event, args, namespace=self.namespace)

    async def call(self, event, *args):
        return await self.do(self.socket.call, event, args, timeout=WITHIN_S, namespace=self.namespace)

    async def next(self, event):
        return await asyncio.wait_for(self.heard[event].get(), WITHIN_S)

    async def close(self):
        await self.do(self.socket.disconnect)


async def acks_and_binary_come_back_whole(client):
    for row in ROWS:
        await client.emit("message", *row)
        assert await client.next("message-back") == row
        said = await client.call("message-with-ack", *row)
        assert (list(said) if len(row) > 1 else [said]) == row
    x = {"bytes": os.urandom(10)}
    assert await client.call("ask", x) == {"heard": x}


async def everyone_hears_everyone(clients):
    # The Python client refuses a polling payload of more than 16 packets: three messages of two packets each fit.
    sent = [{"n": n, "bytes": os.urandom(20)} for n in range(3)]
    for client, x in zip(clients, sent):
        await client.emit("broadcast", x)
    for client in clients:
        heard = [(await client.next("broadcast"))[0] for _ in sent]
        assert sorted(heard, key=lambda x: x["n"]) == sent


async def rooms_hold(clients):
    members, outsider = clients[:-1], clients[-1]
    for member in members:
        await member.call("join", "python room")
    await outsider.emit("room", "python room", b"hello")
    for member in members:
        assert await member.next("room") == [b"hello"]
    await outsider.emit("broadcast-others", "others")
    for member in members:
        assert await member.next("broadcast-others") == ["others"]
    await outsider.call("echo-ack", "flush")
    assert outsider.heard["room"].empty() and outsider.heard["broadcast-others"].empty()


async def a_namespace_is_apart(url, kind, transport, main):
    custom = Client(kind, transport, namespace="/custom")
    await custom.connect(url)
    assert await custom.next("auth") == [{"token": "äbc"}]
    await custom.emit("broadcast", b"custom")
    assert await custom.next("broadcast") == [b"custom"]
    await acks_and_binary_come_back_whole(custom)
    await main.call("echo-ack", "flush")
    assert main.heard["broadcast"].empty()
    await custom.close()


async def the_refused_hear_why(url, kind, transport):
    refused = Client(kind, transport)
    refused.listen("connect_error")
    heard = refused.heard["connect_error"]
    try:
        await refused.connect(url, auth={"deny": "not you"})
        raise AssertionError("it was let in")
    except socketio.exceptions.ConnectionError:
        assert (await asyncio.wait_for(heard.get(), WITHIN_S))[0] == {"message": "not you", "data": {"denied": True}}


async def main(url, kind, transport):
    clients = [Client(kind, transport) for _ in range(CLIENTS)]
    await asyncio.gather(*(client.connect(url) for client in clients))
    for client in clients:
        assert await client.next("auth") == [{"token": "äbc"}]
    homes = [await client.call("whoami") for client in clients]
    wanted = "polling" if transport == "polling" else "websocket"
    assert {home["transport"] for home in homes} == {wanted}, homes
    await acks_and_binary_come_back_whole(clients[0])
    await everyone_hears_everyone(clients)
    await rooms_hold(clients)
    await a_namespace_is_apart(url, kind, transport, clients[0])
    await the_refused_hear_why(url, kind, transport)
    assert all(client.reasons == [] for client in clients)
    await clients[0].emit("kick")
    while not clients[0].reasons:
        await asyncio.sleep(0.01)
    assert clients[0].reasons == ["server disconnect"], clients[0].reasons
    await asyncio.gather(*(client.close() for client in clients[1:]))
    print(f"{kind} {transport}: {CLIENTS} clients on {len({home['pid'] for home in homes})} workers")


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:4]), 90))
