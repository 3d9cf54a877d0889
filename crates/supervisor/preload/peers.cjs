// The client's true address for the app: a request comes through a Unix socket, and says in a header whom it is from.

"use strict";

/** Events of a server whose first argument is a request. */
const REQUESTS = new Set(["request", "upgrade", "connect", "checkContinue", "checkExpectation"]);
/** Only the edge reaches the socket, and it takes these out of what clients send. */
const OURS = /^x-sockeye-/i;
const shown = new WeakSet();

/** Has the server's requests tell of the client, and of the port that it asked for. By `emit` itself: Engine.IO takes other listeners away. */
exports.show = (server, placeOf) => {
  if (shown.has(server)) return;
  shown.add(server);
  const { emit } = server;
  server.emit = function (event, request, ...more) {
    const place = REQUESTS.has(event) && placeOf();
    if (place) adorn(request, place);
    return Reflect.apply(emit, this, [event, request, ...more]);
  };
};

function adorn(request, { wanted, host }) {
  const { headers, socket } = request;
  // An edge that is not ours, or a link of an older one, names the client here alone.
  const forwarded = headers["x-forwarded-for"]?.split(",").at(-1).trim();
  const [address, port] = parted(headers["x-sockeye-peer"]) ?? [forwarded, undefined];
  strip(request);
  if (!address) return;
  const family = address.includes(":") ? "IPv6" : "IPv4";
  const local = { localPort: wanted.port, ...(host && host !== "::" && host !== "0.0.0.0" && { localAddress: host }) };
  for (const [name, value] of Object.entries({ remoteAddress: address, remotePort: port, remoteFamily: family, ...local })) {
    Object.defineProperty(socket, name, { value, configurable: true, enumerable: false, writable: true });
  }
}

/** `192.0.2.7:5000` or `[2001:db8::7]:5000`. */
function parted(peer) {
  const found = /^\[?([^\]]+)\]?:(\d+)$/.exec(peer ?? "");
  return found && [found[1], Number(found[2])];
}

function strip(request) {
  const { headers, rawHeaders } = request; // Reading `headers` builds them, before `rawHeaders` changes.
  for (const name of Object.keys(headers)) if (OURS.test(name)) delete headers[name];
  const count = Object.getOwnPropertySymbols(request).find((symbol) => symbol.description === "kHeadersCount");
  if (!count) return;
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (!OURS.test(rawHeaders[at])) continue;
    rawHeaders.splice(at, 2);
    request[count] -= 2;
  }
}
