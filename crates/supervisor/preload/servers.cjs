// The Socket.IO servers of this process: gives each the adapter of ours in the place of the stock one, and brings it what the mesh says.

"use strict";

const link = require("./link.cjs");
const mesh = require("./mesh.cjs");
const recovery = require("./recovery.cjs");
const { clustered, inMemory, refuse, whole, written } = require("./adapter.cjs");
const { recoverable } = require("./recoverable.cjs");

/** In the order of their making, which is the same in each copy of an app. */
const servers = [];
const hooked = new WeakSet();
const classes = new WeakMap();
let assigned;
let joined;

/** Takes on a Socket.IO server that is being made. */
exports.adopt = (io) => {
  servers.push(io);
  hook(io);
  // Made after the app began to listen.
  if (assigned) join();
};

/** This process serves: where there is a server that wants the others, it joins them first. */
exports.serve = (shall) => {
  assigned = shall;
  recovery.serve(shall.tag);
  link.on("stop", mesh.leave);
  return servers.length > 0 ? join() : undefined;
};

/** Names a server of this process, the same way in each copy of the app: its path, and a number if it is not the first on that path. */
exports.nameOf = (io) => {
  const alike = servers.filter((other) => other._path === io._path);
  const number = alike.indexOf(io) + 1;
  return number > 1 ? `${io._path}#${number}` : `${io._path}`;
};

/** uWebSockets.js listens where nothing of ours is asked. */
function watch(owner) {
  const { attachApp } = owner;
  if (typeof attachApp !== "function") return;
  owner.attachApp = function (...args) {
    require("./listen.cjs").native();
    return Reflect.apply(attachApp, this, args);
  };
}

/** The stock adapter, whoever asks for it, is replaced; one that the app brings itself wins. */
function hook(io) {
  let owner = io;
  while (!Object.prototype.hasOwnProperty.call(owner, "adapter")) owner = Object.getPrototypeOf(owner);
  if (hooked.has(owner)) return;
  hooked.add(owner);
  watch(owner);
  const { adapter } = owner;
  Object.defineProperty(owner, "adapter", {
    configurable: true,
    enumerable: false,
    writable: true,
    value(...args) {
      const [wanted] = args;
      const stock = inMemory(wanted);
      if (args.length === 0 || !stock) return Reflect.apply(adapter, this, args);
      if (!classes.has(wanted)) classes.set(wanted, ours(wanted, stock));
      return Reflect.apply(adapter, this, [classes.get(wanted)]);
    },
  });
}

/** Our class in the place of the app's: with recovery where the app's has it. */
function ours(wanted, stock) {
  const plain = clustered(stock, exports.nameOf);
  return wanted === stock ? plain : recoverable(plain, stock, { nameOf: exports.nameOf, whole, written });
}

function join() {
  mesh.on("message", hear);
  mesh.on("hello", recovery.handleHello);
  mesh.on("gone", (member) => {
    recovery.handleGone(member);
    adapters().forEach((adapter) => adapter.handleGone(member.uid));
  });
  joined ??= mesh.join(assigned.mesh_dir, assigned.tag).catch((error) => {
    process.stderr.write(`sockeye: no mesh with the other copies of this app, its events stay here: ${error.message}\n`);
  });
  return joined;
}

function hear(message, bytes) {
  if (!isWhole(message) || recovery.hear(message, bytes) || !recovery.arrives(message, bytes)) return;
  const adapter = adapterOf(message);
  if (adapter) adapter.handleMessage(message);
  else refuse(message);
}

/** Whether everything is there that its type has; what is not is skipped. */
function isWhole({ type, uid, nsp, data }) {
  if (typeof uid !== "string" || typeof nsp !== "string" || typeof data !== "object" || data === null) return false;
  const { opts, packet, rooms, sockets } = data;
  const lists = [opts?.rooms, opts?.except, rooms, sockets, type === 9 ? packet : undefined];
  const needed = { 3: [opts, Array.isArray(packet?.data) ? packet : null], 4: [opts, rooms], 5: [opts, rooms], 6: [opts], 7: [opts], 8: [sockets], 9: [packet] }[type] ?? [];
  return needed.every((part) => typeof part === "object" && part !== null) && lists.every((list) => list === undefined || Array.isArray(list));
}

function adapterOf({ nsp, server }) {
  // Whoever knows nothing of our names means the app's first server.
  const io = server === undefined ? servers[0] : servers.find((one) => exports.nameOf(one) === server);
  const adapter = io?._nsps?.get?.(nsp)?.adapter;
  // The app may have put an adapter of its own in the place of ours.
  return typeof adapter?.handleMessage === "function" ? adapter : undefined;
}

function adapters() {
  const all = servers.flatMap((io) => [...(io._nsps?.values?.() ?? [])].map((nsp) => nsp.adapter));
  return all.filter((adapter) => typeof adapter?.handleGone === "function");
}
