// Exercises and their gold answers, specs/12-generators.md. Words, phrasings, ranges and ways are read from the document.

import { sha256 } from "./identity.js";
import { outline, table } from "./tables.js";

const DOCUMENT = "12-generators.md";
const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"];
const VOWELS = [..."aeiou"];
const CONSONANTS = [..."bcdfghjklmnpqrstvwxyz"];

// By skill: the type of its answers, and its families in order, each with whether its answers are numbers as well.
export const SKILLS = new Map(table(DOCUMENT, "skill, answer, families").map(([skill, answer, cell]) => {
  const families = [...cell.matchAll(/(\w+)`?(\\\*)?/g)].map(([, name, star]) => [name, star !== undefined]);
  return [skill, { answer, families: new Map(families) }];
}));

// What stands under each name of a block: lines, or the words of all lines together.
const lines = (items) => items.map(({ text }) => text);
const named = (kind) => new Map(outline(DOCUMENT, kind).map(({ text, below }) => [text, lines(below)]));
const inWords = (map) => new Map([...map].map(([name, each]) => [name, each.join(" ").split(" ")]));

const WORDS = inWords(named("words"));
const KINDS = inWords(named("kinds"));
const PHRASINGS = named("phrasings");
const RELATIONS = outline(DOCUMENT, "relations").map(({ text }) => text.split(" "));

// The columns of a table by difficulty, each a list of ranges; a bare number is itself.
function byDifficulty(...columns) {
  const ranges = (cell) => cell.split(", ").map((range) => range.split("..").map(Number));
  const rows = table(DOCUMENT, ["difficulty", ...columns].join(", "));
  return Object.fromEntries(columns.map((name, at) => [name, [null, ...rows.map((cells) => ranges(cells[at + 1]))]]));
}

const ARITH = byDifficulty("ranges of operands");
const LOGIC = byDifficulty("numbers to compare", "even and odd numbers", "people", "items", "halves");
const COMPOSITE = byDifficulty("lengths", "short lengths", "terms");
const LENGTHS_OF_LISTS = [null, [2, 4], [5, 6], [7, 8]];
const LENGTHS_OF_WORDS = [null, [3, 5], [5, 7], [7, 9]];

const OPERATIONS = new Map(table(DOCUMENT, "operation, skill, question, value").map(([name, skill, question]) => [name, { skill, question }]));
const WAYS = new Map(outline(DOCUMENT, "ways").map(({ text, below }) => [text, below.map((way) => ({
  steps: way.text.split("; ").map((step) => step.split(" ")),
  phrasings: lines(way.below),
}))]));

// --- Draws

class Stream {
  constructor(key) {
    this.key = Buffer.from(key, "ascii");
    this.count = 0;
  }

  below(length) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(this.count);
    this.count += 1;
    return Number(sha256(this.key, number).readBigUInt64BE() % BigInt(length));
  }

  range([low, high]) {
    return low + this.below(high - low + 1);
  }

  oneOf(list) {
    return list[this.below(list.length)];
  }

  isOnceIn(k) {
    return this.below(k) === 0;
  }

  outOf(m, list) {
    const left = [...list];
    return Array.from({ length: m }, () => left.splice(this.below(left.length), 1)[0]);
  }

  phrasing(name, values) {
    return fill(this.oneOf(PHRASINGS.get(name)), values);
  }
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const numbersFrom = ([low, high]) => Array.from({ length: high - low + 1 }, (_, at) => low + at);
const capital = (word) => word[0].toUpperCase() + word.slice(1);
const backwards = (word) => [...word].reverse().join("");
const occurrences = (letter, word) => [...word].filter((each) => each === letter).length;
const yes = (truth) => (truth ? "yes" : "no");
const parity = (number) => (number % 2 ? "odd" : "even");
const ascending = (numbers) => [...numbers].sort((a, b) => a - b);

// --- Words

function madeUp(draws, n) {
  let isVowel = draws.isOnceIn(2);
  let word = "";
  for (let at = 0; at < n; at += 1) {
    word += draws.oneOf(isVowel ? VOWELS : CONSONANTS);
    if (!draws.isOnceIn(4)) isVowel = !isVowel;
  }
  return word;
}

function wordOf(draws, n) {
  return draws.isOnceIn(2) ? draws.oneOf(WORDS.get("common").filter((word) => word.length === n)) : madeUp(draws, n);
}

// --- arith

function operand(draws, difficulty, least = 0) {
  const [low, high] = draws.oneOf(ARITH["ranges of operands"][difficulty]);
  return draws.range([Math.max(low, least), high]);
}

const operands = (draws, difficulty, least) => [operand(draws, difficulty, least), operand(draws, difficulty, least)];
const largerFirst = (draws, difficulty, least) => ascending(operands(draws, difficulty, least)).reverse();
const factors = (draws, difficulty, least) => [operand(draws, difficulty, least), draws.range([2, 9])];
const RESULT = { add: (a, b) => a + b, subtract: (a, b) => a - b, times: (a, b) => a * b };

const sum = (operation, terms) => (draws, difficulty) => {
  const [a, b] = terms(draws, difficulty);
  return [draws.phrasing(operation, { a, b }), RESULT[operation](a, b)];
};

function story(draws, difficulty) {
  const operation = draws.oneOf(["add", "subtract", "times"]);
  const [a, b] = (operation === "times" ? factors : largerFirst)(draws, difficulty, 2);
  const text = draws.oneOf(PHRASINGS.get(`word ${operation}`));
  const people = WORDS.get("people");
  const first = draws.below(people.length);
  const second = (first + draws.range([1, 11])) % people.length;
  const things = draws.oneOf(WORDS.get("things"));
  return [fill(text, { a, b, name: people[first], other: people[second], things }), RESULT[operation](a, b)];
}

// --- lists

function numbersOf(draws, lengths, chance) {
  const most = draws.isOnceIn(chance) ? 9 : 99;
  const n = draws.range(lengths);
  return Array.from({ length: n }, () => draws.range([0, most]));
}

const joined = (draws, numbers) => numbers.join(draws.oneOf([" ", ", "]));
const limitFor = (draws, numbers) => draws.range(numbers.some((number) => number > 9) ? [10, 89] : [1, 8]);
const countAbove = (limit, numbers) => numbers.filter((number) => number > limit).length;

const ofList = (name, gold) => (draws, difficulty) => {
  const numbers = numbersOf(draws, LENGTHS_OF_LISTS[difficulty], 4);
  const text = draws.oneOf(PHRASINGS.get(name));
  return [fill(text, { list: joined(draws, numbers) }), gold(numbers)];
};

function count(draws, difficulty) {
  const numbers = numbersOf(draws, LENGTHS_OF_LISTS[difficulty], 4);
  const limit = limitFor(draws, numbers);
  const text = draws.oneOf(PHRASINGS.get("count"));
  return [fill(text, { list: joined(draws, numbers), limit }), countAbove(limit, numbers)];
}

// --- text

const ofWord = (name, gold) => (draws, difficulty) => {
  const small = wordOf(draws, draws.range(LENGTHS_OF_WORDS[difficulty]));
  const word = draws.isOnceIn(8) ? capital(small) : small;
  return [draws.phrasing(name, { word }), gold(word)];
};

function wordAndLetter(draws, difficulty) {
  const word = wordOf(draws, draws.range(LENGTHS_OF_WORDS[difficulty]));
  return { word, letter: draws.oneOf(draws.isOnceIn(4) ? LETTERS : [...word]) };
}

function countLetter(draws, difficulty) {
  const { word, letter } = wordAndLetter(draws, difficulty);
  return [draws.phrasing("count_letter", { word, letter }), occurrences(letter, word)];
}

function compareWords(draws, difficulty) {
  const [m, n] = draws.outOf(2, numbersFrom(LENGTHS_OF_WORDS[difficulty]));
  const [a, own] = [wordOf(draws, m), wordOf(draws, n)];
  const shared = draws.isOnceIn(4) ? draws.range([1, 2]) : 0;
  const b = a.slice(0, shared) + own.slice(shared);
  const asked = draws.oneOf(["longer", "shorter", "earlier", "later"]);
  const isA = { longer: a.length > b.length, shorter: a.length < b.length, earlier: a < b, later: a > b };
  return [draws.phrasing(asked, { a, b }), isA[asked] ? a : b];
}

// --- logic

function compare(draws, difficulty) {
  const [low, high] = draws.oneOf(LOGIC["numbers to compare"][difficulty]);
  const a = draws.range([low, high]);
  let b = draws.isOnceIn(4) ? Math.min(high, Math.max(low, a + draws.range([-9, 9]))) : draws.range([low, high]);
  if (draws.isOnceIn(2)) {
    const asked = draws.isOnceIn(2) ? "greater" : "less";
    return [draws.phrasing(asked, { a, b }), yes(asked === "greater" ? a > b : a < b)];
  }
  if (b === a) b += 1;
  const asked = draws.isOnceIn(2) ? "larger" : "smaller";
  return [draws.phrasing(asked, { a, b }), asked === "larger" ? Math.max(a, b) : Math.min(a, b)];
}

function namesOf(draws, m) {
  const names = draws.outOf(m, [...WORDS.get("people"), ...WORDS.get("more people")]);
  for (let at = 0; at < m; at += 1) {
    if (!draws.isOnceIn(4)) continue;
    const made = capital(madeUp(draws, draws.range([3, 6])));
    if (!names.includes(made)) names[at] = made;
  }
  return names;
}

function chain(draws, difficulty) {
  const names = namesOf(draws, draws.range(LOGIC.people[difficulty][0]));
  const [more, less, most, least] = draws.oneOf(RELATIONS);
  let statements = names.slice(1).map((second, at) => {
    const [a, word, b] = draws.isOnceIn(4) ? [second, less, names[at]] : [names[at], more, second];
    return `${a} is ${word} than ${b}.`;
  });
  if (draws.isOnceIn(4)) statements = draws.outOf(statements.length, statements);
  const [question, gold] = draws.isOnceIn(2) ? oneOfTwo(draws, names, more, less) : who(draws, names, most, least);
  return [[...statements, question].join(" "), gold];
}

function oneOfTwo(draws, names, more, less) {
  const [a, b] = draws.outOf(2, names);
  const word = draws.isOnceIn(4) ? less : more;
  const isBefore = names.indexOf(a) < names.indexOf(b);
  return [`Is ${a} ${word} than ${b}?`, yes(word === more ? isBefore : !isBefore)];
}

function who(draws, names, most, least) {
  const [word, name] = draws.isOnceIn(2) ? [most, names[0]] : [least, names.at(-1)];
  return [draws.phrasing("who", { word }), name.toLowerCase()];
}

function evenOrOdd(draws, difficulty) {
  const a = draws.range(draws.oneOf(LOGIC["even and odd numbers"][difficulty]));
  const asked = draws.oneOf(["even or odd", "even", "odd"]);
  return [draws.phrasing(asked, { a }), asked === "even or odd" ? parity(a) : yes(parity(a) === asked)];
}

function oddOneOut(draws, difficulty) {
  const [[m]] = LOGIC.items[difficulty];
  const p = draws.range([0, m - 1]);
  const [name, items] = draws.isOnceIn(2) ? ["odd numbers", oddNumber(draws, difficulty, m, p)] : ["odd words", oddWord(draws, m, p)];
  return [draws.phrasing(name, { items: items.join(", ") }), items[p]];
}

function oddNumber(draws, difficulty, m, p) {
  const halves = draws.outOf(m, numbersFrom(LOGIC.halves[difficulty][0]));
  const r = draws.range([0, 1]);
  return halves.map((half, at) => 2 * half + (at === p ? 1 - r : r));
}

function oddWord(draws, m, p) {
  const [first, second] = draws.outOf(2, [...KINDS.keys()]);
  const items = draws.outOf(m, KINDS.get(first));
  items[p] = draws.oneOf(KINDS.get(second));
  return items;
}

// --- composite and plan

const listOf = (draws, difficulty) => numbersOf(draws, COMPOSITE.lengths[difficulty][0], 6);
const aList = (draws, difficulty) => ({ list: joined(draws, listOf(draws, difficulty)) });

function listAndLimit(draws, difficulty) {
  const numbers = listOf(draws, difficulty);
  return { list: joined(draws, numbers), limit: limitFor(draws, numbers) };
}

const FIELDS = {
  top_two: aList,
  scaled: (draws, difficulty) => ({ ...aList(draws, difficulty), k: draws.range([2, 9]) }),
  extremes: aList,
  counted_parity: listAndLimit,
  counts: (draws, difficulty) => ({ ...wordAndLetter(draws, difficulty), ...listAndLimit(draws, difficulty) }),
  sum_or_extreme(draws, difficulty) {
    const [terms] = COMPOSITE.terms[difficulty];
    const a = draws.range(terms);
    let b = draws.range(terms);
    const numbers = listOf(draws, difficulty);
    if (Math.max(...numbers) === a + b) b += 1;
    return { a, b, list: joined(draws, numbers) };
  },
  two_lists(draws, difficulty) {
    const [lengths] = COMPOSITE["short lengths"][difficulty];
    const [list, other] = [numbersOf(draws, lengths, 6), numbersOf(draws, lengths, 6)];
    if (Math.max(...list) === Math.max(...other)) other.push(Math.max(...other) + 1);
    return { list: joined(draws, list), other: joined(draws, other), k: draws.range([2, 9]) };
  },
};

const numbersIn = (text) => String(text).match(/[0-9]+/g).map(Number);
const VALUES = {
  sort: (list) => ascending(numbersIn(list)).join(" "),
  largest: (list) => Math.max(...numbersIn(list)),
  smallest: (list) => Math.min(...numbersIn(list)),
  above: (limit, list) => countAbove(Number(limit), numbersIn(list)),
  add: (a, b) => Number(a) + Number(b),
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  parity: (a) => parity(a),
  even: (a) => yes(parity(a) === "even"),
  larger: (a, b) => Math.max(a, b),
  smaller: (a, b) => Math.min(a, b),
  greater: (a, b) => yes(Number(a) > Number(b)),
  letters: (letter, word) => occurrences(letter, word),
};

// What an argument stands for: a field's value as it is, or that of an earlier step or of one of its words.
function valueOf(argument, values) {
  const [, step, item] = /^#(\d+)(?:\[(-?\d+)\])?$/.exec(argument) ?? [];
  if (step === undefined) return argument;
  const value = String(values[step - 1]);
  return item === undefined ? value : value.split(" ").at(item > 0 ? item - 1 : Number(item));
}

function composed(draws, difficulty, family) {
  const fields = FIELDS[family](draws, difficulty);
  const { steps, phrasings } = draws.oneOf(WAYS.get(family));
  const text = fill(draws.oneOf(phrasings), fields);
  const [values, plan] = [[], []];
  for (const [name, ...given] of steps) {
    const { skill, question } = OPERATIONS.get(name);
    const written = given.map((argument) => fill(argument, fields));
    plan.push(`${skill}: ${fill(question, written)}`);
    values.push(VALUES[name](...written.map((argument) => valueOf(argument, values))));
  }
  return { text, gold: values.at(-1), plan: plan.join("\n") };
}

const composite = (family) => (draws, difficulty) => {
  const { text, gold } = composed(draws, difficulty, family);
  return [text, gold];
};
const planned = (family) => (draws, difficulty) => {
  const { text, plan } = composed(draws, difficulty, family);
  return [text, plan];
};

const MAKERS = {
  arith: { add: sum("add", operands), subtract: sum("subtract", largerFirst), times: sum("times", factors), word: story },
  lists: {
    sort: ofList("sort", (numbers) => ascending(numbers).join(" ")),
    max: ofList("max", (numbers) => Math.max(...numbers)),
    min: ofList("min", (numbers) => Math.min(...numbers)),
    reverse: ofList("reverse", (numbers) => [...numbers].reverse().join(" ")),
    count,
  },
  text: {
    reverse_word: ofWord("reverse_word", backwards),
    count_letter: countLetter,
    capitals: ofWord("capitals", (word) => word.toUpperCase()),
    first_last: ofWord("first_last", (word) => word[0] + word.at(-1)),
    compare_words: compareWords,
  },
  logic: { compare, chain, parity: evenOrOdd, odd_one_out: oddOneOut },
  composite: Object.fromEntries(Object.keys(FIELDS).map((family) => [family, composite(family)])),
  plan: Object.fromEntries(Object.keys(FIELDS).map((family) => [`plan_${family}`, planned(family)])),
};

// --- Exercises

export function generate({ skill, family, difficulty, seed }) {
  const draws = new Stream(`tutti exercise v1|${skill}|${difficulty}|${seed}|`);
  const drawn = draws.oneOf([...SKILLS.get(skill).families.keys()]);
  const chosen = family ?? drawn;
  const [text, gold] = MAKERS[skill][chosen](draws, Number(difficulty));
  return { family: chosen, text, gold: String(gold) };
}

function exercise(named) {
  const { text, gold } = generate(named);
  return { text, gold };
}

function exercises({ skill, difficulty, count: most }) {
  const shown = [];
  for (let seed = 0n; seed < most; seed += 1n) {
    const { family, text, gold } = generate({ skill, difficulty, seed });
    shown.push(`${family}|${text}|${gold}\n`);
  }
  return sha256(Buffer.from(shown.join("")));
}

export const operations = { exercise, exercises };
