// The tables of the specs: limits and the fields of messages are read from the documents themselves and not written down again.

import { readFileSync } from "node:fs";
import { Refusal, demand } from "./refusal.js";

const SPECS = new URL("../../specs/", import.meta.url);

export function document(name) {
  return readFileSync(new URL(name, SPECS), "utf8");
}

// Each table as rows of cells, the header first, with the title that it stands under.
function* tables(text) {
  let title = "";
  let rows = [];
  for (const line of [...text.split("\n"), ""]) {
    if (line.startsWith("#")) title = line.replace(/^#+ /, "");
    if (line.startsWith("|")) {
      const cells = line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replace(/^`|`$/g, ""));
      if (!/^-+$/.test(cells.join(""))) rows.push(cells);
    } else if (rows.length) {
      yield { title, header: rows[0].join(", "), rows: rows.slice(1) };
      rows = [];
    }
  }
}

export function table(name, header, title) {
  const found = [...tables(document(name))].filter((each) => each.header === header && (!title || title(each.title)));
  if (found.length !== 1) throw new Error(`${name}: ${found.length} tables ${header}`);
  return found[0].rows;
}

// The lines of the blocks that begin with ```kind, each with the lines below it that are indented further.
export function outline(name, kind) {
  const top = [];
  for (const [, lines] of document(name).matchAll(new RegExp(`^\`\`\`${kind}\n(.*?)\n\`\`\`$`, "gms"))) {
    const path = [{ below: top }];
    for (const line of lines.split("\n")) {
      const item = { text: line.trim(), below: [] };
      path.splice(line.search(/\S/) / 2 + 1);
      path.at(-1).below.push(item);
      path.push(item);
    }
  }
  return top;
}

const limits = new Map(table("00-conventions.md", "name, value, unit, reason").map(([name, value]) => [name, BigInt(value)]));

export function limit(name) {
  const value = limits.get(name);
  if (value === undefined) throw new Error(`no limit ${name} in 00-conventions.md`);
  return value;
}

const isInteger = (value) => typeof value === "bigint";
const isWithin = (size, low, high) => size >= low && size <= high;
const number = (text) =>
  text.split(" - ").map((part) => (/^\d+$/.test(part) ? BigInt(part) : limit(part))).reduce((first, second) => first - second);

// The forms of the rule column (specs/00-conventions.md), each with what makes a check of it.
const FORMS = [
  [/^(.+) or null$/, (inner) => {
    const holds = rule(inner);
    return (value) => value === null || holds(value);
  }],
  [/^(\S+) bytes$/, (size) => (value) => Buffer.isBuffer(value) && BigInt(value.length) === number(size)],
  [/^bytes (.+)\.\.(.+)$/, (low, high) => (value) =>
    Buffer.isBuffer(value) && isWithin(BigInt(value.length), number(low), number(high))],
  [/^integer (.+)\.\.(.+)$/, (low, high) => (value) => isInteger(value) && isWithin(value, number(low), number(high))],
  [/^string (.+)\.\.(.+)$/, (low, high) => (value) =>
    typeof value === "string" && isWithin(BigInt(Buffer.byteLength(value)), number(low), number(high))],
  [/^boolean$/, () => (value) => typeof value === "boolean"],
  [/^one of (.+)$/, (choices) => (value) => choices.split(", ").includes(value)],
  [/^list of at most (\S+) of (.+)$/, (count, inner) => {
    const holds = rule(inner);
    return (value) => Array.isArray(value) && BigInt(value.length) <= number(count) && value.every(holds);
  }],
  [/^map of at most (\S+) from (.+) to (.+)$/, (count, key, item) => {
    const [keyHolds, itemHolds] = [rule(key), rule(item)];
    return (value) => value instanceof Map && BigInt(value.size) <= number(count)
      && [...value].every(([name, each]) => keyHolds(name) && itemHolds(each));
  }],
  [/^\[(.+)\]$/, (inner) => {
    const rules = inner.split(", ").map(rule);
    return (value) => Array.isArray(value) && value.length === rules.length && rules.every((holds, place) => holds(value[place]));
  }],
];

function rule(text) {
  for (const [form, make] of FORMS) {
    const match = form.exec(text);
    if (match) return make(...match.slice(1));
  }
  throw new Error(`no rule: ${text}`);
}

// `named` has the checks of rules that are given in words.
const fieldsOf = (rows, named = {}) => new Map(rows.map(([name, text]) => [name, named[text] ?? rule(text)]));

// The fields of a type of message: those of its own section, and for a message of a task the three that all of them have.
export function messageFields(name, type, common) {
  const own = table(name, "field, rule, meaning", (title) => /^Messages? /.test(title) && title.includes(`\`${type}\``));
  const shared = common ? table(common, "field, rule, meaning", (title) => title === "Messages") : [];
  return fieldsOf([...shared, ...own]);
}

export function sectionFields(name, title, named) {
  return fieldsOf(table(name, "field, rule, meaning", (each) => each === title), named);
}

export function kindFields(name) {
  const kinds = new Map();
  for (const [kind, field, text] of table(name, "kind, field, rule, meaning")) {
    kinds.set(kind, [...(kinds.get(kind) ?? []), [field, text]]);
  }
  return new Map([...kinds].map(([kind, rows]) => [kind, fieldsOf(rows)]));
}

export function typesOfMessages() {
  const rows = table("03-envelope.md", "type, to, document");
  return new Map(rows.flatMap(([types, to, name]) => types.match(/\w+/g).map((type) => [type, { to, name }])));
}

// What follows from each state of a seat by each event: 08-execution.md.
export function seatTable() {
  const { header, rows } = [...tables(document("08-execution.md"))].find((each) => each.header.startsWith("state, "));
  const events = header.split(", ").slice(1);
  return new Map(rows.map(([state, ...cells]) => [state, new Map(events.map((event, place) => [event, cells[place]]))]));
}

// K of a skill of the presets, undefined for another: 05-capability.md.
export function skillOptions(skill) {
  const row = table("05-capability.md", "skill, answer, K, tokens_max").find(([name]) => name === skill);
  return row && BigInt(row[2]);
}

// The revision of the presets' parameters.
export const presetRevision = () => BigInt(/networks `dev` and `local`, revision (\d+)/.exec(document("05-capability.md"))[1]);

// A body has exactly the fields of its type, each by its rule.
export function checkBody(fields, body) {
  demand(body instanceof Map && body.size === fields.size && [...fields.keys()].every((name) => body.has(name)), "fields");
  for (const [name, holds] of fields) {
    if (!holds(body.get(name))) throw new Refusal("field", name);
  }
}
