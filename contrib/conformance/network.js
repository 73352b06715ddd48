// A network's id and its signed parameters, specs/10-network.md.

import { encode } from "./encoding.js";
import { SKILLS } from "./generators.js";
import { domain, keyOf, sha256, verify } from "./identity.js";
import { Refusal, demand } from "./refusal.js";
import { limit } from "./tables.js";

const ANSWERS = ["number", "list", "word", "choice", "plan", "text"];
const NAME = /^[a-z][a-z0-9_-]{0,31}$/;
const EXERCISE = /^[a-z][a-z0-9_-]{0,31}\/[a-z][a-z0-9_-]{0,31}$/;

const field = (holds, name) => demand(holds, "field", name);
const isWithin = (value, low, high) => typeof value === "bigint" && value >= low && value <= high;

function networkId({ name, founder, nonce }) {
  const size = Number(limit("NETWORK_NAME_SIZE_MAX"));
  field(typeof name === "string" && name.length <= size && /^[a-z0-9][a-z0-9-]*$/.test(name) && !name.endsWith("\n"), "name");
  field(Buffer.isBuffer(founder) && founder.length === 32, "founder");
  field(Buffer.isBuffer(nonce) && nonce.length === 16, "nonce");
  return sha256(domain("tutti/network/1"), encode(new Map(Object.entries({ founder, name, nonce }))));
}

function exactly(map, names, code) {
  demand(map instanceof Map && map.size === names.length && names.every((name) => map.has(name)), code);
  return names.map((name) => map.get(name));
}

function checkSkill(name, skill) {
  field(NAME.test(name) && name !== "general", "a skill's name");
  const names = ["answer", "options", "tokens_max", "examples", "exercises"];
  const [answer, options, tokens, examples, exercises] = exactly(skill, names, "field");
  field(ANSWERS.includes(answer), "answer");
  field(isWithin(options, 2n, limit("OPTIONS_MAX")) && isWithin(tokens, 1n, limit("TOKENS_MAX")), "options or tokens_max");
  const size = (text) => BigInt(Buffer.byteLength(text));
  field(Array.isArray(examples) && BigInt(examples.length) <= limit("EXAMPLES_MAX"), "examples");
  field(examples.every((text) => typeof text === "string" && isWithin(size(text), 1n, limit("EXAMPLE_SIZE_MAX"))), "examples");
  field(Array.isArray(exercises) && BigInt(exercises.length) <= limit("EXERCISES_MAX"), "exercises");
  field(exercises.every((text) => typeof text === "string" && EXERCISE.test(text)), "exercises");
  for (const text of exercises) {
    const [of, family] = text.split("/");
    const known = SKILLS.get(of);
    if (!known?.families.has(family)) continue;
    field(answer === known.answer || (answer === "number" && known.families.get(family)), "an exercise of another answer");
  }
}

function checkAuditors(peers) {
  field(Array.isArray(peers) && peers.length > 0 && BigInt(peers.length) <= limit("AUDITORS_MAX"), "auditors");
  field(peers.every((peer) => typeof peer === "string"), "auditors");
  const keys = peers.map(keyOf);
  field(keys.every((key, place) => place === 0 || Buffer.compare(keys[place - 1], key) < 0), "auditors");
}

function parameters({ genesis, body, signature }) {
  const network = networkId(Object.fromEntries(genesis));
  const { auditors, ...rest } = Object.fromEntries(body);
  const [revision, similarity, skills] = exactly(new Map(Object.entries(rest)), ["revision", "similarity_min", "skills"], "fields");
  if (auditors !== undefined) checkAuditors(auditors);
  field(isWithin(revision, 1n, limit("REVISION_MAX")) && isWithin(similarity, 0n, 1000n), "revision or similarity_min");
  field(skills instanceof Map && BigInt(skills.size) <= limit("RECORD_SKILLS_MAX"), "skills");
  for (const [name, skill] of skills) checkSkill(name, skill);
  const signed = encode(new Map([...body, ["network", network]]));
  if (BigInt(signed.length) > limit("ENVELOPE_SIZE_MAX")) throw new Refusal("field", "too long");
  verify(genesis.get("founder"), Buffer.concat([domain("tutti/parameters/1"), signed]), signature);
  return revision;
}

export const operations = { network: networkId, parameters };
