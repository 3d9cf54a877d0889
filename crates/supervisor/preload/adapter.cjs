// The adapter of the copies of one app: over whatever in-memory Adapter the app's socket.io has (3.0 to the latest), with the others asked
// and told over the mesh. It is the official ClusterAdapter's talk (docs/mesh.md), kept here so that it does not depend on the app's versions.

"use strict";

const { EventEmitter } = require("events");
const { randomBytes } = require("crypto");
const mesh = require("./mesh.cjs");

/** How long to wait for the others where the caller does not say. */
const REQUEST_MS = 5_000;
/** What every Adapter has since 2.0, by name: in bundles classes have none. */
const STOCK = ["addAll", "del", "delAll", "broadcast", "sockets", "socketRooms"];
const SESSION_AWARE = ["broadcast", "constructor", "persistSession", "restoreSession"];
const HANDSHAKE = ["headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth"];

/** What Sockeye's own servers ask, by the name of a server-side event: of the rooms of each selected socket. */
const CENSUS = {
  "sockeye:count": (sockets) => sockets.length,
  "sockeye:rooms": (sockets) => [...new Set(sockets.flat())],
};

const TYPE = {
  BROADCAST: 3,
  SOCKETS_JOIN: 4,
  SOCKETS_LEAVE: 5,
  DISCONNECT_SOCKETS: 6,
  FETCH_SOCKETS: 7,
  FETCH_SOCKETS_RESPONSE: 8,
  SERVER_SIDE_EMIT: 9,
  SERVER_SIDE_EMIT_RESPONSE: 10,
  BROADCAST_CLIENT_COUNT: 11,
  BROADCAST_ACK: 12,
};

/** socket.io's own in-memory Adapter, if that is what is wanted, or what is wanted is its SessionAwareAdapter. */
exports.inMemory = (wanted) => {
  const { prototype } = typeof wanted === "function" ? wanted : {};
  if (!prototype || typeof prototype.broadcast !== "function") return undefined;
  if (isInMemory(prototype)) return wanted;
  const isAware = Object.getOwnPropertyNames(prototype).sort().join() === SESSION_AWARE.join();
  return isAware && isInMemory(Object.getPrototypeOf(prototype)) ? Object.getPrototypeOf(wanted) : undefined;
};

function isInMemory(prototype) {
  const above = prototype && Object.getPrototypeOf(prototype);
  return above === EventEmitter.prototype && STOCK.every((name) => Object.prototype.hasOwnProperty.call(prototype, name));
}

/** Answers a request for a server or a namespace that is not here: nobody is. */
exports.refuse = ({ type, data, uid, nsp, server }) => {
  const requestId = data?.requestId;
  if (requestId === undefined) return;
  const answer = (as, more) => mesh.send(uid, { type: as, data: { requestId, ...more }, nsp, server });
  if (type === TYPE.BROADCAST) answer(TYPE.BROADCAST_CLIENT_COUNT, { clientCount: 0 });
  if (type === TYPE.FETCH_SOCKETS) answer(TYPE.FETCH_SOCKETS_RESPONSE, { sockets: [] });
  if (type === TYPE.SERVER_SIDE_EMIT && CENSUS[data.packet[0]]) answer(TYPE.SERVER_SIDE_EMIT_RESPONSE, { packet: CENSUS[data.packet[0]]([]) });
};

/** The class over an app's Adapter. `nameOf` names the Socket.IO server that a namespace belongs to. */
exports.clustered = (Base, nameOf) =>
  class extends Base {
    /** Of requests that wait for the others, by id: `{ missing, take, end }`. */
    #requests = new Map();

    // ---- What the app does, told to the others ----

    broadcast(packet, options) {
      const opts = whole(options);
      if (!opts.flags.local) this.#tell(TYPE.BROADCAST, { packet: plain(packet), opts: written(opts) });
      return super.broadcast(packet, opts);
    }

    broadcastWithAck(packet, options, count, ack) {
      const opts = whole(options);
      if (!opts.flags.local) {
        const data = { packet: plain(packet), opts: written(opts) };
        const counted = new Set();
        this.#ask(TYPE.BROADCAST, data, opts.flags.timeout ?? REQUEST_MS, {
          take(answer, uid) {
            if (answer.clientCount === undefined) return ack(answer.packet), false;
            counted.add(uid);
            count(answer.clientCount);
            return false;
          },
          // Who is gone has nobody left who could acknowledge.
          gone: (uid) => counted.has(uid) || count(0),
          end: () => {},
        });
      }
      return super.broadcastWithAck(packet, opts, count, ack);
    }

    addSockets(options, rooms) {
      const opts = whole(options);
      if (!opts.flags.local) this.#tell(TYPE.SOCKETS_JOIN, { opts: written(opts), rooms });
      return super.addSockets(opts, rooms);
    }

    delSockets(options, rooms) {
      const opts = whole(options);
      if (!opts.flags.local) this.#tell(TYPE.SOCKETS_LEAVE, { opts: written(opts), rooms });
      return super.delSockets(opts, rooms);
    }

    disconnectSockets(options, close) {
      const opts = whole(options);
      if (!opts.flags.local) this.#tell(TYPE.DISCONNECT_SOCKETS, { opts: written(opts), close });
      return super.disconnectSockets(opts, close);
    }

    async fetchSockets(options) {
      const opts = whole(options);
      const here = await super.fetchSockets(opts);
      return opts.flags.local ? here : [...here, ...(await this.#fetchOthers(opts))];
    }

    /** Ids of the sockets in rooms: `allSockets()`. */
    async sockets(rooms, ...more) {
      const here = await super.sockets(rooms, ...more);
      const others = await this.#fetchOthers(whole({ rooms }));
      return new Set([...here, ...others.map((socket) => socket.id)]);
    }

    serverCount() {
      return Promise.resolve(1 + mesh.others().length);
    }

    serverSideEmit(packet) {
      if (typeof packet.at(-1) !== "function") return this.#tell(TYPE.SERVER_SIDE_EMIT, { packet });
      const ack = packet.at(-1);
      const responses = [];
      return this.#ask(TYPE.SERVER_SIDE_EMIT, { packet: packet.slice(0, -1) }, REQUEST_MS, {
        take: (answer) => (responses.push(answer.packet), true),
        end: (missing) => ack(missing === 0 ? null : late(missing), responses),
      });
    }

    // ---- What the others want ----

    handleMessage({ type, data, uid }) {
      const opts = whole(data?.opts ?? {});
      switch (type) {
        case TYPE.BROADCAST:
          if (data.requestId === undefined) return super.broadcast(data.packet, opts);
          return this.#broadcastForAcks(data, opts, uid);
        case TYPE.SOCKETS_JOIN:
          return super.addSockets?.(opts, data.rooms);
        case TYPE.SOCKETS_LEAVE:
          return super.delSockets?.(opts, data.rooms);
        case TYPE.DISCONNECT_SOCKETS:
          return super.disconnectSockets?.(opts, data.close);
        case TYPE.FETCH_SOCKETS:
          return this.#describe(opts).then((sockets) => this.#answer(uid, TYPE.FETCH_SOCKETS_RESPONSE, { requestId: data.requestId, sockets }));
        case TYPE.SERVER_SIDE_EMIT:
          return this.#hearServer(data, uid);
        case TYPE.FETCH_SOCKETS_RESPONSE:
        case TYPE.SERVER_SIDE_EMIT_RESPONSE:
        case TYPE.BROADCAST_CLIENT_COUNT:
        case TYPE.BROADCAST_ACK:
          return this.#take(data, uid);
        default:
          return undefined;
      }
    }

    /** A member is gone: nobody waits for it any more. */
    handleGone(uid) {
      for (const [id, request] of this.#requests) {
        if (!request.missing.delete(uid)) continue;
        request.gone?.(uid);
        if (request.missing.size === 0) this.#finish(id);
      }
    }

    #broadcastForAcks({ packet, requestId }, opts, uid) {
      const counted = (clientCount) => this.#answer(uid, TYPE.BROADCAST_CLIENT_COUNT, { requestId, clientCount });
      if (!super.broadcastWithAck) return counted(0);
      return super.broadcastWithAck(packet, opts, counted, (value) => this.#answer(uid, TYPE.BROADCAST_ACK, { requestId, packet: value }));
    }

    #hearServer({ packet, requestId }, uid) {
      const census = CENSUS[packet[0]];
      if (census) {
        const told = (sockets) => this.#answer(uid, TYPE.SERVER_SIDE_EMIT_RESPONSE, { requestId, packet: census(sockets.map(({ rooms }) => rooms)) });
        return this.#describe(whole(packet[1] ?? {})).then(told);
      }
      const heard = [...packet];
      if (requestId !== undefined) {
        let answered = false;
        heard.push((value) => {
          if (!answered) this.#answer(uid, TYPE.SERVER_SIDE_EMIT_RESPONSE, { requestId, packet: value });
          answered = true;
        });
      }
      return this.nsp._onServerSideEmit?.(heard);
    }

    /** The sockets here, as the others can read them. */
    async #describe(opts) {
      // Before 2.2 there are only ids.
      const sockets = super.fetchSockets ? await super.fetchSockets(opts) : [...(await super.sockets(opts.rooms))].map((id) => this.nsp.sockets.get(id));
      return sockets.filter(Boolean).map(described);
    }

    // ---- Requests ----

    async #fetchOthers(opts) {
      const found = [];
      await new Promise((resolve, reject) => {
        this.#ask(TYPE.FETCH_SOCKETS, { opts: written(opts) }, opts.flags.timeout ?? REQUEST_MS, {
          take: (answer) => (found.push(...answer.sockets), true),
          end: (missing) => (missing === 0 ? resolve() : reject(late(missing))),
        });
      });
      return found;
    }

    /** Asks all the others. `take` says whether an answer was the last one of its member; `end` hears how many did not answer. */
    #ask(type, data, timeout, { take, gone, end }) {
      const missing = new Set(mesh.others());
      if (missing.size === 0) return end(0);
      const requestId = randomBytes(8).toString("hex");
      const timer = setTimeout(() => this.#finish(requestId), timeout);
      this.#requests.set(requestId, { missing, take, gone, end, timer });
      return this.#tell(type, { ...data, requestId });
    }

    #take({ requestId, ...answer }, uid) {
      const request = this.#requests.get(requestId);
      if (!request?.missing.has(uid) || !request.take(answer, uid)) return;
      request.missing.delete(uid);
      if (request.missing.size === 0) this.#finish(requestId);
    }

    #finish(requestId) {
      const { timer, missing, end } = this.#requests.get(requestId);
      clearTimeout(timer);
      this.#requests.delete(requestId);
      end(missing.size);
    }

    #tell(type, data) {
      mesh.publish({ type, data, nsp: this.nsp.name, server: nameOf(this.nsp.server) });
    }

    #answer(uid, type, data) {
      mesh.send(uid, { type, data, nsp: this.nsp.name, server: nameOf(this.nsp.server) });
    }
  };

Object.assign(exports, { whole, written });

/** Options with nothing left out: older versions do. */
function whole({ rooms, except, flags }) {
  return { rooms: new Set(rooms), except: new Set(except), flags: flags ?? {} };
}

function written({ rooms, except, flags }) {
  return { rooms: [...rooms], except: [...except], flags };
}

/** What of a packet concerns the others. */
function plain({ type, data }) {
  return { type, data };
}

/** What an app hangs on a handshake or on a socket may lead in circles. */
function described({ id, handshake, rooms, data }) {
  const { sessionStore, ...told } = handshake;
  const known = Object.fromEntries(HANDSHAKE.map((name) => [name, told[name]]));
  return { id, handshake: writable(told) ? told : known, rooms: [...rooms], data: writable(data) ? data : {} };
}

function writable(value) {
  try {
    JSON.stringify(value);
    return true;
  } catch {
    return false;
  }
}

function late(missing) {
  return new Error(`timeout reached: ${missing} of the app's other copies did not answer`);
}
