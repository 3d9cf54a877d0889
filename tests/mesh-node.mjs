// A member of a Sockeye mesh (docs/mesh.md) in plain Node.js: `node mesh-node.mjs <directory> [board]`.
// Says `joined`, then `heard ["event",…]` for each broadcast. Reads lines: `emit ["event",…]` speaks to everybody of the namespace `/`,
// `{"nsp":"/","event":"e","args":[],"rooms":[]}` to whom it names. Leaves when its input ends. Binary broadcasts (msgpack) are skipped.
// With `board` it shows which rooms of `/` it hears: none, until a line says `hear ROOM`; `deaf ROOM` ends that.

import { randomBytes } from "node:crypto";
import { chmodSync, openSync, readdirSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

const directory = process.argv[2];
const own = { mesh: 1, tag: randomBytes(6).toString("base64url").slice(0, 6), uid: randomBytes(8).toString("hex") };
const path = (tag, ending = "sock") => `${directory}/${tag}.${ending}`;
if (process.argv[3] === "board") writeFileSync(path(own.tag, "board"), Buffer.alloc((own.board = 65536)), { mode: 0o600 });
const board = own.board && openSync(path(own.tag, "board"), "r+");
const outgoing = new Map(); // tag → the connection dialled to that member: written, never read
let awaited = new Set(); // members that were here first and have not dialled back yet

const server = createServer((socket) => {
  let [from, buffer] = [undefined, Buffer.alloc(0)];
  socket.on("error", () => {}).on("close", () => outgoing.get(from)?.destroy());
  socket.on("data", (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32BE()) {
      const payload = buffer.subarray(4, 4 + buffer.readUInt32BE());
      buffer = buffer.subarray(4 + payload.length);
      const message = payload[0] === 0x7b ? JSON.parse(payload.toString()) : {};
      if (from) hear(message, from);
      else if (message.mesh === 1 && message.tag !== own.tag) met(dial((from = message.tag)));
      else return socket.destroy();
    }
  });
});

function hear({ type, uid, data }, from) {
  if (type === 3 && uid !== own.uid) console.log(`heard ${JSON.stringify(data.packet.data)}`);
  if (type === 69) outgoing.get(from)?.write(frame({ type: 70, data, uid: own.uid, nsp: "/" }));
}

/** Shows that a room of `/` is heard, or is not. One room a byte is enough here: nobody counts who shares it. */
function show(room, heard) {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`/\0${room}`)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  writeSync(board, Buffer.from([heard]), 0, 1, hash % own.board);
  console.log(`${heard ? "hears" : "deaf to"} ${room}`);
}

function dial(tag) {
  if (outgoing.has(tag)) return tag;
  const socket = connect(path(tag)).on("error", () => {});
  outgoing.set(tag, socket);
  socket.on("close", () => outgoing.delete(met(tag))).resume().write(frame(own));
  return tag;
}

function met(tag) {
  if (awaited?.delete(tag) && awaited.size === 0) joined();
  return tag;
}

function joined() {
  if (awaited) console.log("joined");
  awaited = undefined;
}

function frame(message) {
  const payload = Buffer.from(JSON.stringify(message));
  const header = Buffer.alloc(4);
  header.writeUInt32BE(payload.length);
  return Buffer.concat([header, payload]);
}

function publish(message) {
  for (const socket of outgoing.values()) socket.write(frame({ ...message, uid: own.uid, nsp: message.nsp ?? "/" }));
}

server.listen(path(own.tag, "new"), () => {
  chmodSync(path(own.tag, "new"), 0o600);
  renameSync(path(own.tag, "new"), path(own.tag));
  const names = readdirSync(directory).filter((name) => /^[\w-]{6}\.sock$/.test(name) && name !== `${own.tag}.sock`);
  names.forEach((name) => dial(name.slice(0, 6)) && awaited.add(name.slice(0, 6)));
  if (names.length === 0) joined();
  else setTimeout(joined, 1000).unref();
});

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [, word, room] = /^(hear|deaf) (.*)$/.exec(line) ?? [];
    if (word) return show(room, word === "hear" ? 1 : 0);
    const said = line.startsWith("emit ") ? { packet: JSON.parse(line.slice(5)) } : JSON.parse(line);
    const opts = { rooms: said.rooms ?? [], except: said.except ?? [], flags: {} };
    const packet = { type: 2, data: said.packet ?? [said.event, ...(said.args ?? [])] };
    publish({ type: 3, data: { packet, opts }, nsp: said.nsp });
  })
  .on("close", () => {
    for (const ending of ["sock", "board"]) rmSync(path(own.tag, ending), { force: true });
    publish({ type: 13 });
    outgoing.forEach((socket) => socket.end());
    server.close();
  });
