// Capability records and the directory's keys, specs/05-capability.md.

import { encode } from "./encoding.js";
import { checkTimes, read } from "./envelope.js";
import { domain, peerId, sha256 } from "./identity.js";
import { demand } from "./refusal.js";
import { checkBody, limit, messageFields } from "./tables.js";

const FIELDS = messageFields("05-capability.md", "record");
const CLAIMS = ["context", "model", "parameters", "quantisation", "skills", "slots", "weights_hash"];

const recordKey = (peer) => Buffer.from(`/record/${peerId(peer)}`, "ascii");

function record({ body }) {
  checkBody(FIELDS, body);
  const skills = [...new Set([...body.get("skills").keys(), "general", "arith"])];
  const offers = (skill) => body.get("available") && (skill === "general" || body.get("skills").has(skill));
  const byBytes = (first, second) => Buffer.compare(Buffer.from(first), Buffer.from(second));
  const claims = new Map(CLAIMS.map((name) => [name, body.get(name)]));
  return { offers: skills.filter(offers).sort(byBytes), vector: sha256(domain("tutti/vector/1"), encode(claims)) };
}

function directoryValue({ key, data, network, wall_ms: wall }) {
  demand(BigInt(data.length) <= limit("DIRECTORY_VALUE_SIZE_MAX"), "size");
  const found = read(data);
  demand(found.network.equals(network), "network");
  demand(found.to === "records", "recipient");
  demand(found.type === "record", "type");
  demand(key.equals(recordKey(found.sender)), "recipient");
  checkTimes(found, wall);
  checkBody(FIELDS, found.body);
  return { sender: found.sender, sequence: found.body.get("sequence") };
}

export const operations = {
  record,
  skill_key: ({ network, skill }) =>
    Buffer.concat([Buffer.from("1220", "hex"), sha256(domain("tutti/skill/1"), network, Buffer.from(skill))]),
  record_key: ({ peer }) => recordKey(peer),
  directory_value: directoryValue,
};
