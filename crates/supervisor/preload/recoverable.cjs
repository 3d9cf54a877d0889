// The adapter of apps that ask for `connectionStateRecovery`: a client that comes back, to any copy, goes on where it was.
//
// In the place of socket.io's SessionAwareAdapter, whose memory is one process's. What is remembered is in recovery.cjs.

"use strict";

const mesh = require("./mesh.cjs");
const recovery = require("./recovery.cjs");

const EVENT = 2;
const BROADCAST = 3;
/** The data of a session that is compared after each of its client's packets, and not once a second only. */
const EAGER_DATA_BYTES_MAX = 2048;

/** The class over ours, which stands over an app's `Base`. */
exports.recoverable = (Clustered, Base, { nameOf, whole, written }) =>
  class extends Clustered {
    /** By socket id: who was given what it missed, and is not listed yet: `{ base, rooms, waiting, pid, start }`. */
    #pending = new Map();
    /** By socket id: who has seen more of some member than this process: the base. */
    #ahead = new Map();
    /** Private ids of sessions whose end is not to be told. */
    #quiet = new Set();
    #untold = new Set();

    constructor(nsp) {
      super(nsp);
      recovery.begin(nsp.server.opts.connectionStateRecovery.maxDisconnectionDuration);
    }

    get key() {
      return recovery.keyOf(this.#names());
    }

    // ---- Events ----

    broadcast(packet, options) {
      const opts = whole(options);
      const { local, volatile } = opts.flags;
      // An event for one socket that wants an ack.
      if (packet.id !== undefined || packet.type !== EVENT) return super.broadcast(packet, { ...opts, flags: { ...opts.flags, local: true } });
      const at = local || volatile ? undefined : recovery.next();
      if (!local) {
        const flags = at ? { ...opts.flags, at: at.tag + at.number.toString(36) } : opts.flags;
        const message = { type: BROADCAST, data: { packet: { type: EVENT, data: packet.data }, opts: written({ ...opts, flags }) }, ...this.#names() };
        const bytes = mesh.publish(message, at !== undefined);
        if (at) recovery.keep(this.key, at, opts, [...packet.data], bytes);
      }
      return this.#deliver(packet, opts, at);
    }

    handleMessage(message) {
      const { type, data } = message;
      if (type !== BROADCAST || data.requestId !== undefined) return super.handleMessage(message);
      const at = recovery.parse(data.opts.flags?.at)?.entries().next().value;
      return this.#deliver(data.packet, whole(data.opts), at && { tag: at[0], number: at[1] });
    }

    /** To the sockets here, with the offset at the end where the client would look for one. */
    #deliver({ data }, opts, at) {
      const offset = recovery.offset();
      const withOffset = (text) => (at || typeof data.at(-1) === "string" ? [...data, text] : data);
      for (const one of this.#pending.values()) {
        if (at && recovery.selects(one.rooms, opts) && this.#passes(one.base, at)) one.waiting.push(withOffset(recovery.write(one.base)));
      }
      if (this.#ahead.size === 0) return this.#send({ type: EVENT, data: withOffset(offset) }, opts);
      const except = new Set([...opts.except, ...this.#ahead.keys()]);
      this.#send({ type: EVENT, data: withOffset(offset) }, { ...opts, except });
      for (const [id, base] of this.#ahead) {
        const socket = this.nsp.sockets.get(id);
        if (socket && recovery.selects([...(this.socketRooms(id) ?? [])], opts) && (!at || this.#passes(base, at))) {
          this.#merge(base);
          socket.packet({ type: EVENT, data: withOffset(recovery.write(base)) }, { volatile: opts.flags.volatile, compress: opts.flags.compress });
        }
        this.#catchUp(id, base);
      }
      return undefined;
    }

    #send(packet, opts) {
      return Base.prototype.broadcast.call(this, packet, opts);
    }

    /** Whether an event is past a base, which it raises. */
    #passes(base, at) {
      if (at.number <= (base.get(at.tag) ?? 0)) return false;
      base.set(at.tag, at.number);
      return true;
    }

    /** The larger number at each tag, of the client's and ours. */
    #merge(base) {
      for (const [tag, number] of recovery.parse(recovery.offset())) recovery.raise(base, { tag, number });
    }

    #catchUp(id, base) {
      const here = recovery.parse(recovery.offset());
      if ([...base].every(([tag, number]) => number <= (here.get(tag) ?? 0))) this.#ahead.delete(id);
    }

    // ---- Sessions ----

    addAll(id, rooms) {
      super.addAll(id, rooms);
      const socket = this.nsp.sockets.get(id);
      if (!socket?.pid) return;
      if (recovery.live.get(socket.pid)?.sid === id) return void this.#later(socket.pid);
      const back = this.#pending.get(id);
      this.#pending.delete(id);
      for (const data of back?.waiting ?? []) socket.packet({ type: EVENT, data });
      if (back) {
        this.#ahead.set(id, back.base);
        this.#catchUp(id, back.base);
      }
      recovery.forget(socket.pid);
      recovery.live.set(socket.pid, { adapter: this, sid: id, start: back?.start ?? recovery.offset(), told: undefined });
      this.#tell(socket.pid);
      this.#watch(socket);
    }

    /** Looks at the data of a session after what its client said was heard. */
    #watch({ pid, client }) {
      let looks = false;
      const look = () => {
        looks = false;
        const { told } = recovery.live.get(pid) ?? {};
        if (told === undefined) client.conn.off("packet", heard);
        // More is told by and by.
        else if (told.length <= EAGER_DATA_BYTES_MAX) this.tellIfChanged(pid);
      };
      const heard = () => {
        if (!looks) setImmediate(look);
        looks = true;
      };
      client.conn.on("packet", heard);
    }

    del(id, room) {
      super.del(id, room);
      const pid = this.nsp.sockets.get(id)?.pid;
      if (recovery.live.has(pid)) this.#later(pid);
    }

    delAll(id) {
      super.delAll(id);
      this.#pending.delete(id);
      this.#ahead.delete(id);
      const pid = this.nsp.sockets.get(id)?.pid;
      if (recovery.live.get(pid)?.sid !== id) return;
      recovery.live.delete(pid);
      if (!this.#quiet.delete(pid)) recovery.end(pid, this.#names());
    }

    /** The client is gone, and may come back. */
    persistSession(session) {
      const { pid } = session;
      if (this.#quiet.has(pid) || !recovery.live.has(pid)) return;
      const { start } = recovery.live.get(pid);
      this.#quiet.add(pid);
      recovery.leave(pid, { ...session, start }, this.#names());
    }

    async restoreSession(pid, offset) {
      const found = await recovery.find(this.key, pid, offset);
      if (!found) return null;
      const { session, base, events, from = base } = found;
      const { sid, rooms, data, start } = session;
      this.evict(pid);
      const pending = { base, rooms, waiting: [], pid, start };
      const missed = () => {
        const past = recovery.missed(this.key, base, rooms) ?? [];
        const told = new Map(from);
        const packets = [...events, ...past].map((event) => {
          recovery.raise(told, event);
          recovery.raise(base, event);
          return [...event.data, recovery.write(told)];
        });
        this.#pending.set(sid, pending);
        return packets;
      };
      // Asked for when the socket is made: nothing can come between.
      return Object.defineProperty({ sid, pid, rooms, data }, "missedPackets", { get: missed, enumerable: true });
    }

    /** The client of a session has moved: its old connection is closed, and nothing is said about it. */
    evict(pid) {
      const old = recovery.live.get(pid);
      const socket = old && this.nsp.sockets.get(old.sid);
      if (!socket) return;
      this.#quiet.add(pid);
      const { conn } = socket.client;
      socket._onclose("forced close");
      this.#quiet.delete(pid);
      conn.close();
    }

    /** A live session as others may keep it. */
    sessionOf(pid) {
      const { sid, start } = recovery.live.get(pid);
      const socket = this.nsp.sockets.get(sid);
      return socket && { pid, sid, rooms: [...(this.socketRooms(sid) ?? [])], data: socket.data, start };
    }

    tellIfChanged(pid) {
      const session = this.sessionOf(pid);
      if (session && (recovery.written(session.data) ?? "") !== recovery.live.get(pid).told) this.#tell(pid);
    }

    #later(pid) {
      if (this.#untold.size === 0) {
        queueMicrotask(() => {
          for (const one of this.#untold) if (recovery.live.has(one)) this.#tell(one);
          this.#untold.clear();
        });
      }
      this.#untold.add(pid);
    }

    #tell(pid) {
      const session = this.sessionOf(pid);
      if (!session) return;
      recovery.live.get(pid).told = recovery.written(session.data) ?? "";
      recovery.tell(pid, session, this.#names());
    }

    #names() {
      return { server: nameOf(this.nsp.server), nsp: this.nsp.name };
    }
  };
