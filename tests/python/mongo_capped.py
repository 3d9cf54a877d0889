"""Capped collections and tailable cursors, which nx-27017 lacks, laid over its handler as far as the tests need them.

A collection that is created with `capped` keeps its documents here in the order of insertion and forgets the oldest. nx-27017 gets them as well: its
change streams, and queries that are more than equalities, are its own. After "Capped Collections", "Tailable Cursors" and the error codes of MongoDB's manual:

- a tailable cursor on a collection that is not capped is refused (BadValue), on an empty one it is dead at once (id 0);
- getMore waits up to maxTimeMS for a cursor that awaits data;
- a cursor whose last document was forgotten is ended (CappedPositionLost), one that nobody has is not found (CursorNotFound);
- documents are not replaced by larger ones; here they are not changed or deleted at all.
"""

import random
import threading
import time
from collections import deque

import bson
from bson.int64 import Int64

FIRST_BATCH = 101
BATCH_MAX = 1000
# A capped collection is never smaller, and a multiple of 256 bytes.
SIZE_MIN = 4096
# The ids of our cursors; those of nx-27017 are smaller.
OURS = 1 << 61


class Failure(Exception):
    def __init__(self, code, name, words):
        super().__init__(words)
        self.reply = {"ok": 0.0, "errmsg": words, "code": code, "codeName": name}


class Collection:
    """Documents in the order of insertion. Each has a number; the numbers of those that are here have no gap."""

    def __init__(self, size):
        self.size = max(SIZE_MIN, (size + 255) // 256 * 256)
        self.documents = deque()
        self.bytes = 0
        self.first = 0

    def insert(self, document):
        raw = bson.encode(document)
        self.documents.append((document, len(raw)))
        self.bytes += len(raw)
        while self.bytes > self.size and len(self.documents) > 1:
            self.bytes -= self.documents.popleft()[1]
            self.first += 1

    @property
    def end(self):
        return self.first + len(self.documents)

    def at(self, number):
        return self.documents[number - self.first][0]

    def all(self):
        return [document for document, _ in self.documents]


class Cursor:
    def __init__(self, name, wanted, awaits, at):
        self.name, self.wanted, self.awaits, self.at = name, wanted, awaits, at
        self.positioned = False


class Capped:
    """What is laid over a handler."""

    def __init__(self, standalone):
        self.standalone = standalone
        self.collections = {}
        self.plain = set()
        self.cursors = {}
        self.changed = threading.Condition()

    def install(self, handler):
        command, insert = handler.handle_command, handler.handle_insert

        def handle_command(server, message):
            body = next((part for kind, part in message["sections"] if kind == "body"), None)
            try:
                answer = self.command(dict(body)) if body else None
                if answer is not None:
                    return message["request_id"], answer
                answer = command(server, message)
                if body and ("find" in body or "getMore" in body):
                    self.forgotten(body, answer[1])
                return answer
            except Failure as failure:
                return message["request_id"], failure.reply

        def handle_insert(server, message):
            body = next((part for kind, part in message["sections"] if kind == "body"), {})
            collection = self.collections.get((body.get("$db", "test"), body.get("insert")))
            if collection is None:
                return insert(server, message)
            documents = [bson.decode(bson.encode(document)) for document in inserted(message["sections"])]
            # One order for both.
            with self.changed:
                answer = insert(server, message)
                for document in documents[: answer[1].get("n", 0)]:
                    collection.insert(document)
                self.changed.notify_all()
            return answer

        handler.handle_command, handler.handle_insert = handle_command, handle_insert

    def command(self, body):
        """The answer; None: it is for nx-27017."""
        database = body.get("$db", "test")
        if "create" in body:
            return self.create((database, body["create"]), body)
        if "aggregate" in body and self.standalone and any("$changeStream" in stage for stage in body.get("pipeline", [])):
            raise Failure(40573, "Location40573", "The $changeStream stage is only supported on replica sets")
        if "getMore" in body:
            return self.more((database, body["collection"]), body)
        if "find" in body:
            return self.find((database, body["find"]), body)
        for change in ("update", "delete", "findAndModify"):
            if (database, body.get(change)) in self.collections:
                raise Failure(10003, "CannotGrowDocumentInCappedNamespace", f"{change} on a capped collection")
        if "killCursors" in body:
            for number in body["cursors"]:
                self.cursors.pop(int(number), None)
        self.plain.discard((database, body.get("drop")))
        if "drop" in body and self.collections.pop((database, body["drop"]), None):
            with self.changed:
                self.changed.notify_all()
        return None

    def create(self, name, body):
        with self.changed:
            if name in self.collections or name in self.plain:
                raise Failure(48, "NamespaceExists", f"Collection {'.'.join(name)} already exists.")
            if body.get("capped"):
                self.collections[name] = Collection(int(body["size"]))
                return {"ok": 1.0}
            self.plain.add(name)
        return None

    def find(self, name, body):
        collection, wanted = self.collections.get(name), body.get("filter", {})
        if body.get("tailable"):
            if collection is None:
                raise Failure(2, "BadValue", f"error processing query: ns={'.'.join(name)} tailable cursor requested on non capped collection")
            return self.tail(name, collection, body)
        order = body.get("sort", {})
        if collection is None or not simple(wanted) or list(order) not in ([], ["$natural"], ["_id"]):
            return None
        with self.changed:
            found = [document for document in collection.all() if matches(document, wanted)]
        if "_id" in order:
            found.sort(key=lambda document: document["_id"])
        if -1 in order.values():
            found.reverse()
        return reply(0, name, "firstBatch", found[: abs(int(body.get("limit", 0))) or None])

    def tail(self, name, collection, body):
        cursor = Cursor(name, body.get("filter", {}), bool(body.get("awaitData")), collection.first)
        with self.changed:
            if not collection.documents:
                return reply(0, name, "firstBatch", [])
            batch = self.read(cursor, int(body.get("batchSize", FIRST_BATCH)))
            number = OURS | random.getrandbits(60)
            self.cursors[number] = cursor
        return reply(number, name, "firstBatch", batch)

    def more(self, name, body):
        number = int(body["getMore"])
        cursor = self.cursors.get(number)
        if cursor is None:
            if name in self.collections and number >= OURS:
                raise Failure(43, "CursorNotFound", f"cursor id {number} not found")
            return None
        end = time.monotonic() + int(body.get("maxTimeMS", 1000)) / 1000
        with self.changed:
            while True:
                batch = self.read(cursor, int(body.get("batchSize", BATCH_MAX)) or BATCH_MAX)
                left = end - time.monotonic()
                if batch or not cursor.awaits or left <= 0:
                    return reply(number, name, "nextBatch", batch)
                self.changed.wait(left)
                if number not in self.cursors:
                    raise Failure(43, "CursorNotFound", f"cursor id {number} not found")

    def read(self, cursor, count):
        collection = self.collections.get(cursor.name)
        if collection is None or (cursor.positioned and cursor.at - 1 < collection.first):
            self.cursors = {number: other for number, other in self.cursors.items() if other is not cursor}
            if collection is None:
                raise Failure(175, "QueryPlanKilled", "collection dropped")
            raise Failure(136, "CappedPositionLost", "CollectionScan died due to position in capped collection being deleted.")
        batch = []
        cursor.at = max(cursor.at, collection.first)
        while cursor.at < collection.end and len(batch) < count:
            document = collection.at(cursor.at)
            cursor.at += 1
            cursor.positioned = True
            if matches(document, cursor.wanted):
                batch.append(document)
        return batch

    def forgotten(self, body, answer):
        """Strikes out of nx-27017's answer what is not in the capped collection any more."""
        name, batch = ("find", "firstBatch") if "find" in body else ("collection", "nextBatch")
        collection, found = self.collections.get((body.get("$db", "test"), body.get(name))), answer.get("cursor", {})
        # Not of a change stream.
        if collection is not None and found.get(batch) and "postBatchResumeToken" not in found:
            here = {str(document["_id"]) for document in collection.all()}
            found[batch] = [document for document in found[batch] if str(document["_id"]) in here]


def inserted(sections):
    for kind, part in sections:
        if kind == "payload_docs":
            yield from part
        elif kind == "payload":
            for value in part.values():
                yield from value if isinstance(value, list) else [value]
        elif kind == "body":
            yield from part.get("documents", [])


def simple(wanted):
    return all(not key.startswith("$") and not isinstance(value, dict) for key, value in wanted.items())


def matches(document, wanted):
    return all(at(document, key.split(".")) == value for key, value in wanted.items())


def at(value, path):
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def reply(number, name, batch, documents):
    return {"cursor": {batch: documents, "id": Int64(number), "ns": ".".join(name)}, "ok": 1.0}
