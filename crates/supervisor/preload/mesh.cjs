// A member of the mesh (docs/mesh.md): the sockets between the workers of one app, and who is here.

"use strict";

const { randomBytes } = require("crypto");
const fs = require("fs");
const net = require("net");
const path = require("path");
const { decode, encode, hasBinary } = require("./msgpack.cjs");

const VERSION = 1;
const FRAME_BYTES_MAX = 64 << 20;
const HELLO_BYTES_MAX = 4096;
const MEMBERS_MAX = 1024;
/** What may wait for one member; at more it is cut off, and what waited is lost. */
const WAITING_BYTES_MAX = 16 << 20;
const [SETTLE_MS, HELLO_MS, REDIAL_MIN_MS, REDIAL_MAX_MS, REFUSALS_MAX] = [1_000, 5_000, 50, 5_000, 2];
const ADAPTER_CLOSE = 13;
const SOCKET = /^([\w-]{6})\.sock$/;

/** This process, on the mesh. */
exports.uid = randomBytes(8).toString("hex");

/** By tag: `{ uid, guest, seen, outgoing, incoming, pause, refusals, timer }`. It is here while `incoming` is. */
const members = new Map();
const listeners = { message: () => {}, hello: () => {}, gone: () => {} };
let seen = () => undefined;
let own;
let server;

exports.hasBinary = hasBinary;

/** Has hellos say how far this process has come, if it keeps sessions. */
exports.seen = (offset) => (seen = offset);

/** Calls back with each message and its size (`message`), and with members that are here (`hello`) or gone (`gone`): `{ tag, uid, seen }`. */
exports.on = (event, listener) => (listeners[event] = listener);

/** Joins, and waits until nothing that is published from here on is missed. */
exports.join = async (directory, tag, http) => {
  own = { directory, hello: { mesh: VERSION, tag, uid: exports.uid, http } };
  server = net.createServer(accept);
  const [making, made] = [path.join(directory, `${tag}.new`), socketOf(tag)];
  await new Promise((done, failed) => server.once("error", failed).listen({ path: making, exclusive: true }, done));
  server.unref();
  fs.chmodSync(making, 0o600);
  fs.renameSync(making, made);
  process.once("exit", () => own && fs.rmSync(made, { force: true }));
  const tags = fs.readdirSync(directory).map((name) => SOCKET.exec(name)?.[1]);
  const others = tags.filter((other) => other && other !== tag);
  others.forEach(dial);
  await settled(others);
};

/** Leaves: the others know it at once. */
exports.leave = () => {
  if (!own) return;
  fs.rmSync(socketOf(own.hello.tag), { force: true });
  exports.publish({ type: ADAPTER_CLOSE, nsp: "/" });
  own = undefined;
  server.close();
  for (const { outgoing, incoming, timer } of members.values()) {
    clearTimeout(timer);
    outgoing?.end();
    incoming?.destroy();
  }
  members.clear();
};

/** The uids of those who are here and have clients, without this process. */
exports.others = () => here().filter((member) => !member.guest).map((member) => member.uid);

/** The uids of those who keep sessions, without this process. */
exports.keepers = () => here().filter((member) => member.seen !== undefined).map((member) => member.uid);

const here = () => [...members.values()].filter((member) => member.incoming);

/** Sends a message to all, and says how long it is, `always` or if there is anybody. What cannot be written is the caller's error. */
exports.publish = (message, always = false) => {
  if (members.size === 0 && !always) return 0;
  const bytes = framed({ ...message, uid: exports.uid });
  for (const member of members.values()) post(member, bytes);
  return bytes.length;
};

/** Sends a message to one. */
exports.send = (uid, message) => {
  for (const member of members.values()) if (member.uid === uid) return post(member, framed({ ...message, uid: exports.uid }));
  return undefined;
};

function post({ outgoing }, bytes) {
  if (!outgoing || outgoing.destroyed) return;
  if (outgoing.writableLength > WAITING_BYTES_MAX) outgoing.destroy();
  else outgoing.write(bytes);
}

function framed(message) {
  const payload = hasBinary(message) ? encode(message) : Buffer.from(JSON.stringify(message));
  if (payload.length > FRAME_BYTES_MAX) throw new RangeError(`expected a message of at most ${FRAME_BYTES_MAX} bytes, got ${payload.length}`);
  const header = Buffer.allocUnsafe(4);
  header.writeUInt32BE(payload.length);
  return Buffer.concat([header, payload]);
}

// ---- Whom to dial ----

function dial(tag) {
  const member = memberOf(tag);
  if (!member || member.outgoing) return;
  clearTimeout(member.timer);
  const socket = net.connect(socketOf(tag)).unref();
  member.outgoing = socket;
  let failure;
  socket.on("error", (error) => (failure = error.code)).resume();
  socket.write(framed({ ...own.hello, seen: seen() || undefined }));
  socket.once("close", () => {
    if (member.outgoing === socket) member.outgoing = undefined;
    ended(tag, member, failure);
  });
}

/** A connection to or from a member is over. */
function ended(tag, member, failure) {
  again(tag, member, failure);
  wake();
}

function again(tag, member, failure) {
  if (!own || members.get(tag) !== member || member.outgoing) return;
  if (failure === "ENOENT" && !member.incoming) return void members.delete(tag);
  member.refusals = failure === "ECONNREFUSED" ? member.refusals + 1 : 0;
  if (member.refusals >= REFUSALS_MAX) {
    fs.rmSync(socketOf(tag), { force: true });
    return void (member.incoming || members.delete(tag));
  }
  clearTimeout(member.timer);
  member.timer = setTimeout(() => own && dial(tag), member.pause).unref();
  member.pause = Math.min(member.pause * 2, REDIAL_MAX_MS);
}

function memberOf(tag) {
  if (!members.has(tag)) {
    if (members.size >= MEMBERS_MAX) return undefined;
    members.set(tag, { pause: REDIAL_MIN_MS, refusals: 0 });
  }
  return members.get(tag);
}

const socketOf = (tag) => path.join(own.directory, `${tag}.sock`);

// ---- Who has dialled ----

function accept(socket) {
  socket.unref();
  let from;
  const late = setTimeout(() => socket.destroy(), HELLO_MS).unref();
  socket.on("error", () => {}).once("close", () => {
    clearTimeout(late);
    if (from) left(from, socket);
  });
  cut(socket, (payload) => {
    if (!own) return socket.destroy();
    if (from) return hear(payload);
    clearTimeout(late);
    from = greeted(payload, socket);
    return from ? undefined : socket.destroy();
  });
}

function greeted(payload, socket) {
  const hello = payload.length <= HELLO_BYTES_MAX && payload[0] === 0x7b ? parsed(payload) : undefined;
  if (hello?.mesh !== VERSION || !SOCKET.test(`${hello.tag}.sock`) || typeof hello.uid !== "string") return undefined;
  const { tag, uid } = hello;
  if (tag === own.hello.tag || uid === own.hello.uid) return undefined;
  const member = memberOf(tag);
  if (!member) return undefined;
  const { incoming: older, uid: before } = member;
  Object.assign(member, { incoming: socket, uid, guest: hello.guest === true, seen: hello.seen, pause: REDIAL_MIN_MS, refusals: 0 });
  older?.destroy();
  // Another process has taken the first one's place.
  if (before !== undefined && before !== uid) listeners.gone({ tag, uid: before });
  dial(tag);
  listeners.hello({ tag, uid, seen: hello.seen });
  wake();
  return { tag, uid };
}

function left({ tag, uid }, socket) {
  const member = members.get(tag);
  if (member?.incoming !== socket) return;
  member.incoming = undefined;
  listeners.gone({ tag, uid });
  if (member.outgoing) member.outgoing.destroy();
  else ended(tag, member);
}

function hear(payload) {
  const message = parsed(payload);
  if (message === null || typeof message !== "object" || message.uid === exports.uid) return;
  if (message.type === ADAPTER_CLOSE) closed(message.uid);
  else listeners.message(message, payload.length);
}

function closed(uid) {
  for (const [tag, member] of members) if (member.uid === uid) listeners.gone({ tag, uid });
}

/** What is no envelope is skipped. */
function parsed(payload) {
  try {
    return payload[0] === 0x7b ? JSON.parse(payload.toString()) : decode(payload);
  } catch {
    return undefined;
  }
}

/** Cuts a stream into frames, without joining what is not needed yet. */
function cut(socket, take) {
  let [pieces, held] = [[], 0];
  socket.on("data", (piece) => {
    pieces.push(piece);
    held += piece.length;
    while (held >= 4) {
      if (pieces[0].length < 4) pieces = [Buffer.concat(pieces)];
      const length = pieces[0].readUInt32BE();
      if (length > FRAME_BYTES_MAX) return socket.destroy();
      if (held < 4 + length) return undefined;
      const all = pieces.length > 1 ? Buffer.concat(pieces) : pieces[0];
      pieces = [all.subarray(4 + length)];
      held = pieces[0].length;
      take(all.subarray(4, 4 + length));
      if (socket.destroyed) return undefined;
    }
    return undefined;
  });
}

// ---- Settled ----

let wake = () => {};

/** Waits until each of them is connected both ways, or has turned out to be gone. */
function settled(tags) {
  const missing = () => tags.some((tag) => members.has(tag) && !members.get(tag).incoming);
  if (!missing()) return undefined;
  return new Promise((done) => {
    // Held: the process may have nothing else to live for.
    const late = setTimeout(done, SETTLE_MS);
    wake = () => {
      if (missing()) return;
      clearTimeout(late);
      done();
    };
  });
}
