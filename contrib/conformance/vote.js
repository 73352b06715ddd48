// Canonical answers, commitments and the vote, specs/08-execution.md.

import { encode } from "./encoding.js";
import { domain, sha256 } from "./identity.js";
import { limit } from "./tables.js";

const WHITE = "\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
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

const FORMS = { number: (text) => number(withoutDots(strip(text))), list, word, choice };

export function answer({ kind, output }) {
  if (kind === "text") return wholeText(output);
  const place = lower(output).lastIndexOf("answer:");
  if (place < 0) return null;
  const found = FORMS[kind](output.slice(place + "answer:".length));
  return found !== null && BigInt(Buffer.byteLength(found)) <= limit("ANSWER_SIZE_MAX") ? found : null;
}

export function commitment({ network, task, plan, step, number: round, peer, nonce, answer: sealed }) {
  return sha256(domain("tutti/commitment/1"), encode([network, task, plan, step, round, peer, nonce, sealed]));
}

// What these weigh together: of each cluster the heaviest alone.
function together(votes, count) {
  const heaviest = new Map();
  let sum = 0n;
  for (const vote of votes) {
    if (vote.cluster === null) sum += count(vote);
    else if (count(vote) > (heaviest.get(vote.cluster) ?? -1n)) heaviest.set(vote.cluster, count(vote));
  }
  return [...heaviest.values()].reduce((total, each) => total + each, sum);
}

export function tally({ task, votes: heard, silent: unheard }) {
  const [votes, silent] = [heard, unheard].map((rows) => rows.map((row) => Object.fromEntries(row)));
  const cast = votes.filter((vote) => vote.answer !== null);
  const earned = cast.some((vote) => vote.weight > 0n);
  const tie = (text) => sha256(domain("tutti/tie/1"), task, Buffer.from(text));
  const answers = [...new Set(cast.map((vote) => vote.answer))];
  const support = answers.map((text) => {
    const group = cast.filter((vote) => vote.answer === text);
    return [text, together(group, (vote) => (earned ? vote.weight : 1n))];
  });
  support.sort(([first, a], [second, b]) => (a === b ? Buffer.compare(tie(first), tie(second)) : a > b ? -1 : 1));
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

export const operations = { answer, commitment, tally };
