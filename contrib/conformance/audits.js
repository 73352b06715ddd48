// Batches of audits graded again, trust and clusters, specs/06-ledger.md.

import { decode, encode } from "./encoding.js";
import { inputHash } from "./award.js";
import { checkBodyOf, read } from "./envelope.js";
import { SKILLS, generate } from "./generators.js";
import { merkleRoot, readEntry } from "./ledger.js";
import { demand } from "./refusal.js";
import { checkBody, limit, sectionFields } from "./tables.js";
import { commitment, isCanonical } from "./vote.js";

// The rule of an exercise's name is that of 10-network.md; every other one stands in the table.
const isExercise = (value) => typeof value === "string" && /^[a-z][a-z0-9_-]{0,31}\/[a-z][a-z0-9_-]{0,31}$/.test(value);
const LEAF = sectionFields("06-ledger.md", "Batches", { "<skill>/<family>": isExercise });

const holds = (truth, what) => demand(truth, "opening", what);

function opened(data, network, type) {
  const envelope = read(data);
  holds(envelope.network.equals(network) && envelope.type === type, type);
  checkBodyOf(type, envelope.body);
  return { ...envelope, ...Object.fromEntries(envelope.body), kind: envelope.type, recipient: envelope.to };
}

function parse(data) {
  const found = decode(data);
  holds(Array.isArray(found) && found.length === 2 && found[0] instanceof Map && Array.isArray(found[1]), "leaf and rounds");
  const [leaf, rounds] = found;
  holds(BigInt(rounds.length) <= limit("ROUNDS_MAX"), "rounds");
  checkBody(LEAF, leaf);
  holds(rounds.every((round) => Array.isArray(round) && round.length === 2 && Buffer.isBuffer(round[0])
    && Array.isArray(round[1]) && round[1].every(Buffer.isBuffer)), "round");
  return { leaf, rounds };
}

const isOfTask = (message, task) => message.task.equals(task) && message.plan === 0n && message.step === 0n;

function grade({ leaf, rounds }, audits, answer) {
  const verdicts = new Map();
  const task = leaf.get("task");
  let last = -1n;
  for (const [data, reveals] of rounds) {
    const set = opened(data, audits.network, "commit_set");
    holds(set.sender.equals(audits.author) && isOfTask(set, task) && set.round > last, "commit set");
    last = set.round;
    const openings = reveals.map((reveal) => opened(reveal, audits.network, "reveal"));
    const isComplete = openings.length === set.members.length
      && openings.every(({ sender }, place) => sender.equals(set.members[place][0]));
    demand(isComplete, "unanswered");
    openings.forEach((reveal, place) => {
      const [peer, sealed] = set.members[place];
      const made = commitment({
        network: audits.network, task, plan: 0n, step: 0n, number: set.round, peer, nonce: reveal.nonce, answer: reveal.answer,
      });
      holds(isOfTask(reveal, task) && made.equals(sealed), "opening");
      holds(Buffer.isBuffer(reveal.recipient) && reveal.recipient.equals(audits.author), "recipient");
      holds(reveal.issued_ms + limit("CLOCK_SKEW_MS_MAX") >= audits.wall_ms, "date");
      const key = peer.toString("hex");
      holds(!verdicts.has(key), "twice");
      const said = reveal.answer !== null && isCanonical(answer, reveal.answer) ? reveal.answer : null;
      verdicts.set(key, said === null ? "abstained" : said === leaf.get("gold") ? "hit" : "miss");
    });
  }
  demand(verdicts.size > 0, "unanswered");
  return verdicts;
}

function regrade({ audits: first, opening: second, parameters }) {
  const [audits, opening] = [readEntry(first), readEntry(second)];
  holds(audits.kind === "audits" && opening.kind === "opening", "kinds");
  holds(audits.author.equals(opening.author) && opening.number > audits.number, "order");
  const leaves = opening.body.get("leaves");
  holds(BigInt(leaves.length) <= limit("AUDIT_BATCH_MAX"), "too many");
  const batch = leaves.map(parse);
  const root = audits.body.get("root");
  holds(BigInt(batch.length) === audits.body.get("count") && root.equals(opening.body.get("root")), "count or root");
  holds(merkleRoot(batch.map(({ leaf }) => encode(leaf))).equals(root), "leaves");
  holds(new Set(batch.map(({ leaf }) => leaf.get("task").toString("hex"))).size === batch.length, "tasks");
  const graded = [];
  for (const audit of batch) {
    const { exercise, difficulty, seed, gold, nonce, revision, skill, input_hash: bound } = Object.fromEntries(audit.leaf);
    const rule = parameters.get("skills").get(skill);
    demand(revision === parameters.get("revision") && rule && rule.get("exercises").includes(exercise), "revision");
    const [of, family] = exercise.split("/");
    demand(SKILLS.get(of)?.families.has(family), "revision", "an exercise that this reader knows");
    const made = generate({ skill: of, family, difficulty, seed });
    holds(gold === made.gold, "gold");
    const answer = rule.get("answer");
    const asked = { nonce, question: made.text, answer, tokens_max: rule.get("tokens_max") };
    holds(inputHash(asked).equals(bound), "question");
    for (const [peer, verdict] of [...grade(audit, audits, answer)].sort(([a], [b]) => (a < b ? -1 : 1))) {
      graded.push([Buffer.from(peer, "hex"), skill, verdict]);
    }
  }
  return graded;
}

const power = (base, exponent) => base ** BigInt(exponent);

function choose(n, k) {
  let ways = 1n;
  for (let i = 1n; i <= k; i += 1n) ways = (ways * (n - i + 1n)) / i;
  return ways;
}

function bound({ agreed, judged }) {
  const [most, one] = [limit("TRUST_PAIRS_MAX"), limit("TRUST_ONE")];
  if (judged > most) return bound({ agreed: (agreed * most) / judged, judged: most });
  if (agreed === 0n) return 0n;
  const fits = (t) => {
    let sum = 0n;
    for (let i = agreed; i <= judged; i += 1n) sum += choose(judged, i) * t ** i * (one - t) ** (judged - i);
    return limit("TRUST_RISK") * sum <= one ** judged;
  };
  let t = 0n;
  while (t + 1n <= one && fits(t + 1n)) t += 1n;
  return t;
}

// The coefficients of the product of (c - 1 + x)^n over the pairs [c, n], from x^0 on.
function coefficients(trials) {
  let found = [1n];
  for (const [c, n] of trials) {
    for (let step = 0; step < n; step += 1) {
      found = [...found, 0n].map((ways, place) => ways * (c - 1n) + (place ? found[place - 1] : 0n));
    }
  }
  return found;
}

function clusters({ records }) {
  const peers = new Map();
  for (const record of records.map((row) => Object.fromEntries(row))) {
    const key = record.peer.toString("hex");
    peers.set(key, (peers.get(key) ?? new Map()).set(record.audit.toString("hex"), record));
  }
  const keys = [...peers.keys()].sort();
  const pairs = keys.flatMap((one, place) => keys.slice(place + 1).map((other) => [one, other]));
  const shared = ([one, other]) => [...peers.get(one).keys()].filter((audit) => peers.get(other).has(audit));
  const wrong = (peer, audit) => peers.get(peer).get(audit).wrong;
  const bothWrong = (pair) => shared(pair).filter((audit) => pair.every((peer) => wrong(peer, audit) !== null));
  const counted = pairs.filter((pair) => bothWrong(pair).length);
  const doubt = BigInt(counted.length) * limit("CLUSTER_DOUBT");
  const tail = (trials, s) => coefficients(trials).slice(s).reduce((sum, ways) => sum + ways, 0n);
  const isJoined = (pair) => {
    const [one, other] = pair;
    const both = bothWrong(pair);
    const s = both.filter((audit) => wrong(one, audit).equals(wrong(other, audit))).length;
    const trials = new Map();
    for (const audit of both) {
      const c = peers.get(one).get(audit).chance;
      trials.set(c, (trials.get(c) ?? 0) + 1);
    }
    const product = [...trials].reduce((total, [c, n]) => total * power(c, n), 1n);
    if (tail([...trials], s) * doubt <= product) return true;
    const u = shared(pair).filter((audit) => wrong(one, audit) !== null || wrong(other, audit) !== null).length;
    return tail([[2n, u]], s) * doubt <= power(2n, u);
  };
  const group = new Map(keys.map((key) => [key, key]));
  for (const [one, other] of counted.filter(isJoined)) {
    const [keep, drop] = [group.get(one), group.get(other)].sort();
    for (const key of keys) if (group.get(key) === drop) group.set(key, keep);
  }
  const leaders = keys.filter((key) => group.get(key) === key && keys.filter((other) => group.get(other) === key).length > 1);
  return keys.filter((key) => leaders.includes(group.get(key)))
    .map((key) => [Buffer.from(key, "hex"), BigInt(leaders.indexOf(group.get(key)))]);
}

export const operations = { regrade, bound, clusters };
