"""A MongoDB server for tests: nx-27017, with what its change streams lack for the official drivers, and with capped collections (mongo_capped.py).

    mongo_server.py PORT DIRECTORY [--standalone] [--kept]

With --standalone it has no change streams, as a server without a replica set. With --kept the documents, and the log that change streams go on
from, are in a file of the directory and survive its end, however it ends; capped collections do not. nx-27017 writes cursor ids as Int32, clusterTime as a date, and ObjectId and Binary inside events as tagged documents, and it answers a getMore at once.
The directory gets its log.
"""

import base64
import os
import sys
import time
from datetime import datetime

import nx_27017.wire_protocol as wire
from mongo_capped import Capped
from bson import Binary, ObjectId, Timestamp
from bson.int64 import Int64


def official(value, key=None):
    """The value as a real server writes it."""
    if isinstance(value, list):
        return [official(item) for item in value]
    if key == "clusterTime" and isinstance(value, datetime):
        return Timestamp(int(value.timestamp()), 1)
    if not isinstance(value, dict):
        return value
    if key == "createdAt" and set(value) == {"$date"}:
        return datetime.fromisoformat(value["$date"])
    if value.get("__neosqlite_objectid__"):
        return ObjectId(value["id"])
    if value.get("__neosqlite_binary__"):
        return Binary(base64.b64decode(value["data"]), value.get("subtype", 0))
    document = {name: official(item, name) for name, item in value.items()}
    if key == "cursor" and "id" in document:
        document["id"] = Int64(document["id"])
    return document


def encode(document, plain=wire.encode):
    cursor = document.get("cursor")
    if isinstance(cursor, dict) and cursor.get("nextBatch") == [] and "postBatchResumeToken" in cursor:
        # A real server waits for something to tell; each connection has a thread here.
        time.sleep(0.01)
    return plain(official(document))


def main():
    wire.encode = encode
    _, port, folder, *flags = sys.argv
    files = [os.path.join(folder, name) for name in ("log", "pid")]
    # A server that was killed has left it behind.
    if os.path.exists(files[1]):
        os.remove(files[1])
    database = os.path.join(folder, "documents") if "--kept" in flags else "memory"
    sys.argv = ["nx-27017", "--threaded", "--db", database, "--port", port, "--log-file", files[0], "--pid-file", files[1]]
    from nx_27017.handler import NeoSQLiteHandler
    from nx_27017.nx_27017 import main as serve

    Capped(standalone="--standalone" in flags).install(NeoSQLiteHandler)
    serve()


main()
