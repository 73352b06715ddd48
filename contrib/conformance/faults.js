// Proofs of faults, the catalogue of specs/11-receipt.md.

import { decode, encode } from "./encoding.js";
import { checkBodyOf, read } from "./envelope.js";
import { domain, sha256 } from "./identity.js";
import { merkleRoot, readEntry } from "./ledger.js";
import { demand } from "./refusal.js";
import { checkBody, limit, messageFields } from "./tables.js";
import { commitment } from "./vote.js";

const FIELDS = messageFields("11-receipt.md", "fault");

const same = (first, second) => encode(first).equals(encode(second));
const holds = (truth, what) => demand(truth, "fault", what);

function opened(data, network, type) {
  const envelope = read(data);
  demand(envelope.network.equals(network), "network");
  holds(envelope.type === type, "type");
  checkBodyOf(type, envelope.body);
  return { ...envelope, is: (name, other) => same(envelope.body.get(name), other.body.get(name)) };
}

const isOneStep = (first, second) => ["task", "plan", "step"].every((name) => first.is(name, second));

function signer(...envelopes) {
  holds(envelopes.every((each) => each.sender.equals(envelopes[0].sender)), "signer");
  return envelopes[0].sender;
}

function openedLeaf(data) {
  const shown = decode(data);
  demand(Array.isArray(shown) && shown.length === 2 && shown[0] instanceof Map, "opening", "no opened audit");
  return encode(shown[0]);
}

function audits(entries) {
  const [batch, opening] = [...entries].sort((one, other) => (one.kind < other.kind ? -1 : 1));
  holds(batch.author.equals(opening.author), "author");
  holds(batch.kind === "audits" && opening.kind === "opening" && same(batch.body.get("root"), opening.body.get("root")), "no batch");
  const leaves = opening.body.get("leaves").map(openedLeaf);
  demand(leaves.length > 0, "opening", "no audits");
  holds(!merkleRoot(leaves).equals(batch.body.get("root")), "the root is given");
  return batch.author;
}

function awards([first, second]) {
  holds(isOneStep(first, second) && first.is("beacon", second), "step or beacon");
  const isAnother = !first.is("nonce", second) || !first.is("question", second);
  holds(isAnother || (first.is("bid", second) && !same(first.body, second.body)), "no contradiction");
  return signer(first, second);
}

function commitSets([first, second]) {
  holds(isOneStep(first, second) && first.is("round", second) && !first.is("members", second), "no contradiction");
  return signer(first, second);
}

function opening([commit, reveal], network) {
  holds(isOneStep(commit, reveal) && commit.is("award", reveal) && commit.is("round", reveal), "award or round");
  const author = signer(commit, reveal);
  const field = (name) => reveal.body.get(name);
  const made = commitment({
    network,
    task: field("task"),
    plan: field("plan"),
    step: field("step"),
    number: field("round"),
    peer: author,
    nonce: field("nonce"),
    answer: field("answer"),
  });
  holds(!made.equals(commit.body.get("commitment")), "the commitment is given");
  return author;
}

function bidsIn(view) {
  const fields = decode(view);
  const rows = fields instanceof Map ? fields.get("bids") : undefined;
  holds(Array.isArray(rows) && rows.every((row) => Array.isArray(row) && Buffer.isBuffer(row[0])), "no view");
  return rows.map(([id]) => id);
}

function droppedBid([bid, ack, award, view]) {
  holds(ack.body.get("bid").equals(bid.id) && isOneStep(bid, ack) && isOneStep(bid, award) && bid.is("beacon", award), "together");
  holds(sha256(domain("tutti/view/1"), view).equals(award.body.get("view")), "another view");
  holds(!bidsIn(view).some((id) => id.equals(bid.id)), "the bid is in the view");
  return signer(ack, award);
}

function equivocation([first, second]) {
  holds(first.author.equals(second.author) && first.number === second.number && !first.id.equals(second.id), "no contradiction");
  return first.author;
}

function records([first, second]) {
  holds(first.is("sequence", second) && !same(first.body, second.body), "no contradiction");
  return signer(first, second);
}

const CATALOGUE = {
  audits: { parts: ["entry", "entry"], check: audits },
  awards: { parts: ["award", "award"], check: awards },
  commit_sets: { parts: ["commit_set", "commit_set"], check: commitSets },
  dropped_bid: { parts: ["bid", "bid_ack", "award", "view"], check: droppedBid },
  equivocation: { parts: ["entry", "entry"], check: equivocation },
  opening: { parts: ["commit", "reveal"], check: opening },
  records: { parts: ["record", "record"], check: records },
};

function part(type, data, network) {
  if (type === "view") return data;
  if (type !== "entry") return opened(data, network, type);
  const entry = readEntry(data);
  demand(entry.network.equals(network), "network");
  return entry;
}

export function fault({ network, kind, parts }) {
  checkBody(FIELDS, new Map([["kind", kind], ["parts", parts]]));
  demand(parts.reduce((sum, each) => sum + BigInt(each.length), 0n) <= limit("FAULT_SIZE_MAX"), "field", "too long");
  const { parts: types, check } = CATALOGUE[kind];
  holds(parts.length === types.length, "number of parts");
  holds(types[0] !== types[1] || Buffer.compare(parts[0], parts[1]) < 0, "order of parts");
  return check(types.map((type, place) => part(type, parts[place], network)), network);
}

export const operations = { fault };
