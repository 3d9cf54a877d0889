// msgpack for the mesh's messages with binary parts, as docs/mesh.md wants them; an app may have no codec of its own.
//
// What JSON does with a value, this does too: `toJSON` is asked, functions and undefined vanish from maps and are nil elsewhere.

"use strict";

const DEPTH_MAX = 128;

/** Whether a message cannot go as JSON. */
exports.hasBinary = (value) => hasBinary(value, 0);

/** The bytes of a value. */
exports.encode = (value) => {
  const out = { bytes: Buffer.allocUnsafe(1024), at: 0 };
  write(out, value, 0);
  return out.bytes.subarray(0, out.at);
};

/** The value of bytes; throws on whatever is no single value. */
exports.decode = (bytes) => {
  const from = { bytes, at: 0 };
  const value = read(from, 0);
  if (from.at !== bytes.length) throw new RangeError("expected one value");
  return value;
};

function hasBinary(value, depth) {
  if (typeof value !== "object" || value === null || depth > DEPTH_MAX) return false;
  if (isBinary(value)) return true;
  if (Array.isArray(value)) return value.some((item) => hasBinary(item, depth + 1));
  if (typeof value.toJSON === "function") return hasBinary(value.toJSON(), depth + 1);
  for (const key in value) if (hasBinary(value[key], depth + 1)) return true;
  return false;
}

function isBinary(value) {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer;
}

function write(out, value, depth) {
  if (depth > DEPTH_MAX) throw new RangeError(`expected at most ${DEPTH_MAX} levels`);
  switch (typeof value) {
    case "number":
      return number(out, value);
    case "string":
      return text(out, value);
    case "boolean":
      return put(out, value ? 0xc3 : 0xc2);
    case "bigint":
      throw new TypeError("expected what JSON can say, got a BigInt");
    case "object":
      break;
    default:
      return put(out, 0xc0);
  }
  if (value === null) return put(out, 0xc0);
  if (isBinary(value)) return binary(out, ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.from(value));
  if (typeof value.toJSON === "function") return write(out, value.toJSON(), depth + 1);
  if (Array.isArray(value)) {
    head(out, value.length, 0x90, 15, [undefined, 0xdc, 0xdd]);
    for (const item of value) write(out, item, depth + 1);
    return undefined;
  }
  const keys = Object.keys(value).filter((key) => value[key] !== undefined && typeof value[key] !== "function");
  head(out, keys.length, 0x80, 15, [undefined, 0xde, 0xdf]);
  for (const key of keys) {
    text(out, key);
    write(out, value[key], depth + 1);
  }
  return undefined;
}

function number(out, value) {
  if (!Number.isFinite(value)) return put(out, 0xc0);
  if (Number.isInteger(value) && !Object.is(value, -0)) {
    if (value >= 0 && value < 128) return put(out, value);
    if (value < 0 && value >= -32) return put(out, value & 0xff);
    if (value >= 0 && value < 2 ** 32) return (put(out, 0xce), room(out, 4), (out.at = out.bytes.writeUInt32BE(value, out.at)));
    if (value < 0 && value >= -(2 ** 31)) return (put(out, 0xd2), room(out, 4), (out.at = out.bytes.writeInt32BE(value, out.at)));
    if (Number.isSafeInteger(value)) return (put(out, 0xd3), room(out, 8), (out.at = out.bytes.writeBigInt64BE(BigInt(value), out.at)));
  }
  return (put(out, 0xcb), room(out, 8), (out.at = out.bytes.writeDoubleBE(value, out.at)));
}

function text(out, value) {
  const length = Buffer.byteLength(value);
  head(out, length, 0xa0, 31, [0xd9, 0xda, 0xdb]);
  room(out, length);
  out.at += out.bytes.write(value, out.at, "utf8");
}

function binary(out, value) {
  head(out, value.length, undefined, -1, [0xc4, 0xc5, 0xc6]);
  room(out, value.length);
  out.at += value.copy(out.bytes, out.at);
}

/** A length in the shortest form that the type has. */
function head(out, length, short, shortMax, [one, two, four]) {
  if (length <= shortMax) return put(out, short | length);
  if (one !== undefined && length < 2 ** 8) return (put(out, one), put(out, length));
  if (length < 2 ** 16) return (put(out, two), room(out, 2), (out.at = out.bytes.writeUInt16BE(length, out.at)));
  return (put(out, four), room(out, 4), (out.at = out.bytes.writeUInt32BE(length, out.at)));
}

function put(out, byte) {
  room(out, 1);
  out.bytes[out.at++] = byte;
}

function room(out, count) {
  if (out.at + count <= out.bytes.length) return;
  const larger = Buffer.allocUnsafe(Math.max(out.bytes.length * 2, out.at + count));
  out.bytes.copy(larger, 0, 0, out.at);
  out.bytes = larger;
}

function read(from, depth) {
  if (depth > DEPTH_MAX) throw new RangeError(`expected at most ${DEPTH_MAX} levels`);
  const kind = take(from, 1)[0];
  if (kind < 0x80) return kind;
  if (kind < 0x90) return map(from, kind & 15, depth);
  if (kind < 0xa0) return array(from, kind & 15, depth);
  if (kind < 0xc0) return take(from, kind & 31).toString();
  if (kind >= 0xe0) return kind - 256;
  switch (kind) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: case 0xc5: case 0xc6: return Buffer.from(take(from, size(from, kind - 0xc4)));
    case 0xc7: case 0xc8: case 0xc9: return extension(from, size(from, kind - 0xc7));
    case 0xca: return take(from, 4).readFloatBE();
    case 0xcb: return take(from, 8).readDoubleBE();
    case 0xcc: case 0xcd: case 0xce: return size(from, kind - 0xcc);
    case 0xcf: return Number(take(from, 8).readBigUInt64BE());
    case 0xd0: return take(from, 1).readInt8();
    case 0xd1: return take(from, 2).readInt16BE();
    case 0xd2: return take(from, 4).readInt32BE();
    case 0xd3: return Number(take(from, 8).readBigInt64BE());
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return extension(from, 1 << (kind - 0xd4));
    case 0xd9: case 0xda: case 0xdb: return take(from, size(from, kind - 0xd9)).toString();
    case 0xdc: case 0xdd: return array(from, size(from, kind - 0xdb), depth);
    case 0xde: case 0xdf: return map(from, size(from, kind - 0xdd), depth);
    default: throw new RangeError(`expected msgpack, got the byte ${kind}`);
  }
}

/** An unsigned number of 1, 2 or 4 bytes. */
function size(from, power) {
  return take(from, 1 << power).readUIntBE(0, 1 << power);
}

function take(from, count) {
  if (count > from.bytes.length - from.at) throw new RangeError("expected more bytes");
  return from.bytes.subarray(from.at, (from.at += count));
}

function array(from, count, depth) {
  if (count > from.bytes.length - from.at) throw new RangeError("expected more bytes");
  const items = [];
  for (let i = 0; i < count; i += 1) items.push(read(from, depth + 1));
  return items;
}

function map(from, count, depth) {
  const found = {};
  for (let i = 0; i < count; i += 1) {
    const key = read(from, depth + 1);
    const value = read(from, depth + 1);
    if (key === "__proto__") Object.defineProperty(found, key, { value, configurable: true, enumerable: true, writable: true });
    else found[key] = value;
  }
  return found;
}

/** undefined and dates as the usual encoders write them; typed arrays and what nobody knows as bytes. */
function extension(from, length) {
  const type = take(from, 1).readInt8();
  const bytes = take(from, length);
  if (type === 0 && length === 1) return undefined;
  if (type === 0 && length === 8) return new Date(Number(bytes.readBigInt64BE()));
  if (type === -1 && length === 4) return new Date(bytes.readUInt32BE() * 1000);
  if (type === -1 && length === 8) {
    const both = bytes.readBigUInt64BE();
    return new Date(Number(both & 0x3ffffffffn) * 1000 + Number(both >> 34n) / 1e6);
  }
  if (type === -1 && length === 12) return new Date(Number(bytes.readBigInt64BE(4)) * 1000 + bytes.readUInt32BE() / 1e6);
  return Buffer.from(bytes);
}
