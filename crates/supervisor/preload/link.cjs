// The worker's end of the plain link (docs/plain-link.md): one connection of this process to its parent, made when the app first listens.

"use strict";

const net = require("net");

const VERSION = 1;
/** How long the app may take to end once its parent is gone. */
const END_MS = 5_000;

/** The connection, once asked for: a promise of `{ tag, mesh_dir, http_dir }`. */
let assigned;
let socket;
let lastId = 0;
/** What to do with the answer to a listen, by its id. */
const asked = new Map();
/** Words of the parent that others act on. */
const handlers = { drain: () => {}, stop: () => {} };

/** Reports to the parent, once; says what this process shall be. Fails when there is no parent. */
exports.assigned = () => (assigned ??= connect());

/** Acts on `drain` (milliseconds) or `stop`. */
exports.on = (word, act) => (handlers[word] = act);

/** Tells the parent something; without a parent it is for nothing. */
exports.say = say;

/** Asks for a public address: `{ id, answer }`, a promise of the Unix socket's path, or of nothing where the process is to listen by itself. */
exports.listen = (host, port, protocol) => {
  const id = ++lastId;
  const answer = new Promise((resolve, reject) => asked.set(id, { resolve, reject }));
  // While the answer is awaited, the process may have nothing else to live for.
  socket.ref();
  say({ type: "listen", id, host, port, protocol });
  return { id, answer };
};

/** Forgets a listen that was not answered yet. */
exports.giveUp = (id) => settle(id, () => {});

function connect() {
  const connection = net.connect(process.env.SOCKEYE_PLAIN_LINK);
  return new Promise((resolve, reject) => {
    connection.once("error", reject).once("connect", () => {
      connection.off("error", reject).on("error", () => {});
      socket = connection;
      connection.once("close", ended);
      hear(connection, (word) => {
        if (word.type !== "assign") return obey(word);
        connection.unref();
        resolve(word);
      });
      say({ type: "hello", version: VERSION, pid: process.pid, instance: Number(process.env.SOCKEYE_WORKER) || 0 });
    });
  });
}

function hear(connection, take) {
  let rest = "";
  connection.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  });
}

function obey(word) {
  const { type, id } = word;
  if (type === "alone") settle(id, ({ resolve }) => resolve(undefined));
  else if (type === "listening") settle(id, ({ resolve }) => resolve(word.path));
  else if (type === "refuse") settle(id, ({ reject }) => reject(Object.assign(new Error(word.reason), word.code && { code: word.code })));
  else if (type === "drain") handlers.drain(word.ms);
  else if (type === "stop") handlers.stop();
}

function settle(id, how) {
  const waiting = asked.get(id);
  if (!waiting) return;
  asked.delete(id);
  if (asked.size === 0) socket.unref();
  how(waiting);
}

/** The parent is gone, and with it the public address: the app ends as if it had been told to. */
function ended() {
  socket = undefined;
  process.kill(process.pid, "SIGTERM");
  setTimeout(() => process.exit(1), END_MS).unref();
}

function say(word) {
  socket?.write(`${JSON.stringify(word)}\n`);
}
