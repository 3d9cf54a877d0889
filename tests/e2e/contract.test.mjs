// The stock JavaScript client, every way it can travel, against one, two, four and eight workers.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { closeAll, connect, connected, connectMany, next, open, TRANSPORTS } from "../harness/clients.mjs";
import { contractHolds } from "../harness/scenarios.mjs";
import { REFERENCE, up } from "../harness/target.mjs";

const CONNECTS = 200;

for (const workers of REFERENCE ? [1] : [1, 2, 4, 8]) {
  describe(`with ${workers} workers`, () => {
    let target;
    before(async () => (target = await up({ workers })));
    after(() => target?.stop());

    for (const transport of Object.keys(TRANSPORTS)) {
      test(`${CONNECTS} clients (${transport}) connect without an error and every message arrives whole`, async () => {
        const sockets = await connectMany(target.url, transport, CONNECTS);
        try {
          await contractHolds(sockets, { transport, workers });
        } finally {
          closeAll(sockets);
        }
      });
    }

    test("a namespace of its own hears nothing of the main one", async () => {
      const [main, custom] = await Promise.all([connect(target.url, "default"), connect(`${target.url}/custom`, "default", { auth: { token: "123" } })]);
      try {
        let leaked = 0;
        main.on("broadcast", () => (leaked += 1));
        const heard = next(custom, "broadcast");
        custom.emit("broadcast", "x");
        assert.deepEqual(await heard, ["x"]);
        assert.equal(leaked, 0);
      } finally {
        closeAll([main, custom]);
      }
    });
  });
}

describe("at the door", () => {
  let target;
  before(async () => (target = await up()));
  after(() => target?.stop());

  for (const transport of Object.keys(TRANSPORTS)) {
    test(`the auth payload arrives (${transport})`, async () => {
      const socket = open(target.url, transport, { auth: { token: "äbc", n: [1, 2] } });
      try {
        const heard = next(socket, "auth");
        await connected(socket);
        assert.deepEqual(await heard, [{ token: "äbc", n: [1, 2] }]);
      } finally {
        closeAll([socket]);
      }
    });

    test(`a guard's refusal reaches the client with its words (${transport})`, async () => {
      const socket = open(target.url, transport, { auth: { deny: "not you" } });
      try {
        const [error] = await next(socket, "connect_error");
        assert.equal(error.message, "not you");
        assert.deepEqual(error.data, { denied: true });
      } finally {
        closeAll([socket]);
      }
    });

    test(`an unknown namespace is refused with the official words (${transport})`, async () => {
      const socket = open(`${target.url}/nowhere`, transport);
      try {
        const [error] = await next(socket, "connect_error");
        assert.equal(error.message, "Invalid namespace");
      } finally {
        closeAll([socket]);
      }
    });
  }

  for (const [name, status, query, method, body] of [
    ["an unknown sid", 400, "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", "GET", { code: 1, message: "Session ID unknown" }],
    ["a POST with an unknown sid", 400, "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", "POST", { code: 1, message: "Session ID unknown" }],
    ["an unknown transport", 400, "EIO=4&transport=pigeon", "GET", { code: 0, message: "Transport unknown" }],
    ["a handshake by POST", 400, "EIO=4&transport=polling", "POST", { code: 2, message: "Bad handshake method" }],
    ["an old protocol", 400, "EIO=3&transport=polling", "GET", { code: 5, message: "Unsupported protocol version" }],
  ]) {
    test(`${name} is answered ${status}, byte for byte`, async () => {
      const answer = await target.knock(`/socket.io/?${query}`, { method, body: method === "POST" ? "2" : undefined });
      assert.equal(answer.status, status);
      assert.equal(await answer.text(), JSON.stringify(body));
      assert.match(answer.headers.get("content-type"), /^application\/json/);
    });
  }
});
