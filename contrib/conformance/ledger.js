// Entries, chains and Merkle trees, specs/06-ledger.md.

import { decode, encode } from "./encoding.js";
import { checkKey, domain, sha256, sign, verify } from "./identity.js";
import { demand } from "./refusal.js";
import { checkBody, kindFields, limit, sectionFields } from "./tables.js";

const DOMAIN = domain("tutti/entry/1");
const FIELDS = ["author", "body", "kind", "network", "number", "previous", "wall_ms"];
const KINDS = kindFields("06-ledger.md");

const is32 = (value) => Buffer.isBuffer(value) && value.length === 32;
const isCount = (value) => typeof value === "bigint" && value >= 0n && value <= 1n << 53n;

export function readEntry(data) {
  demand(data.length > 64 && BigInt(data.length) <= limit("ENTRY_SIZE_MAX"), "size");
  const payload = data.subarray(64);
  const fields = decode(payload);
  demand(fields instanceof Map && fields.size === FIELDS.length && FIELDS.every((name) => fields.has(name)), "entry");
  const entry = Object.fromEntries(fields);
  demand([entry.author, entry.network, entry.previous].every(is32), "entry");
  demand(isCount(entry.number) && isCount(entry.wall_ms), "entry");
  demand(KINDS.has(entry.kind) && entry.body instanceof Map, "entry");
  checkBody(KINDS.get(entry.kind), entry.body);
  const signed = Buffer.concat([DOMAIN, payload]);
  verify(entry.author, signed, data.subarray(0, 64));
  return { ...entry, id: sha256(signed) };
}

function checkKind({ number, kind }) {
  demand((number === 0n) === (kind === "start"), "chain");
  demand((number > 0n && number % limit("SNAPSHOT_EVERY") === 0n) === (kind === "snapshot"), "chain");
}

// A snapshot with nothing before it: its own words, but for entry 0, which has a signature of its own.
function beginAt(snapshot) {
  const start = readEntry(snapshot.body.get("start"));
  demand(start.kind === "start" && start.author.equals(snapshot.author) && start.network.equals(snapshot.network), "chain");
  const counted = [...snapshot.body.get("counts").values()].reduce((sum, count) => sum + count, 0n);
  demand(counted === snapshot.number, "chain");
}

function chain({ entries }) {
  let last = null;
  for (const data of entries) {
    const entry = readEntry(data);
    checkKind(entry);
    if (last) {
      demand(entry.author.equals(last.author) && entry.network.equals(last.network), "chain");
      demand(entry.number === last.number + 1n && entry.previous.equals(last.id), "chain");
      demand(entry.wall_ms >= last.wall_ms, "chain");
    } else if (entry.kind === "snapshot") {
      beginAt(entry);
    } else {
      demand(entry.number === 0n && entry.previous.equals(Buffer.alloc(32)), "chain");
    }
    last = entry;
  }
  return { number: last.number, id: last.id };
}

const leafHash = (leaf) => sha256(domain("tutti/leaf/1"), leaf);
const nodeHash = (left, right) => sha256(domain("tutti/node/1"), left, right);

function split(count) {
  let k = 1;
  while (2 * k < count) k *= 2;
  return k;
}

export function merkleRoot(leaves) {
  if (leaves.length === 1) return leafHash(leaves[0]);
  const k = split(leaves.length);
  return nodeHash(merkleRoot(leaves.slice(0, k)), merkleRoot(leaves.slice(k)));
}

// The root that the hashes beside the way of leaf `index` of `count` lead to, the lowest of them first.
function rootBy(leaf, index, count, path) {
  if (count === 1) {
    demand(path.length === 0, "merkle");
    return leafHash(leaf);
  }
  demand(path.length > 0, "merkle");
  const [below, beside] = [path.slice(0, -1), path[path.length - 1]];
  const k = split(count);
  return index < k ? nodeHash(rootBy(leaf, index, k, below), beside) : nodeHash(beside, rootBy(leaf, index - k, count - k, below));
}

function merklePath({ root, leaf, index, count, path }) {
  demand(index >= 0n && index < count, "merkle");
  demand(rootBy(leaf, Number(index), Number(count), path).equals(root), "merkle");
  return null;
}

const recoveryHash = (key) => sha256(domain("tutti/recovery/1"), key);
const STATEMENT = sectionFields("06-ledger.md", "Succession");

function succession({ data }) {
  const fields = decode(data);
  demand(fields instanceof Map, "succession");
  checkBody(STATEMENT, fields);
  const { network, new: next, old, recovery } = Object.fromEntries(fields);
  demand(!next.equals(old) && !next.equals(recovery) && !old.equals(recovery), "succession");
  checkKey(old);
  const said = encode(new Map(Object.entries({ network, new: next, old, recovery })));
  const signed = Buffer.concat([domain("tutti/succession/1"), said]);
  verify(next, signed, fields.get("by_new"));
  verify(recovery, signed, fields.get("by_recovery"));
  if (fields.get("by_old").length) verify(old, signed, fields.get("by_old"));
  return { network, old, new: next, recovery: recoveryHash(recovery) };
}

export const operations = {
  sign_entry: ({ seed, fields }) => {
    const payload = encode(fields);
    return Buffer.concat([sign(seed, Buffer.concat([DOMAIN, payload])), payload]);
  },
  entry: ({ data }) => readEntry(data),
  chain,
  recovery: ({ public_key: key }) => recoveryHash(key),
  succession,
  merkle_root: ({ leaves }) => merkleRoot(leaves),
  merkle_path: merklePath,
};
