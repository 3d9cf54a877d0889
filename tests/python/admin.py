"""Speaks to the clients of a server by its admin API, with nothing but Python's own library: admin.py URL TOKEN."""

import json
import sys
import urllib.error
import urllib.request

url, token = sys.argv[1:3]


def call(method, path, body=None, bearer=token):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, method=method)
    if bearer is not None:
        request.add_header("Authorization", f"Bearer {bearer}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


assert call("POST", "/emit", {"event": "news", "args": ["from Python", {"ü": 1}], "rooms": ["kitchen"]}) == (200, {"ok": True})
status, told = call("GET", "/sockets?nsp=/&room=kitchen")
assert (status, told["complete"], told["missing"], len(told["sockets"])) == (200, True, [], 1), told
socket = told["sockets"][0]
assert "kitchen" in socket["rooms"] and socket["handshake"]["address"] == "127.0.0.1", socket
assert "auth" not in socket["handshake"] and "cookie" not in socket["handshake"]["headers"], socket
assert call("POST", "/disconnect", {"rooms": ["kitchen"], "close": False}) == (200, {"ok": True})

for bearer in (None, "", "wrong", token + "x", token[:-1]):
    status, told = call("POST", "/emit", {"event": "news"}, bearer)
    assert (status, told["field"]) == (401, "Authorization"), told
    assert "value" not in told and told["fix"], told
for status, field, value, body in [
    (400, "event", None, {"args": [1]}),
    (400, "event", "connect", {"event": "connect"}),
    (400, "rooms", '"kitchen"', {"event": "news", "rooms": "kitchen"}),
    (400, "room", '["kitchen"]', {"event": "news", "room": ["kitchen"]}),
    (413, "body", None, {"event": "news", "args": ["x" * 1_000_001]}),
]:
    got, told = call("POST", "/emit", body)
    assert (got, told["field"]) == (status, field) and told["error"] and told["fix"], told
    assert value is None or told["value"].replace(" ", "") == value, told
assert call("GET", "/emit")[0] == 405
assert call("GET", "/nothing")[0] == 404
print("ok")
