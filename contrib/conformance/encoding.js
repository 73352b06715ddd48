// Canonical MessagePack, specs/02-encoding.md.
//
// Values: null, booleans, BigInt for every integer, strings, Buffers, arrays and Maps. The codec is our own: the package that
// run.js compares it with sorts keys by UTF-16, drops a byte order mark and refuses the key __proto__.

import { Refusal, demand } from "./refusal.js";
import { limit } from "./tables.js";

const SIZE_MAX = Number(limit("ENVELOPE_SIZE_MAX"));
const DEPTH_MAX = Number(limit("DEPTH_MAX"));
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function bigEndian(value, size) {
  const bytes = Buffer.alloc(size);
  for (let place = size - 1, rest = BigInt.asUintN(8 * size, value); place >= 0; place -= 1, rest >>= 8n) {
    bytes[place] = Number(rest & 0xffn);
  }
  return bytes;
}

const head = (byte, value, size) => Buffer.concat([Buffer.from([byte]), bigEndian(value, size)]);

// The shortest of the heads `[byte, size of the length]`; the first may hold its length itself, up to `fixMax`.
function lengthHead(length, fix, fixMax, heads) {
  if (length <= fixMax) return Buffer.from([fix + length]);
  const [byte, size] = heads.find(([, size]) => BigInt(length) < 1n << BigInt(8 * size));
  return head(byte, BigInt(length), size);
}

function encodeInteger(value) {
  demand(value >= -(1n << 63n) && value < 1n << 64n, "encoding", "an integer beyond 64 bits");
  if (value >= 0n) {
    if (value < 0x80n) return Buffer.from([Number(value)]);
    const size = [1, 2, 4, 8].find((bytes) => value < 1n << BigInt(8 * bytes));
    return head({ 1: 0xcc, 2: 0xcd, 4: 0xce, 8: 0xcf }[size], value, size);
  }
  if (value >= -32n) return bigEndian(value, 1);
  const size = [1, 2, 4, 8].find((bytes) => value >= -(1n << BigInt(8 * bytes - 1)));
  return head({ 1: 0xd0, 2: 0xd1, 4: 0xd2, 8: 0xd3 }[size], value, size);
}

function pack(value) {
  if (value === null) return Buffer.from([0xc0]);
  if (typeof value === "boolean") return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === "bigint") return encodeInteger(value);
  if (typeof value === "string") {
    const bytes = Buffer.from(value, "utf8");
    return Buffer.concat([lengthHead(bytes.length, 0xa0, 31, [[0xd9, 1], [0xda, 2], [0xdb, 4]]), bytes]);
  }
  if (Buffer.isBuffer(value)) {
    return Buffer.concat([lengthHead(value.length, 0, -1, [[0xc4, 1], [0xc5, 2], [0xc6, 4]]), value]);
  }
  if (Array.isArray(value)) {
    return Buffer.concat([lengthHead(value.length, 0x90, 15, [[0xdc, 2], [0xdd, 4]]), ...value.map(pack)]);
  }
  const entries = [...value].map(([key, item]) => [Buffer.from(key, "utf8"), key, item]);
  entries.sort(([first], [second]) => Buffer.compare(first, second));
  const packed = entries.flatMap(([, key, item]) => [pack(key), pack(item)]);
  return Buffer.concat([lengthHead(value.size, 0x80, 15, [[0xde, 2], [0xdf, 4]]), ...packed]);
}

export function encode(value) {
  return pack(value);
}

class Reader {
  constructor(data) {
    this.data = data;
    this.place = 0;
  }

  take(size) {
    demand(this.place + size <= this.data.length, "encoding", "cut short");
    this.place += size;
    return this.data.subarray(this.place - size, this.place);
  }

  unsigned(size) {
    return this.take(size).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }

  signed(size) {
    return BigInt.asIntN(8 * size, this.unsigned(size));
  }

  string(size) {
    try {
      return utf8.decode(this.take(size));
    } catch {
      throw new Refusal("encoding", "not UTF-8");
    }
  }

  list(count, depth) {
    demand(depth < DEPTH_MAX, "encoding", "too deep");
    const items = [];
    while (items.length < count) items.push(this.value(depth + 1));
    return items;
  }

  map(count, depth) {
    demand(depth < DEPTH_MAX, "encoding", "too deep");
    const entries = new Map();
    for (let index = 0; index < count; index += 1) {
      const key = this.value(depth + 1);
      demand(typeof key === "string", "encoding", "a key that is no string");
      entries.set(key, this.value(depth + 1));
    }
    return entries;
  }

  // `depth` counts the lists and maps around this value.
  value(depth) {
    const [byte] = this.take(1);
    if (byte < 0x80) return BigInt(byte);
    if (byte < 0x90) return this.map(byte - 0x80, depth);
    if (byte < 0xa0) return this.list(byte - 0x90, depth);
    if (byte < 0xc0) return this.string(byte - 0xa0);
    if (byte >= 0xe0) return BigInt(byte) - 256n;
    const length = (size) => Number(this.unsigned(size));
    switch (byte) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return Buffer.from(this.take(length(1 << (byte - 0xc4))));
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return this.unsigned(1 << (byte - 0xcc));
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return this.signed(1 << (byte - 0xd0));
      case 0xd9: case 0xda: case 0xdb: return this.string(length(1 << (byte - 0xd9)));
      case 0xdc: case 0xdd: return this.list(length(2 << (byte - 0xdc)), depth);
      case 0xde: case 0xdf: return this.map(length(2 << (byte - 0xde)), depth);
      default: throw new Refusal("encoding", "a type that is not used");
    }
  }
}

export function decode(data, sizeMax = SIZE_MAX) {
  demand(data.length <= sizeMax, "size");
  const reader = new Reader(data);
  const value = reader.value(0);
  // Long forms, keys out of order or twice and bytes left over all differ from what would have been written.
  demand(Buffer.compare(pack(value), data) === 0, "encoding", "another encoding of the same value");
  return value;
}

export const operations = {
  encode: ({ value }) => encode(value),
  decode: ({ data }) => decode(data),
};
