// The Engine.IO servers of this process: session ids that begin with its tag, how many sessions there are, and how they are let go.

"use strict";

const link = require("./link.cjs");

/** What the stock generators make: 20 characters of base64url. */
const STOCK_ID = /^[\w-]{20}$/;
/** The stock generators say nothing but this. */
const STOCK_SOURCE = /\.generateId\(\)/;
/** Loads are told at most this often. */
const LOAD_MS = 250;

const engines = new Set();
const adopted = new WeakSet();
const tagging = new WeakSet();
let tag;
let own = false;
let tellSids = () => {};
let lastLoad = 0;
/** Sessions that ever began. */
let arrived = 0;
let lastArrived = 0;
let timer;

/** Takes on an Engine.IO server that was just made, or is about to be used. */
exports.adopt = (engine) => {
  if (adopted.has(engine)) return;
  adopted.add(engine);
  const owner = ownerOf(engine, "generateId");
  if (tagging.has(owner)) return follow(engine);
  const original = owner.generateId;
  if (owner === engine || !STOCK_SOURCE.test(Function.prototype.toString.call(original))) {
    learn();
    return follow(engine);
  }
  tagging.add(owner);
  function generateId(...args) {
    const id = Reflect.apply(original, this, args);
    return typeof id?.then === "function" ? id.then(tagged) : tagged(id);
  }
  // `io.engine.generateId = …` is an id generator of the app's own, which wins.
  Object.defineProperty(owner, "generateId", {
    configurable: true,
    enumerable: false,
    get: () => generateId,
    set(value) {
      Object.defineProperty(this, "generateId", { value, configurable: true, enumerable: true, writable: true });
      if (this !== owner) learn();
    },
  });
  return follow(engine);
};

/** From here on session ids begin with this tag. */
exports.serve = (assigned) => {
  tag = assigned;
  link.on("drain", drain);
};

/** How session ids lead back to this process. */
exports.sids = () => (own ? "learnt" : "tagged");

/** Calls back when that changes. */
exports.onSids = (told) => {
  const before = tellSids;
  tellSids = () => (before(), told());
};

function learn() {
  if (own) return;
  own = true;
  tellSids();
}

function tagged(id) {
  if (tag === undefined) return id;
  if (typeof id === "string" && STOCK_ID.test(id)) return tag + id.slice(tag.length);
  learn();
  return id;
}

function follow(engine) {
  // Not by `on`, which is hooked to find engines.
  engine.prependListener("connection", (socket) => {
    engines.add(engine);
    arrived += 1;
    changed();
    socket.once("close", changed);
  });
}

function changed() {
  timer ??= setTimeout(() => {
    timer = undefined;
    const sessions = sum();
    if (sessions !== lastLoad || arrived !== lastArrived) link.say({ type: "load", sessions: (lastLoad = sessions), arrived: (lastArrived = arrived) });
  }, LOAD_MS).unref();
}

function sum() {
  let sessions = 0;
  for (const engine of engines) sessions += engine.clientsCount ?? 0;
  return sessions;
}

/** Closes the sessions one after the other, evenly over a time; their clients connect anew, elsewhere. */
function drain(ms) {
  const sessions = [...engines].flatMap((engine) => Object.values(engine.clients ?? {}));
  sessions.forEach((session, i) => setTimeout(() => session.close(), (ms * i) / sessions.length).unref());
}

function ownerOf(object, name) {
  let owner = object;
  while (!Object.prototype.hasOwnProperty.call(owner, name)) owner = Object.getPrototypeOf(owner);
  return owner;
}
