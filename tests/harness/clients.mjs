// Stock clients by the hundred, and what each of them must see.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

/** The three ways a stock client can be told to travel, by name. */
export const TRANSPORTS = {
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  default: {},
};

/** Any single step of a client may take this long on a loaded machine. */
const STEP_MS = 20_000;

/** A connection of its own to `url`, with its troubles written down in `socket.troubles`. `make` is the `io` of another version. */
export function open(url, transport, { make = io, ...options } = {}) {
  const socket = make(url, { ...TRANSPORTS[transport], forceNew: true, timeout: STEP_MS, ...options });
  socket.troubles = [];
  const trouble = (name) => (what) => socket.troubles.push(`${name}: ${what?.message ?? what}`);
  socket.on("connect_error", trouble("connect_error"));
  socket.on("disconnect", trouble("disconnect"));
  const watch = () => socket.io.engine.on("upgradeError", trouble("upgradeError"));
  socket.io.on("reconnect_attempt", trouble("reconnect_attempt"));
  if (socket.io.engine) watch();
  return socket;
}

/** Opens a client and waits until it is connected, and upgraded where it should be. */
export async function connect(url, transport, options) {
  const socket = open(url, transport, options);
  try {
    await connected(socket);
    if (transport === "default") await upgraded(socket);
    return socket;
  } catch (error) {
    socket.disconnect();
    throw error;
  }
}

/** Opens `count` clients at once; fails on the first trouble any of them has. */
export async function connectMany(url, transport, count, options) {
  const opening = await Promise.allSettled(Array.from({ length: count }, () => connect(url, transport, options)));
  const sockets = opening.filter((one) => one.status === "fulfilled").map((one) => one.value);
  const failed = opening.filter((one) => one.status === "rejected");
  if (failed.length > 0) {
    closeAll(sockets);
    throw new Error(`${failed.length} of ${count} clients did not connect: ${failed[0].reason.message}`);
  }
  return sockets;
}

export function closeAll(sockets) {
  for (const socket of sockets) {
    socket.off("disconnect");
    socket.disconnect();
  }
}

/** Fails when any client ever had to try twice, lost its connection or its upgrade. */
export function untroubled(sockets) {
  assert.deepEqual(sockets.flatMap((socket) => socket.troubles), []);
}

export function connected(socket) {
  if (socket.connected) return Promise.resolve();
  return within(
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", (error) => reject(new Error(`connect_error: ${error.message} ${error.description ?? ""}`)));
    }),
    "connect",
  );
}

export async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name === "websocket") return;
  await within(new Promise((resolve) => engine.once("upgrade", resolve)), "upgrade to websocket");
}

/** The next arguments of an event. */
export function next(socket, event) {
  return within(new Promise((resolve) => socket.once(event, (...args) => resolve(args))), `event ${event}`);
}

/** Emits with an ack and gives what it said, a single value bare. */
export function ask(socket, event, ...args) {
  return within(new Promise((resolve) => socket.emit(event, ...args, (...said) => resolve(said.length > 1 ? said : said[0]))), `ack of ${event}`);
}

/** Asks every client where it lives: an array of `{worker, pid, transport, id}`. */
export function whereabouts(sockets) {
  return Promise.all(sockets.map((socket) => ask(socket, "whoami")));
}

/** Waits until clients find homes at `count` workers: a replacement is a process before it serves. */
export async function everyWorkerServes(target, count) {
  const deadline = Date.now() + STEP_MS;
  for (;;) {
    const sockets = await connectMany(target.url, "websocket", 10 * count);
    const homes = new Set((await whereabouts(sockets)).map((home) => home.pid));
    const gone = sockets.map((socket) => new Promise((resolve) => socket.io.engine.once("close", resolve)));
    closeAll(sockets);
    await Promise.all(gone);
    if (homes.size === count) return;
    assert.ok(Date.now() < deadline, `after ${STEP_MS} ms only ${homes.size} of ${count} workers get clients`);
  }
}

/** Collects an event on every client; `collected.reach(n)` waits until each has `n`, and a moment for what is too many. */
export function collect(sockets, event) {
  const boxes = sockets.map(() => []);
  const handlers = sockets.map((socket, i) => {
    const handler = (...args) => boxes[i].push(args);
    socket.on(event, handler);
    return handler;
  });
  return {
    boxes,
    async reach(count, graceMs = 30) {
      const deadline = Date.now() + STEP_MS;
      while (boxes.some((box, i) => box.length < (typeof count === "number" ? count : count[i]))) {
        assert.ok(Date.now() < deadline, `after ${STEP_MS} ms ${boxes.filter((box, i) => box.length < (typeof count === "number" ? count : count[i])).length} of ${sockets.length} clients lack a "${event}"`);
        await sleep(5);
      }
      await sleep(graceMs);
      sockets.forEach((socket, i) => socket.off(event, handlers[i]));
      boxes.forEach((box, i) => assert.equal(box.length, typeof count === "number" ? count : count[i], `client ${i}: count of "${event}"`));
      return boxes;
    },
  };
}

export async function within(promise, what, ms = STEP_MS) {
  const abort = new AbortController();
  const late = sleep(ms, undefined, { signal: abort.signal }).then(
    () => {
      throw new Error(`timed out after ${ms} ms: ${what}`);
    },
    () => undefined,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    abort.abort();
  }
}
