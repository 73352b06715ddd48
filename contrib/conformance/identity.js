// Keys, strict signatures and peer ids, specs/01-identity.md.

import { createHash, createPrivateKey, createPublicKey, sign as signWith, verify as verifyWith } from "node:crypto";
import { demand } from "./refusal.js";

const P = (1n << 255n) - 19n;
const L = (1n << 252n) + 27742317777372353535851937790883648493n;
const SMALL_ORDER = new Set([
  0n,
  1n,
  P - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]);
const PEER_ID_PREFIX = Buffer.from("002408011220", "hex");
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

export const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
export const domain = (text) => Buffer.from(`${text}\0`, "ascii");

const littleEndian = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);

function hasUsableY(point) {
  const y = littleEndian(point) & ((1n << 255n) - 1n);
  return y < P && !SMALL_ORDER.has(y);
}

export function checkKey(key) {
  demand(key.length === 32, "key");
  demand(hasUsableY(key), "key");
}

const privateKey = (seed) =>
  createPrivateKey({ key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]), format: "der", type: "pkcs8" });

export const publicKey = (seed) => createPublicKey(privateKey(seed)).export({ format: "der", type: "spki" }).subarray(-32);

export const sign = (seed, message) => signWith(null, message, privateKey(seed));

export function verify(key, message, signature) {
  checkKey(key);
  demand(signature.length === 64, "signature");
  demand(littleEndian(signature.subarray(32)) < L, "signature");
  demand(hasUsableY(signature.subarray(0, 32)), "signature");
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), key]);
  let holds = false;
  try {
    holds = verifyWith(null, message, createPublicKey({ key: spki, format: "der", type: "spki" }), signature);
  } catch {
    // A key whose y is no point's: nothing holds under it.
  }
  demand(holds, "signature");
}

export function peerId(key) {
  const bytes = Buffer.concat([PEER_ID_PREFIX, key]);
  let text = "";
  for (let rest = BigInt(`0x${bytes.toString("hex")}`); rest > 0n; rest /= 58n) text = BASE58[Number(rest % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros) + text;
}

export function keyOf(peer) {
  demand(peer !== "" && [...peer].every((letter) => BASE58.includes(letter)), "peer_id");
  const ones = peer.length - peer.replace(/^1+/, "").length;
  const value = [...peer].reduce((sum, letter) => sum * 58n + BigInt(BASE58.indexOf(letter)), 0n);
  const digits = value === 0n ? "" : value.toString(16);
  const bytes = Buffer.concat([Buffer.alloc(ones), Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex")]);
  demand(bytes.length === 38 && bytes.subarray(0, 6).equals(PEER_ID_PREFIX), "peer_id");
  const key = bytes.subarray(6);
  checkKey(key);
  return key;
}

export const operations = {
  key: ({ seed }) => ({ public_key: publicKey(seed), peer_id: peerId(publicKey(seed)) }),
  sign: ({ seed, message }) => sign(seed, message),
  verify: ({ public_key: key, message, signature }) => {
    verify(key, message, signature);
    return null;
  },
  public_key_of: ({ peer }) => keyOf(peer),
};
