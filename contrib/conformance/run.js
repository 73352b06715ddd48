// Holds this reader against the vectors: `node run.js [DIRECTORY]`. One JSON line a file; exit 1 if anything differs.

import { readFileSync, readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { decode as decodeWithPackage } from "@msgpack/msgpack";
import { operations as audits } from "./audits.js";
import { operations as award } from "./award.js";
import { operations as capability } from "./capability.js";
import { operations as encoding } from "./encoding.js";
import { messageOperations as messages, operations as envelope } from "./envelope.js";
import { operations as evidence } from "./evidence.js";
import { operations as faults } from "./faults.js";
import { operations as generators } from "./generators.js";
import { operations as identity } from "./identity.js";
import { operations as ledger } from "./ledger.js";
import { operations as network } from "./network.js";
import { operations as plans } from "./plans.js";
import { operations as receipts } from "./receipt.js";
import { Refusal } from "./refusal.js";
import { operations as vote } from "./vote.js";

const VECTORS = process.argv[2] ? pathToFileURL(`${process.argv[2]}/`) : new URL("../../specs/vectors/", import.meta.url);
const SUBJECTS = { audits, award, capability, encoding, envelope, evidence, faults, generators, identity, ledger, messages, network, planned: receipts, planned_lies: receipts, plans, receipts, lies: receipts, vote };
// What the package gives back changed or not at all, though it is MessagePack.
const NOT_OF_THE_PACKAGE = ["a long string after a byte order mark", "a key with another meaning elsewhere"];

// A value of the vectors' JSON (specs/00-conventions.md) as this reader holds it.
function value(json, shared) {
  if (typeof json === "number") return BigInt(json);
  if (Array.isArray(json)) return json.map((item) => value(item, shared));
  if (json === null || typeof json !== "object") return json;
  if ("$hex" in json) return Buffer.from(json.$hex, "hex");
  if ("$shared" in json) return Buffer.from(shared[json.$shared], "hex");
  if ("$integer" in json) return BigInt(json.$integer);
  if ("$repeat" in json) {
    return Buffer.concat(json.$repeat.map(([part, times]) => Buffer.from(part.repeat(times), "hex")));
  }
  return new Map(Object.entries(json).map(([key, item]) => [key, value(item, shared)]));
}

// One text for equal values, whatever holds them.
function shown(held) {
  if (held === undefined || held === null) return "null";
  if (typeof held === "bigint" || typeof held === "number" || typeof held === "boolean") return String(held);
  if (typeof held === "string") return JSON.stringify(held);
  if (held instanceof Uint8Array) return `<${Buffer.from(held).toString("hex")}>`;
  if (Array.isArray(held)) return `[${held.map(shown).join(",")}]`;
  const entries = held instanceof Map ? [...held] : Object.entries(held);
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${shown(item)}`).sort().join(",")}}`;
}

function result(operation, input, shared) {
  try {
    return `output ${shown(operation(Object.fromEntries(value(input, shared))))}`;
  } catch (error) {
    if (error instanceof Refusal) return `code ${error.code}`;
    throw error;
  }
}

function differences(subject, { cases, shared }) {
  const found = [];
  for (const { operation, name, input, output, code } of cases) {
    const wanted = code === undefined ? `output ${shown(value(output, shared))}` : `code ${code}`;
    const made = SUBJECTS[subject][operation] ? result(SUBJECTS[subject][operation], input, shared) : "no such operation";
    if (made !== wanted) found.push({ operation, name, made: made.slice(0, 400), wanted: wanted.slice(0, 400) });
    if (operation === "encode" && made === wanted && !NOT_OF_THE_PACKAGE.includes(name)) {
      const other = shown(decodeWithPackage(value(output), { useBigInt64: true }));
      if (other !== shown(value(input.value))) found.push({ operation: "package", name, made: other.slice(0, 400) });
    }
  }
  return found;
}

let failed = false;
for (const file of readdirSync(VECTORS).sort()) {
  const subject = file.replace(/\.json$/, "");
  const vectors = JSON.parse(readFileSync(new URL(file, VECTORS), "utf8"));
  const different = SUBJECTS[subject] ? differences(subject, vectors) : [{ name: "no such subject" }];
  failed ||= different.length > 0;
  console.log(JSON.stringify({ file, cases: vectors.cases.length, different }));
}
process.exitCode = failed ? 1 : 0;
