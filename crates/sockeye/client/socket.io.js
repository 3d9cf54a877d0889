/*!
 * Sockeye's own small browser client for Socket.IO servers. MIT OR Apache-2.0.
 *
 * It is served at /socket.io/socket.io.js where the official bundle (npm package socket.io-client) was not found, so
 * that a page works on a machine with nothing but Rust. It speaks Engine.IO v4 and Socket.IO v5 (the protocols of
 * Socket.IO 3 and 4) and covers what most pages use: `io(url, options)` and `io.connect`, polling with upgrade to
 * WebSocket, auth, events, acks, binary both ways, reconnection, `socket.io.engine`. It does not cover: several
 * namespaces on one connection (each `io()` opens its own), WebTransport, custom parsers, recovery, `volatile`.
 * For these, install socket.io-client and the server serves that instead.
 */
(function (root) {
  "use strict";

  // Engine.IO v4 packet types, Socket.IO v5 packet types.
  const [OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP] = "0123456";
  const [CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK] = "0123456";
  const SEPARATOR = "\x1e";
  const LOCAL_EVENTS = ["connect", "connect_error", "disconnect"];
  const ATTACHMENTS_MAX = 10;

  const DEFAULTS = {
    path: "/socket.io/",
    transports: ["polling", "websocket"],
    upgrade: true,
    auth: undefined, // an object, or a function that is given a callback
    autoConnect: true,
    withCredentials: false,
    timeout: 20000, // ms until an attempt to connect is given up
    reconnection: true,
    reconnectionAttempts: Infinity,
    reconnectionDelay: 1000,
    reconnectionDelayMax: 5000,
    randomizationFactor: 0.5,
  };

  class Emitter {
    handlers = new Map();
    on(event, listener) {
      this.handlers.set(event, [...(this.handlers.get(event) || []), listener]);
      return this;
    }
    once(event, listener) {
      const wrapper = (...args) => (this.off(event, wrapper), listener(...args));
      wrapper.original = listener;
      return this.on(event, wrapper);
    }
    off(event, listener) {
      const keep = (one) => listener && one !== listener && one.original !== listener;
      if (event === undefined) this.handlers.clear();
      else this.handlers.set(event, (this.handlers.get(event) || []).filter(keep));
      return this;
    }
    /** Calls the local listeners (a socket's `emit` speaks to the server). One that throws harms nobody else. */
    tell(event, ...args) {
      for (const listener of this.handlers.get(event) || []) {
        try {
          listener(...args);
        } catch (error) {
          Promise.reject(error); // to the console
        }
      }
    }
  }

  // ---- Transports: carry Engine.IO packets (a string with its type digit, or bytes) and know nothing else. ----

  class Polling {
    constructor(url, options, tell) {
      Object.assign(this, { name: "polling", url, tell, writable: false, maxPayload: Infinity, aborter: new AbortController() });
      this.fetchOptions = { cache: "no-store", credentials: options.withCredentials ? "include" : "same-origin", signal: this.aborter.signal };
      this.polling = this.poll();
    }
    async poll() {
      while (!this.paused && !this.ended) {
        try {
          const answer = await fetch(this.url("http"), this.fetchOptions);
          if (!answer.ok) throw new Error(`polling was answered ${answer.status}`);
          for (const packet of (await answer.text()).split(SEPARATOR)) {
            if (!this.ended) this.tell("packet", packet[0] === "b" ? fromBase64(packet.slice(1)) : packet);
          }
        } catch (error) {
          return this.fail(error);
        }
      }
    }
    /** Takes as many packets as one POST may hold; the rest stays in `packets`. */
    send(packets) {
      const parts = [];
      let bytes = 0; // at most: a UTF-16 unit takes up to three bytes of UTF-8
      for (const text of packets.map(toText)) {
        bytes += 1 + 3 * text.length;
        if (parts.length > 0 && bytes > this.maxPayload) break;
        parts.push(text);
      }
      packets.splice(0, parts.length);
      this.writable = false;
      this.posting = this.post(parts.join(SEPARATOR)).catch((error) => this.fail(error));
    }
    async post(body) {
      const answer = await fetch(this.url("http"), { ...this.fetchOptions, method: "POST", body });
      if (!answer.ok) throw new Error(`a POST was answered ${answer.status}`);
      await answer.text();
      this.writable = true;
      if (!this.ended) this.tell("flush");
    }
    /** Resolves when nothing is under way in either direction. */
    pause() {
      this.paused = true;
      return Promise.all([this.polling, this.posting]);
    }
    /** Ends it; with `rest`, the packets not sent yet, after telling the server. */
    async close(rest) {
      if (this.ended) return;
      this.ended = true;
      for (await this.posting; rest && rest.length > 0; await this.posting) this.send(rest);
      if (rest) await this.post(CLOSE).catch(() => {});
      this.aborter.abort();
    }
    fail(error) {
      if (this.ended) return;
      this.ended = true;
      this.aborter.abort();
      this.tell("end", "transport error", error);
    }
  }

  class Socketing {
    constructor(url, options, tell) {
      Object.assign(this, { name: "websocket", tell, writable: false });
      const ws = (this.ws = new WebSocket(url("ws")));
      ws.binaryType = "arraybuffer";
      ws.onopen = () => ((this.writable = true), this.tell("open"));
      ws.onmessage = (event) => this.tell("packet", event.data);
      ws.onclose = (event) => this.end("transport close", event);
      ws.onerror = () => this.end("transport error", new Error("websocket error"));
    }
    send(packets) {
      for (const packet of packets.splice(0)) this.ws.send(packet);
    }
    close(rest) {
      this.ended = true;
      if (rest && this.writable) this.send(rest);
      this.ws.close();
    }
    end(reason, cause) {
      if (!this.ended) this.tell("end", reason, cause);
      this.ended = true;
    }
  }

  // ---- Engine: one session. Events: open, message, upgrade, upgradeError, close(reason, cause). ----

  class Engine extends Emitter {
    constructor(base, options) {
      super();
      Object.assign(this, { base, options, id: null, readyState: "opening", buffer: [], upgrading: false });
      const named = options.transports.filter((name) => name === "polling" || (name === "websocket" && root.WebSocket));
      this.transport = this.travel(named[0] || "polling");
    }
    travel(name) {
      const url = (scheme) => {
        const query = new URLSearchParams({ ...this.options.query, EIO: "4", transport: name });
        if (this.id) query.set("sid", this.id);
        return this.base.replace(/^http/, scheme) + this.options.path + "?" + query;
      };
      const transport = new (name === "polling" ? Polling : Socketing)(url, this.options, (event, ...args) => {
        if (transport === this.probed) this.probe(event, ...args);
        else if (transport === this.transport && event !== "open") this[event](...args);
      });
      return transport;
    }
    packet(packet) {
      if (typeof packet !== "string") return this.tell("message", packet);
      const type = packet[0];
      if (type === OPEN) this.open(JSON.parse(packet.slice(1)));
      else if (type === PING) this.alive(), this.write(PONG);
      else if (type === MESSAGE) this.tell("message", packet.slice(1));
      else if (type === CLOSE) this.end("transport close");
      else if (type !== NOOP) this.end("parse error", new Error(`unknown packet type ${type}`));
    }
    open(handshake) {
      this.id = handshake.sid;
      this.patience = handshake.pingInterval + handshake.pingTimeout;
      this.transport.maxPayload = handshake.maxPayload || Infinity;
      this.transport.writable = true;
      this.readyState = "open";
      this.alive();
      this.tell("open");
      const better = this.options.upgrade && this.options.transports.includes("websocket") && root.WebSocket;
      if (this.transport.name === "polling" && better && handshake.upgrades.includes("websocket")) this.probed = this.travel("websocket");
      this.flush();
    }
    /** The second transport of an upgrade: 2probe, 3probe, silence on the first, 5. */
    async probe(event, what, cause) {
      const probed = this.probed;
      if (event === "open") return probed.send([PING + "probe"]);
      if (event === "packet" && what === PONG + "probe") {
        this.upgrading = true;
        await this.transport.pause();
        if (this.readyState !== "open" || this.probed !== probed) return probed.close();
        probed.send([UPGRADE]);
        this.transport.ended = true;
        this.transport = probed;
        this.probed = null;
        this.upgrading = false;
        this.tell("upgrade", probed);
        return this.flush();
      }
      this.probed = null;
      if (event !== "end") probed.close();
      if (this.upgrading) return this.end("transport close", cause); // polling is silent already: begin anew
      this.tell("upgradeError", cause || new Error("probe error"));
    }
    /** The server pings; a longer silence than promised means that it is gone. */
    alive() {
      clearTimeout(this.watch);
      this.watch = setTimeout(() => this.end("ping timeout"), this.patience);
    }
    write(...packets) {
      this.buffer.push(...packets);
      this.flush();
    }
    flush() {
      if (this.readyState !== "closed" && this.transport.writable && !this.upgrading && this.buffer.length > 0) this.transport.send(this.buffer);
    }
    end(reason, cause) {
      if (this.readyState === "closed") return;
      this.readyState = "closed";
      clearTimeout(this.watch);
      this.transport.close(this.id && reason === "forced close" ? this.buffer : undefined);
      if (this.probed) this.probed.close();
      this.tell("close", reason, cause);
    }
  }

  // ---- Manager: keeps an engine open. Events: open, error, close, reconnect_attempt, reconnect, reconnect_failed. ----

  class Manager extends Emitter {
    constructor(base, opts) {
      super();
      Object.assign(this, { base, opts, attempts: 0, engine: null });
    }
    open() {
      clearTimeout(this.timer);
      const engine = (this.engine = new Engine(this.base, this.opts));
      const late = setTimeout(() => engine.end("transport error", new Error("timeout")), this.opts.timeout);
      let opened = false;
      engine.on("open", () => {
        opened = true;
        clearTimeout(late);
        this.tell("open");
        if (this.attempts > 0) this.tell("reconnect", this.attempts);
        this.attempts = 0;
      });
      engine.on("message", (data) => this.tell("message", data));
      engine.on("close", (reason, cause) => {
        clearTimeout(late);
        if (reason === "forced close") return;
        if (opened) this.tell("close", reason, cause);
        else this.tell("error", cause || new Error(reason));
        this.again();
      });
    }
    /** Tries once more after 1 s, 2 s, 4 s, 5 s, 5 s …, each ± 50 %. */
    again() {
      const { reconnection, reconnectionAttempts, reconnectionDelay, reconnectionDelayMax, randomizationFactor } = this.opts;
      if (!reconnection || this.stopped) return;
      if (this.attempts >= reconnectionAttempts) return this.tell("reconnect_failed");
      const spread = 1 + randomizationFactor * (2 * Math.random() - 1);
      const delay = Math.min(reconnectionDelay * 2 ** this.attempts * spread, reconnectionDelayMax);
      this.attempts += 1;
      this.timer = setTimeout(() => {
        this.tell("reconnect_attempt", this.attempts);
        if (!this.stopped) this.open();
      }, delay);
    }
    close() {
      this.stopped = true;
      clearTimeout(this.timer);
      if (this.engine) this.engine.end("forced close");
    }
  }

  // ---- Socket: one namespace. Events: connect, connect_error(error), disconnect(reason), and the server's own. ----

  class Socket extends Emitter {
    constructor(manager, nsp) {
      super();
      Object.assign(this, { io: manager, nsp, id: undefined, connected: false, waiting: [], acks: new Map(), ackId: 0 });
      manager.on("open", () => this.greet());
      manager.on("message", (data) => this.read(data));
      manager.on("error", (error) => this.tell("connect_error", error));
      manager.on("close", (reason, cause) => this.leave(reason, cause));
      if (manager.opts.autoConnect) this.connect();
    }
    connect() {
      this.io.stopped = false;
      if (!this.io.engine || this.io.engine.readyState === "closed") this.io.open();
      return this;
    }
    disconnect() {
      if (this.connected) this.post(DISCONNECT);
      this.io.close();
      this.leave("io client disconnect");
      return this;
    }
    emit(event, ...args) {
      if (LOCAL_EVENTS.includes(event)) throw new Error(`"${event}" is a reserved event name`);
      let id;
      if (typeof args[args.length - 1] === "function") this.acks.set((id = this.ackId++), args.pop());
      if (this.connected) this.post(EVENT, [event, ...args], id);
      else this.waiting.push([[event, ...args], id]);
      return this;
    }
    emitWithAck(event, ...args) {
      return new Promise((resolve) => this.emit(event, ...args, resolve));
    }
    greet() {
      const { auth } = this.io.opts;
      if (typeof auth === "function") auth((data) => this.post(CONNECT, data));
      else this.post(CONNECT, auth);
    }
    /** Socket.IO v5: `<type>[<attachments>-][<namespace>,][<ack id>][json]`, then the attachments. */
    post(type, data, id) {
      const attachments = [];
      const json = data === undefined ? "" : JSON.stringify(takeApart(data, attachments));
      if (attachments.length > 0) type = (type === EVENT ? BINARY_EVENT : BINARY_ACK) + attachments.length + "-";
      const nsp = this.nsp === "/" ? "" : this.nsp + ",";
      this.io.engine.write(MESSAGE + type + nsp + (id === undefined ? "" : id) + json, ...attachments);
    }
    read(data) {
      if (typeof data !== "string") {
        if (!this.partial) return this.io.engine.end("parse error");
        this.partial.attachments.push(data);
      } else {
        const [whole, type, count, nsp = "/", id] = /^(\d)(?:(\d+)-)?(?:(\/[^,]*),?)?(\d+)?/.exec(data) || [];
        if (whole === undefined || this.partial || count > ATTACHMENTS_MAX) return this.io.engine.end("parse error");
        const rest = data.slice(whole.length);
        const packet = { type, nsp, id: id === undefined ? undefined : Number(id), data: rest && JSON.parse(rest) };
        this.partial = { packet, count: Number(count || 0), attachments: [] };
      }
      const { packet, count, attachments } = this.partial;
      if (attachments.length < count) return;
      this.partial = null;
      if (packet.nsp.split("?")[0] === this.nsp) this.handle({ ...packet, data: putTogether(packet.data, attachments) });
    }
    handle({ type, id, data }) {
      if (type === CONNECT) {
        this.id = data.sid;
        this.connected = true;
        for (const [args, ackId] of this.waiting.splice(0)) this.post(EVENT, args, ackId);
        this.tell("connect");
      } else if (type === EVENT || type === BINARY_EVENT) {
        const args = id === undefined ? data : [...data, (...said) => this.connected && this.post(ACK, said, id)];
        if (!LOCAL_EVENTS.includes(args[0])) this.tell(...args);
      } else if (type === ACK || type === BINARY_ACK) {
        const ack = this.acks.get(id);
        this.acks.delete(id);
        if (ack) ack(...data);
      } else if (type === DISCONNECT) {
        this.io.close();
        this.leave("io server disconnect");
      } else if (type === CONNECT_ERROR) {
        this.io.close();
        this.tell("connect_error", Object.assign(new Error(data.message || data), { data: data.data }));
      }
    }
    leave(reason, cause) {
      this.partial = null;
      if (!this.connected) return;
      this.connected = false;
      this.id = undefined;
      this.acks.clear();
      this.tell("disconnect", reason, cause);
    }
  }

  // ---- Bytes: taken out of a value into attachments, and put back. ----

  function takeApart(value, attachments) {
    const bytes = value instanceof ArrayBuffer || ArrayBuffer.isView(value);
    if (bytes) return { _placeholder: true, num: attachments.push(value) - 1 };
    if (Array.isArray(value)) return value.map((item) => takeApart(item, attachments));
    if (value === null || typeof value !== "object" || typeof value.toJSON === "function") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, takeApart(item, attachments)]));
  }

  function putTogether(value, attachments) {
    if (value === null || typeof value !== "object" || attachments.length === 0) return value;
    if (value._placeholder === true) return attachments[value.num];
    for (const key of Object.keys(value)) value[key] = putTogether(value[key], attachments);
    return value;
  }

  function toText(packet) {
    if (typeof packet === "string") return packet;
    const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(packet) ? packet : new DataView(packet);
    return "b" + btoa(Array.from(new Uint8Array(buffer, byteOffset, byteLength), (byte) => String.fromCharCode(byte)).join(""));
  }

  const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;

  /** `io()`, `io("/namespace")`, `io("https://host/namespace", options)`, `io(options)`. */
  function io(url, options) {
    if (typeof url === "object") [url, options] = [undefined, url];
    const { protocol, host, pathname, searchParams } = new URL(url || "/", root.location && root.location.href);
    const settled = { ...DEFAULTS, query: Object.fromEntries(searchParams), ...options };
    settled.path = settled.path.replace(/\/?$/, "/");
    return new Socket(new Manager(protocol.replace(/^ws/, "http") + "//" + host, settled), pathname);
  }
  io.io = io.connect = io;
  io.protocol = 5;

  if (typeof module === "object" && module.exports) module.exports = io;
  else root.io = io;
})(typeof globalThis === "undefined" ? self : globalThis);
