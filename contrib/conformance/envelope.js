// The signed envelope and the bodies inside, specs/03-envelope.md.

import { decode, encode } from "./encoding.js";
import { domain, publicKey, sha256, sign, verify } from "./identity.js";
import { Refusal, demand } from "./refusal.js";
import { checkBody, limit, messageFields, typesOfMessages } from "./tables.js";

const DOMAIN = domain("tutti/envelope/1");
const FIELDS = ["body", "expires_ms", "issued_ms", "network", "sender", "to", "type"];
// The topics, and what is addressed to all to whom its sender has a channel.
const TO_ALL = ["beacons", "records", "faults", "heads"];
const TYPES = typesOfMessages();

const is32 = (value) => Buffer.isBuffer(value) && value.length === 32;
const isTime = (value) => typeof value === "bigint" && value >= 0n && value <= 1n << 53n;
const lifetimeMax = (type) => limit(type === "record" ? "RECORD_LIFETIME_MS_MAX" : "LIFETIME_MS_MAX");

export function seal({ seed, network, kind, to, body, issued_ms: issued, expires_ms: expires }) {
  const fields = { body, expires_ms: expires, issued_ms: issued, network, sender: publicKey(seed), to, type: kind };
  const payload = encode(new Map(Object.entries(fields)));
  const signed = Buffer.concat([DOMAIN, payload]);
  return { data: Buffer.concat([sign(seed, signed), payload]), id: sha256(signed) };
}

// Checks 1 to 4: whoever signed this, whenever and for whomever.
export function read(data) {
  demand(data.length > 64, "size");
  const payload = data.subarray(64);
  const fields = decode(payload);
  demand(fields instanceof Map && fields.size === FIELDS.length && FIELDS.every((name) => fields.has(name)), "envelope");
  const found = Object.fromEntries(fields);
  demand(found.body instanceof Map && typeof found.type === "string", "envelope");
  demand(is32(found.network) && is32(found.sender) && (is32(found.to) || typeof found.to === "string"), "envelope");
  demand(isTime(found.issued_ms) && isTime(found.expires_ms) && found.issued_ms < found.expires_ms, "envelope");
  const signed = Buffer.concat([DOMAIN, payload]);
  verify(found.sender, signed, data.subarray(0, 64));
  return { ...found, id: sha256(signed) };
}

// Checks 5 to 9, by a node whose key is `key`.
export function open({ data, network, key, wall_ms: wall }) {
  const found = read(data);
  demand(found.network.equals(network), "network");
  demand(typeof found.to === "string" ? TO_ALL.includes(found.to) : found.to.equals(key), "recipient");
  checkTimes(found, wall);
  return found;
}

export function checkLifetime(found) {
  demand(found.expires_ms - found.issued_ms <= lifetimeMax(found.type), "lifetime");
}

export function checkTimes(found, wall) {
  const skew = limit("CLOCK_SKEW_MS_MAX");
  checkLifetime(found);
  demand(found.issued_ms <= wall + skew, "future");
  demand(found.expires_ms > wall - skew, "expired");
}

// What a field table cannot say of a body, by type.
const FURTHER = {
  fault: (body) => {
    const size = body.get("parts").reduce((sum, part) => sum + BigInt(part.length), 0n);
    demand(size <= limit("FAULT_SIZE_MAX"), "field", "parts");
  },
  commit_set: (body) => {
    const keys = body.get("members").map(([key]) => key);
    demand(keys.every((key, place) => place === 0 || Buffer.compare(keys[place - 1], key) < 0), "field", "members");
  },
};

// The fields of a body by its type, and each by its rule: check 13.
export function checkBodyOf(type, body) {
  const { name } = TYPES.get(type);
  const ofTask = name === "07-beacon.md" || name === "08-execution.md";
  checkBody(messageFields(name, type, ofTask ? "07-beacon.md" : undefined), body);
  FURTHER[type]?.(body);
}

function checkMessage(type, body) {
  if (!TYPES.has(type)) throw new Refusal("type", type);
  checkBodyOf(type, body);
}

export const operations = {
  seal,
  open: (input) => open(input),
};

export const messageOperations = {
  message: ({ kind, body }) => {
    checkMessage(kind, body);
    return null;
  },
};
