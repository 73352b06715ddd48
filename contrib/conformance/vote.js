// Canonical answers, commitments and the vote, specs/08-execution.md.

import { encode } from "./encoding.js";
import { domain, sha256 } from "./identity.js";
import { canonicalPlan } from "./plans.js";
import { limit } from "./tables.js";
import { WHITE } from "./text.js";

const QUOTES = "\\u0022\\u0027\\u0060\\u2018\\u2019\\u201c\\u201d";
const ENDS = new RegExp(`^[${WHITE}]+|[${WHITE}]+$`, "gu");
const QUOTED = new RegExp(`^[${QUOTES}]+|[${QUOTES}]+$`, "gu");
const ITEMS = new RegExp(`[^${WHITE},;]+`, "gu");
const NUMBER = /^([+-]?)([0-9]{1,64})(?:\.([0-9]{1,64}))?$/u;
const PART = `(?:[A-Za-z0-9]|(?![${WHITE}${QUOTES}])[\\u{c0}-\\u{10ffff}])+`;
const WORD = new RegExp(`^${PART}(?:-${PART})*$`, "u");

const strip = (text) => text.replace(ENDS, "");
const withoutDots = (text) => text.replace(/\.+$/u, "");
const lower = (text) => text.replace(/[A-Z]/gu, (letter) => letter.toLowerCase());

function number(text) {
  const match = NUMBER.exec(text);
  if (!match) return null;
  const whole = match[2].replace(/^0+(?=.)/u, "");
  const fraction = (match[3] ?? "").replace(/0+$/u, "");
  const value = fraction ? `${whole}.${fraction}` : whole;
  return match[1] === "-" && value !== "0" ? `-${value}` : value;
}

function list(text) {
  const bare = withoutDots(strip(text));
  const inner = /^(\[.*\]|\(.*\))$/su.test(bare) ? bare.slice(1, -1) : bare;
  const items = (inner.match(ITEMS) ?? []).map(number);
  return items.length && !items.includes(null) ? items.join(" ") : null;
}

function word(text) {
  const bare = withoutDots(withoutDots(strip(text.normalize("NFC"))).replace(QUOTED, ""));
  return WORD.test(bare) ? bare : null;
}

function choice(text) {
  const found = word(text);
  return found !== null && /^[\u0000-\u007f]*$/u.test(found) ? lower(found) : null;
}

function wholeText(output) {
  const bytes = Buffer.from(output);
  let first = Math.max(0, bytes.length - Number(limit("TEXT_SIZE_MAX")));
  while (first > 0 && first < bytes.length && (bytes[first] & 0xc0) === 0x80) first += 1;
  return strip(bytes.subarray(first).toString()) || null;
}

const FORMS = { number: (text) => number(withoutDots(strip(text))), list, word, choice, plan: canonicalPlan };

export function answer({ kind, output }) {
  if (kind === "text") return wholeText(output);
  const place = lower(output).lastIndexOf("answer:");
  if (place < 0) return null;
  const found = FORMS[kind](output.slice(place + "answer:".length));
  return found !== null && BigInt(Buffer.byteLength(found)) <= limit("ANSWER_SIZE_MAX") ? found : null;
}

// An answer that is the canonical form of itself.
export function isCanonical(kind, text) {
  if (kind === "text") return wholeText(text) === text;
  return FORMS[kind](text) === text && BigInt(Buffer.byteLength(text)) <= limit("ANSWER_SIZE_MAX");
}

export function commitment({ network, task, plan, step, number: round, peer, nonce, answer: sealed }) {
  return sha256(domain("tutti/commitment/1"), encode([network, task, plan, step, round, peer, nonce, sealed]));
}

// What these weigh together: of each cluster the heaviest alone.
export function together(votes, count) {
  const heaviest = new Map();
  let sum = 0n;
  for (const vote of votes) {
    if (vote.cluster === null) sum += count(vote);
    else if (count(vote) > (heaviest.get(vote.cluster) ?? -1n)) heaviest.set(vote.cluster, count(vote));
  }
  return [...heaviest.values()].reduce((total, each) => total + each, sum);
}

const asVotes = (rows) => rows.map((row) => Object.fromEntries(row));
export const tie = (task, text) => sha256(domain("tutti/tie/1"), task, Buffer.from(text));
const isEarned = (votes) => votes.some((vote) => vote.answer !== null && vote.weight > 0n);

// Answers with what supports them, the first one first.
function supported(task, votes, count) {
  const cast = votes.filter((vote) => vote.answer !== null);
  const answers = [...new Set(cast.map((vote) => vote.answer))];
  const support = answers.map((text) => [text, together(cast.filter((vote) => vote.answer === text), count)]);
  return support.sort(([first, a], [second, b]) => (a === b ? Buffer.compare(tie(task, first), tie(task, second)) : a > b ? -1 : 1));
}

export function tallyOf(task, votes, silent) {
  const cast = votes.filter((vote) => vote.answer !== null);
  const earned = isEarned(votes);
  const support = supported(task, votes, (vote) => (earned ? vote.weight : 1n));
  const total = support.reduce((sum, [, each]) => sum + each, 0n);
  const asked = [...votes, ...silent];
  const weighs = asked.some((vote) => vote.weight > 0n) ? (vote) => vote.weight : () => 1n;
  const askedFor = together(asked, weighs);
  return {
    answer: support.length ? support[0][0] : null,
    earned,
    margin: support.length ? (1000n * (support[0][1] - (support[1]?.[1] ?? 0n))) / total : 0n,
    support,
    dissent: BigInt(cast.filter((vote) => vote.answer !== support[0][0]).length),
    abstained: BigInt(votes.length - cast.length),
    coverage: askedFor ? (1000n * together(cast, weighs)) / askedFor : 0n,
  };
}

export function isDecided(task, votes, owed) {
  if (!owed.length) return true;
  if (!votes.some((vote) => vote.answer !== null)) return false;
  const earned = isEarned(votes);
  if (!earned && owed.some((vote) => vote.weight > 0n)) return false;
  const count = (vote) => (earned ? vote.weight : 1n);
  const [[first, lead], ...others] = supported(task, votes, count);
  if (together(owed, count) >= lead) return false;
  return others.every(([other]) => {
    const most = together([...owed, ...votes.filter((vote) => vote.answer === other)], count);
    return most < lead || (most === lead && Buffer.compare(tie(task, first), tie(task, other)) < 0);
  });
}

export function aloneAmong(committee, means) {
  if (committee.length < 2) return null;
  const best = committee.reduce((place, vote, other) => (vote.weight > committee[place].weight ? other : place), 0);
  const others = committee.filter((_, place) => place !== best);
  const { weight } = committee[best];
  const isReliable = means[best] >= limit("GATE_MEAN") && others.every((vote) => weight > vote.weight);
  return weight > together(others, (vote) => vote.weight) || isReliable ? best : null;
}

export function isChecked(acknowledgements) {
  const drawn = sha256(domain("tutti/gate/1"), ...acknowledgements.map((data) => data.subarray(0, 64)));
  return drawn.readBigUInt64BE() % limit("GATE_CHECK") === 0n;
}

export const operations = {
  answer,
  commitment,
  tally: ({ task, votes, silent }) => tallyOf(task, asVotes(votes), asVotes(silent)),
  decided: ({ task, votes, owed }) => isDecided(task, asVotes(votes), asVotes(owed)),
  alone: ({ committee, means }) => aloneAmong(asVotes(committee), means),
  is_checked: ({ acknowledgements }) => isChecked(acknowledgements),
};
