// What this process remembers for clients that come back, to it or to another copy (docs/mesh.md, "Recovery"): how far it has heard whom,
// the last events, and copies of sessions. One for all namespaces and servers; `recoverable.cjs` is the adapter that uses it.

"use strict";

const { randomBytes } = require("crypto");
const mesh = require("./mesh.cjs");

const SESSION = 64;
const SESSION_END = 65;
const SESSION_FETCH = 66;
const SESSION_MISSED = 67;
const SESSION_FETCH_RESPONSE = 68;

const OFFSET_BYTES_MAX = 4000;
/** How long a broken connection may go unnoticed: an event that was sent so long before the end may be missed too. */
const DETECTION_MS = 85_000;
const FETCH_MS = 1_000;
const [EVENTS_MAX, EVENT_BYTES_MAX, MISSED_BYTES_MAX] = [10_000, 16 << 20, 4 << 20];
const [COPIES_BYTES_MAX, SESSIONS_MAX, DATA_BYTES_MAX] = [64 << 20, 10_000, 64 << 10];
/** Events beyond a limit are dropped so many at a time. */
const DROP = 256;
const SWEEP_MS = 1_000;

let maxAway = 0;
let own;
let timer;
let text;

/** By tag: the number up to which its events were seen. */
const seen = new Map();
/** By tag: `{ number, at }`, after which the kept events are whole, and when that was set. */
const reach = new Map();
/** By tag, of members that are gone: since when. */
const gone = new Map();
/** By server and namespace: `{ events, bytes }` in the order of their delivery here. */
const channels = new Map();
/** By private id: `{ key, holder, session, away, bytes }`. */
const copies = new Map();
let copyBytes = 0;
/** By private id: the live sessions of this process, `{ adapter, sid, start, told }`. */
const live = new Map();
/** Of sessions that others were asked for, by request. */
const fetches = new Map();

const age = () => maxAway + DETECTION_MS;

exports.live = live;

/** Begins to remember; the longest time away wins. */
exports.begin = (maxDisconnectionDuration) => {
  maxAway = Math.max(maxAway, maxDisconnectionDuration);
  mesh.seen(() => maxAway > 0 && exports.offset());
  timer ??= setInterval(sweep, SWEEP_MS).unref();
};

/** This process numbers its events from here on. */
exports.serve = (tag) => {
  own = tag;
  learn(tag, 0);
};

exports.keyOf = ({ server, nsp }) => `${server}\n${nsp}`;

// ---- Places and offsets ----

/** How far this process has come, as text. */
exports.offset = () => (text ??= exports.write(seen));

exports.write = (table) => [...table].map(([tag, number]) => tag + number.toString(36)).join(".");

/** A table of an offset, or nothing. */
exports.parse = (offset) => {
  const table = new Map();
  if (offset === undefined || offset === "") return table;
  if (typeof offset !== "string" || offset.length > OFFSET_BYTES_MAX) return undefined;
  for (const place of offset.split(".")) {
    const at = placeOf(place);
    if (!at) return undefined;
    table.set(at.tag, at.number);
  }
  return table;
};

function placeOf(place) {
  const found = /^([\w-]{6})([0-9a-z]{1,11})$/.exec(typeof place === "string" ? place : "");
  const number = found && parseInt(found[2], 36);
  return found && Number.isSafeInteger(number) ? { tag: found[1], number } : undefined;
}

/** The larger number at each tag. */
exports.raise = (table, { tag, number }) => table.set(tag, Math.max(table.get(tag) ?? 0, number));

function see(tag, number) {
  seen.set(tag, number);
  text = undefined;
}

/** What is known of a tag begins here. */
function learn(tag, number) {
  see(tag, number);
  reach.set(tag, { number, at: Date.now() });
}

// ---- Events ----

/** The place of the next event of this process; nothing before it serves. */
exports.next = () => {
  if (own === undefined) return undefined;
  const number = seen.get(own) + 1;
  see(own, number);
  return { tag: own, number };
};

/** Counts a message of another member. Says whether it is to be delivered: what was seen already is not. */
exports.arrives = ({ type, data, server, nsp }, bytes) => {
  const at = type === 3 ? placeOf(data.opts.flags?.at) : undefined;
  if (maxAway === 0 || !at) return true;
  const before = seen.get(at.tag) ?? 0;
  if (at.number <= before) return false;
  if (at.number > before + 1) learn(at.tag, at.number - 1);
  see(at.tag, at.number);
  exports.keep(exports.keyOf({ server, nsp }), at, data.opts, data.packet.data, bytes);
  return true;
};

exports.keep = (key, at, { rooms, except }, data, bytes) => {
  if (!channels.has(key)) channels.set(key, { events: [], bytes: 0 });
  const channel = channels.get(key);
  channel.events.push({ ...at, rooms: [...rooms], except: [...except], data, bytes, since: Date.now() });
  channel.bytes += bytes;
  if (channel.events.length >= EVENTS_MAX + DROP) drop(channel, DROP);
  while (channel.bytes > EVENT_BYTES_MAX) drop(channel, Math.min(DROP, channel.events.length));
};

/** Forgets the oldest events, before their time. */
function drop(channel, count) {
  for (const { tag, number, bytes } of channel.events.splice(0, count)) {
    channel.bytes -= bytes;
    if (number > (reach.get(tag)?.number ?? 0)) reach.set(tag, { number, at: Date.now() });
  }
}

/** The events past a base that select a session, or nothing if they are too many. */
exports.missed = (key, base, rooms) => {
  const past = (channels.get(key)?.events ?? []).filter((event) => event.number > (base.get(event.tag) ?? 0) && exports.selects(rooms, event));
  return past.reduce((sum, { bytes }) => sum + bytes, 0) > MISSED_BYTES_MAX ? undefined : past;
};

exports.selects = (rooms, { rooms: wanted, except }) => {
  const [inside, outside] = [new Set(wanted), new Set(except)];
  return (inside.size === 0 || rooms.some((room) => inside.has(room))) && !rooms.some((room) => outside.has(room));
};

function canHelp(base) {
  const threshold = Date.now() - age();
  return [...seen.keys()].every((tag) => {
    const { number, at } = reach.get(tag) ?? { number: 0, at: 0 };
    return (base.get(tag) ?? 0) >= number || at < threshold;
  });
}

// ---- Sessions ----

/** Tells the others of a session that lives here, or is away. */
exports.tell = (pid, session, { server, nsp, away = false }) => {
  const key = exports.keyOf({ server, nsp });
  const written = writable(session.data);
  if (written === undefined) return void mesh.publish({ type: SESSION_END, data: { pid }, server, nsp });
  return void mesh.publish(sessionMessage({ ...session, data: JSON.parse(written) }, { key, away }));
};

/** A session of this process that its client has left, for a while. */
exports.leave = (pid, session, { server, nsp }) => {
  take(pid, { key: exports.keyOf({ server, nsp }), holder: mesh.uid, session, away: Date.now(), bytes: 0 });
  exports.tell(pid, session, { server, nsp, away: true });
};

exports.end = (pid, { server, nsp }) => {
  forget(pid);
  mesh.publish({ type: SESSION_END, data: { pid }, server, nsp });
};

exports.forget = forget;

/** The session of a client that comes back, with its base and what another member knows of its missed events. */
exports.find = async (key, pid, offset) => {
  const copy = copies.get(pid) ?? liveCopy(pid);
  const here = copy?.key === key ? helped(copy, offset) : undefined;
  if (here) return { session: copy.session, base: here, events: [] };
  const found = await fetch(key, pid, offset);
  if (!found || !canHelp(found.base)) return undefined;
  return found;
};

/** The base of a client that can be helped from here. */
function helped({ session, away }, offset) {
  if (away && away + maxAway < Date.now()) return undefined;
  const base = exports.parse(offset);
  const start = exports.parse(session.start);
  if (!base || !start) return undefined;
  for (const [tag, number] of start) exports.raise(base, { tag, number });
  return canHelp(base) ? base : undefined;
}

function liveCopy(pid) {
  const session = live.get(pid)?.adapter.sessionOf(pid);
  return session && { key: live.get(pid).adapter.key, session };
}

function fetch(key, pid, offset) {
  const waiting = new Set(mesh.keepers());
  if (waiting.size === 0) return undefined;
  const requestId = randomBytes(8).toString("hex");
  const [server, nsp] = key.split("\n");
  return new Promise((resolve) => {
    const end = (found) => {
      clearTimeout(late);
      fetches.delete(requestId);
      resolve(found);
    };
    const late = setTimeout(end, FETCH_MS);
    fetches.set(requestId, { waiting, events: new Map(), offset, end });
    mesh.publish({ type: SESSION_FETCH, data: { requestId, pid, offset }, server, nsp });
  });
}

/** Takes what others say of sessions; says whether the message was of that kind. */
exports.hear = ({ type, data, uid, server, nsp }, bytes) => {
  if (type < SESSION || type > SESSION_FETCH_RESPONSE) return false;
  const key = exports.keyOf({ server, nsp });
  if (maxAway === 0) return true;
  if (type === SESSION) hearSession(data, uid, key, bytes);
  else if (type === SESSION_END) copies.get(data.pid)?.holder === uid && forget(data.pid);
  else if (type === SESSION_FETCH) answer(data, uid, key);
  else if (type === SESSION_MISSED) hearMissed(data, uid);
  else hearFound(data, uid);
  return true;
};

function hearSession({ session, away }, holder, key, bytes) {
  if (!isSession(session)) return;
  const moved = live.get(session.pid);
  // The holder before says that its client is away, and has not heard yet that it came back elsewhere.
  if (away && (moved || (copies.get(session.pid)?.holder ?? holder) !== holder)) return;
  if (moved) moved.adapter.evict(session.pid);
  take(session.pid, { key, holder, session, away: away ? Date.now() : undefined, bytes });
}

function isSession(session) {
  const { pid, sid, rooms, start } = session ?? {};
  return [pid, sid, start].every((text) => typeof text === "string") && Array.isArray(rooms) && exports.parse(start) !== undefined;
}

function take(pid, copy) {
  forget(pid);
  if (copyBytes + copy.bytes > COPIES_BYTES_MAX) return;
  copies.set(pid, copy);
  copyBytes += copy.bytes;
}

function forget(pid) {
  copyBytes -= copies.get(pid)?.bytes ?? 0;
  copies.delete(pid);
}

/** Another member's client has come back: its session and what it missed, if that is known here. */
function answer({ requestId, pid, offset }, uid, key) {
  const [server, nsp] = key.split("\n");
  const send = (type, data) => mesh.send(uid, { type, data: { requestId, ...data }, server, nsp });
  const copy = copies.get(pid) ?? liveCopy(pid);
  const base = copy?.key === key ? helped(copy, offset) : undefined;
  const missed = base && exports.missed(key, base, copy.session.rooms);
  if (!missed || writable(copy.session.data) === undefined) return send(SESSION_FETCH_RESPONSE, {});
  for (const { tag, number, rooms, except, data } of missed) {
    const flags = { at: tag + number.toString(36) };
    send(SESSION_MISSED, { opts: { rooms, except, flags }, packet: { type: 2, data } });
  }
  return send(SESSION_FETCH_RESPONSE, { session: copy.session, seen: exports.offset() });
}

function hearMissed({ requestId, opts, packet }, uid) {
  const fetched = fetches.get(requestId);
  const at = placeOf(opts?.flags?.at);
  if (!fetched?.waiting.has(uid) || !at || !Array.isArray(packet?.data)) return;
  if (!fetched.events.has(uid)) fetched.events.set(uid, []);
  fetched.events.get(uid).push({ ...at, data: packet.data });
}

function hearFound({ requestId, session, seen: told }, uid) {
  const fetched = fetches.get(requestId);
  if (!fetched?.waiting.delete(uid)) return;
  const from = isSession(session) ? exports.parse(fetched.offset) : undefined;
  const there = exports.parse(told);
  if (!from || !there) return void (fetched.waiting.size === 0 && fetched.end());
  for (const [tag, number] of exports.parse(session.start)) exports.raise(from, { tag, number });
  const base = new Map(from);
  for (const [tag, number] of there) exports.raise(base, { tag, number });
  fetched.end({ session, base, events: fetched.events.get(uid) ?? [], from });
}

// ---- Members ----

/** A member said hello: how far it has come, and, to it, which sessions live here. */
exports.handleHello = ({ tag, uid, seen: told }) => {
  const table = maxAway > 0 && told !== undefined ? exports.parse(told) : undefined;
  if (!table) return;
  gone.delete(tag);
  const begins = table.get(tag) ?? 0;
  if (begins > (seen.get(tag) ?? -1)) learn(tag, begins);
  for (const [other, number] of table) if (!seen.has(other)) learn(other, number);
  for (const pid of live.keys()) {
    const copy = liveCopy(pid);
    if (copy && writable(copy.session.data) !== undefined) mesh.send(uid, sessionMessage(copy.session, { key: copy.key, away: false }));
  }
  for (const { key, holder, session } of copies.values()) {
    if (holder === mesh.uid && writable(session.data) !== undefined) mesh.send(uid, sessionMessage(session, { key, away: true }));
  }
};

exports.handleGone = ({ tag, uid }) => {
  gone.set(tag, Date.now());
  for (const copy of copies.values()) if (copy.holder === uid) copy.away ??= Date.now();
  for (const fetched of [...fetches.values()]) if (fetched.waiting.delete(uid) && fetched.waiting.size === 0) fetched.end();
};

function sessionMessage(session, { key, away }) {
  const [server, nsp] = key.split("\n");
  return { type: SESSION, data: { session, away }, server, nsp };
}

/** The data of a session as JSON, if it may be kept by others. */
function writable(data) {
  try {
    const written = JSON.stringify(data ?? {});
    return written.length > DATA_BYTES_MAX || mesh.hasBinary(data) ? undefined : written;
  } catch {
    return undefined;
  }
}

exports.written = writable;

let sweeps = 0;

/** Tells of data that changed; and, more rarely, forgets what is too old. */
function sweep() {
  for (const [pid, { adapter }] of live) adapter.tellIfChanged(pid);
  if ((sweeps += 1) % 30) return;
  const now = Date.now();
  for (const channel of channels.values()) {
    const fresh = channel.events.findIndex(({ since }) => since >= now - age());
    for (const { bytes } of channel.events.splice(0, fresh < 0 ? channel.events.length : fresh)) channel.bytes -= bytes;
  }
  const waiting = [...copies].filter(([, { away }]) => away).sort(([, one], [, other]) => one.away - other.away);
  waiting.forEach(([pid, { away }], i) => (away + maxAway < now || waiting.length - i > SESSIONS_MAX) && forget(pid));
  for (const [tag, since] of gone) {
    if (since > now - 2 * age()) continue;
    for (const table of [gone, seen, reach]) table.delete(tag);
    text = undefined;
  }
}
