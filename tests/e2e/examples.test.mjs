// The library's examples do what their first lines say, with stock clients.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { skipped, start } from "../harness/examples.mjs";

/** Runs `body` with a server and a function that makes clients of it; both are closed in the end. */
function example(name, body) {
  describe(`the example ${name}`, { skip: skipped(name) }, () => {
    const world = { clients: [] };
    before(async () => Object.assign(world, await start(name)));
    after(async () => {
      for (const client of world.clients) client.close();
      await world.stop?.();
    });
    world.client = (options = {}) => {
      const client = io(world.url, { forceNew: true, ...options });
      world.clients.push(client);
      return client;
    };
    body(world);
  });
}

example("presence", (world) => {
  test("tells who is in a room, who comes, what is said and who goes", async () => {
    const [ann, bob] = [world.client(), world.client({ transports: ["websocket"] })];
    assert.deepEqual(await ann.emitWithAck("enter", "kitchen", "ann"), ["ann"]);
    const came = once(ann, "came");
    assert.deepEqual(await bob.emitWithAck("enter", "kitchen", "bob"), ["ann", "bob"]);
    assert.deepEqual(await came, ["kitchen", "bob"]);
    const said = once(ann, "said");
    bob.emit("say", "kitchen", "soup");
    assert.deepEqual(await said, [{ from: "bob", text: "soup" }]);
    const went = once(ann, "went");
    bob.close();
    assert.deepEqual(await went, ["kitchen", "bob"]);
    assert.deepEqual(await ann.emitWithAck("who", "kitchen"), ["ann"]);
  });
});

example("upload", (world) => {
  for (const transports of [["polling"], ["websocket"]]) {
    test(`takes a file in pieces by ${transports}`, async () => {
      const client = world.client({ transports });
      const file = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));
      const { id } = await client.emitWithAck("begin", { name: "a.bin", size: file.length });
      for (let at = 0; at < file.length; at += 65536) {
        const { have } = await client.emitWithAck("piece", id, file.subarray(at, at + 65536));
        assert.equal(have, Math.min(at + 65536, file.length));
      }
      const sum = file.reduce((total, byte) => total + byte, 0);
      assert.deepEqual(await client.emitWithAck("end", id), { name: "a.bin", size: file.length, sum });
      assert.deepEqual(await client.emitWithAck("end", id), { error: "no such upload" });
    });
  }

  test("refuses a file that is longer than it was said to be", async () => {
    const client = world.client();
    const { id } = await client.emitWithAck("begin", { name: "b.bin", size: 3 });
    assert.deepEqual(await client.emitWithAck("piece", id, Buffer.from("four")), { error: "longer than it was said to be" });
  });
});

example("announce", (world) => {
  test("says what is typed, tells the time, throws out and ends", async () => {
    const [one, two] = [world.client(), world.client({ transports: ["websocket"] })];
    await Promise.all([once(one, "connect"), once(two, "connect")]);
    const heard = Promise.all([once(one, "announcement"), once(two, "announcement")]);
    world.server.stdin.write("dinner is served\n");
    assert.deepEqual(await heard, [["dinner is served"], ["dinner is served"]]);
    const [time] = await once(one, "time");
    assert.ok(Math.abs(time - Date.now() / 1000) < 60);
    const gone = once(two, "disconnect");
    two.io.reconnection(false);
    world.server.stdin.write(`/kick ${two.id}\n`);
    await gone;
    assert.ok(one.connected);
    world.server.stdin.write("/quit\n");
    assert.equal(await world.dead, 0);
  });
});

example("axum_auth", (world) => {
  const login = async (password) => fetch(`${world.url}/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: "ann", password }),
  });

  test("lets in who has a token, warns before it ends, takes another, and ends the socket with it", async () => {
    assert.equal((await login("wrong")).status, 401);
    const stranger = world.client({ auth: { token: "forged" }, reconnection: false });
    assert.equal((await once(stranger, "connect_error"))[0].message, "log in first");
    const client = world.client({ auth: { token: await (await login("sesame")).text() }, reconnection: false });
    assert.equal(await client.emitWithAck("whoami"), "ann");
    await once(client, "expiring");
    const refused = await client.emitWithAck("reauth", "forged");
    assert.deepEqual([refused.status, refused.message], ["error", "log in first"]);
    assert.deepEqual(await client.emitWithAck("reauth", await (await login("sesame")).text()), { status: "ok" });
    await once(client, "expiring");
    const [reason] = await once(client, "disconnect");
    assert.equal(reason, "io server disconnect");
  });
});
