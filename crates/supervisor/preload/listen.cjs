// `listen(3000)` in each copy of an app: asks the parent for the public address, and binds the Unix socket that it names instead.
//
// Left alone: port 0, Unix paths, descriptors, handles, and whatever an app's own `cluster` does. Refused aloud: servers that end TLS or
// speak HTTP/2 themselves.

"use strict";

const dns = require("dns");
const engines = require("./engines.cjs");
const link = require("./link.cjs");
const peers = require("./peers.cjs");
const servers = require("./servers.cjs");

/** The exit code of a copy that cannot be one of several (EX_CONFIG): starting it again has no sense. */
const EXIT_UNFIT = 78;
const FORKS = "the app forks its own `cluster`, so it runs once, by itself: start it without -i, or let it not fork where SOCKEYE_WORKER is set";
const NATIVE = "the app listens by uWebSockets.js, where nobody can take its port from it, so it runs once, by itself: start it without -i";

/** What a call of `listen` wants of us: a function that does it, or nothing. */
exports.wish = (args) => {
  const wanted = understood(args);
  const own = wanted && ownCluster();
  if (!wanted || own === "worker") return undefined;
  if (own === "primary") return (server, listen) => (unfit(FORKS) ? Reflect.apply(listen, server, args) : server);
  return (server, listen) => behindTheEdge(server, wanted, listen);
};

/** The port, host and the rest of what was asked for, if it is a TCP port of the app's choosing. The rules are those of `net`. */
function understood(args) {
  const [first, ...more] = args;
  const callback = args.findLast((arg) => typeof arg === "function");
  if (first !== null && typeof first === "object") {
    const port = portOf(first.port);
    if (!port || first.fd !== undefined || first._handle || first.handle) return undefined;
    return { port, host: first.host, backlog: first.backlog, signal: first.signal, callback };
  }
  const port = portOf(first);
  if (!port) return undefined;
  return { port, host: typeof more[0] === "string" ? more[0] : undefined, backlog: more.find((arg) => typeof arg === "number"), callback };
}

/** A port from 1 to 65535, as a number or in digits; anything else is for `net` to serve or to refuse. */
function portOf(value) {
  if (typeof value !== "number" && !(typeof value === "string" && value.trim() !== "")) return undefined;
  const port = Number(value);
  return Number.isInteger(port) && port > 0 && port < 65536 ? port : undefined;
}

/** Whether this process is part of the app's own `cluster`, and as what. */
function ownCluster() {
  const cluster = require("cluster");
  if (cluster.isWorker) return "worker";
  // Listeners of `cluster` say nothing: loggers have them too.
  if (Object.keys(cluster.workers).length + Object.keys(cluster.settings).length > 0) return "primary";
  if (!cluster.fork.sockeye) {
    // `listen` and then `fork`, as with @socket.io/sticky: `bind` looks for it.
    const { fork } = cluster;
    cluster.fork = (...args) => (unfit(FORKS), Reflect.apply(fork, cluster, args));
    cluster.fork.sockeye = true;
  }
  return undefined;
}

let said = false;

/** The app gives Socket.IO a server that listens by itself. */
exports.native = () => unfit(NATIVE);

/** One copy goes on, as it is; the others end. Says whether this is the one. */
function unfit(why) {
  // The place, which a successor has of whom it replaces.
  const instance = Number(process.env.NODE_APP_INSTANCE ?? process.env.SOCKEYE_WORKER) || 0;
  if (said) return instance === 0;
  said = true;
  complain(why);
  const told = link.assigned().then(() => link.say({ type: "unfit", reason: why }), () => {});
  if (instance > 0) told.then(() => setImmediate(() => process.exit(EXIT_UNFIT)));
  return instance === 0;
}

function behindTheEdge(server, wanted, listen) {
  const refused = reasonAgainst(server);
  if (refused) return fail(server, Object.assign(new Error(`sockeye: ${refused}`), { code: "ENOTSUP" }));
  if (server.listening || server[PLACE]) {
    throw Object.assign(new Error("Listen method has been called more than once without closing."), { code: "ERR_SERVER_ALREADY_LISTEN" });
  }
  if (wanted.callback) server.once("listening", wanted.callback);
  const place = { wanted, host: wanted.host, closed: false };
  server[PLACE] = place;
  show(server, place);
  bind(server, place, listen).catch((error) => {
    hide(server, place);
    if (!place.closed) fail(server, error);
  });
  return server;
}

const PLACE = Symbol("sockeye.place");

async function bind(server, place, listen) {
  const { wanted } = place;
  const { port, backlog, signal } = wanted;
  place.host = await resolve(wanted.host);
  let shall;
  try {
    shall = await link.assigned();
  } catch (error) {
    complain(`nobody listens at SOCKEYE_PLAIN_LINK (${error.code}): the app listens by itself`);
  }
  if (!shall || said) {
    hide(server, place);
    const alone = !place.closed && (!said || unfit(FORKS));
    return void (alone && Reflect.apply(listen, server, [{ port, host: wanted.host, backlog, signal }]));
  }
  if (place.closed) return;
  const { id, answer } = link.listen(place.host, port, speaksHttp(server) ? "http" : "tcp");
  place.id = id;
  let path;
  try {
    path = await answer;
  } catch (refusal) {
    refusal.message = `listen ${refusal.code ?? "refused"}: ${refusal.message} ${place.host ?? "::"}:${port}`;
    throw Object.assign(refusal, { syscall: "listen", address: place.host ?? "::", port });
  }
  if (path === undefined) {
    // A mere child of the app.
    hide(server, place);
    return void (!place.closed && Reflect.apply(listen, server, [{ port, host: wanted.host, backlog, signal }]));
  }
  engines.serve(shall.tag);
  await servers.serve(shall);
  if (place.closed) return;
  server.prependOnceListener("listening", () => {
    const say = () => link.say({ type: "ready", id, sids: engines.sids() });
    engines.onSids(say);
    say();
  });
  // A socket file of a process that died would stand in the way; nobody else has this name.
  Reflect.apply(listen, server, [{ path, exclusive: true, backlog, signal }]);
}

/** The address as `net` would find it, null for all. */
function resolve(host) {
  if (!host) return null;
  return new Promise((done, failed) => dns.lookup(host, (error, address) => (error ? failed(error) : done(address))));
}

/** While it listens, the server tells of the address that was asked for, and of its clients. */
function show(server, place) {
  const { port } = place.wanted;
  place.address = () => {
    const address = place.host ?? "::";
    return { address, family: address.includes(":") ? "IPv6" : "IPv4", port };
  };
  server.address = place.address;
  peers.show(server, () => server[PLACE]);
  // `close` says so too when the answer is still awaited.
  server.once("close", () => {
    hide(server, place);
    giveUp(place);
  });
}

function hide(server, place) {
  if (server[PLACE] === place) delete server[PLACE];
  if (server.address === place.address) delete server.address;
}

function giveUp(place) {
  if (place.closed) return;
  place.closed = true;
  if (place.id === undefined) return;
  link.giveUp(place.id);
  link.say({ type: "closed", id: place.id });
}

function reasonAgainst(server) {
  if (server instanceof require("tls").Server) {
    return "the app ends TLS itself, so the edge cannot see whose requests these are: listen with plain http, and let the edge end TLS";
  }
  // Plain HTTP/2 has no class of its own that can be asked for: it is known by what only it has.
  if (!(server instanceof require("http").Server) && typeof server.updateSettings === "function") {
    return "the app speaks HTTP/2 without TLS, which no browser does: listen with http.createServer";
  }
  return undefined;
}

function speaksHttp(server) {
  return server instanceof require("http").Server;
}

function fail(server, error) {
  if (error.code === "ENOTSUP") complain(error.message.replace(/^sockeye: /, ""));
  process.nextTick(() => server.emit("error", error));
  return server;
}

function complain(what) {
  process.stderr.write(`sockeye: ${what}\n`);
}
