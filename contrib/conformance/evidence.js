// Decay, counts and weights, specs/06-ledger.md. All integers are BigInt, whose division rounds towards zero.

import { limit } from "./tables.js";

const ONE = limit("EVIDENCE_ONE");
const DAYS = limit("EVIDENCE_DAYS_MAX");
const PRIOR = limit("PRIOR_STRENGTH");

function root() {
  const power = (r) => {
    let x = 1n << 32n;
    for (let day = 0n; day < limit("EVIDENCE_HALF_LIFE_DAYS"); day += 1n) x = (x * r) >> 32n;
    return x;
  };
  let [low, high] = [0n, 1n << 32n];
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (power(middle) <= 1n << 31n) low = middle;
    else high = middle;
  }
  return low;
}

const DECAY = [];
for (let f = 1n << 32n, r = root(); BigInt(DECAY.length) < DAYS; f = (f * r) >> 32n) DECAY.push(f >> 16n);

function factor(day, today) {
  const age = today > day ? today - day : 0n;
  return age < DAYS ? DECAY[Number(age)] : 0n;
}

const bits = (x) => BigInt(x.toString(2).length);

export function log2Fixed(n, d) {
  let e = bits(n) - bits(d);
  if (e >= 0n ? n < d << e : n << -e < d) e -= 1n;
  let x = e <= 30n ? (n << (30n - e)) / d : n / (d << (e - 30n));
  let fraction = 0n;
  for (let step = 0; step < 16; step += 1) {
    x = (x * x) >> 30n;
    const bit = x >= 1n << 31n ? 1n : 0n;
    if (bit) x >>= 1n;
    fraction = 2n * fraction + bit;
  }
  return 65536n * e + fraction;
}

const posterior = (options, hits) => hits * options + PRIOR * ONE;

export function weight(options, hits, misses) {
  const h = posterior(options, hits);
  const m = misses * options + PRIOR * ONE * (options - 1n);
  const log = log2Fixed(h * (options - 1n), m);
  const most = limit("WEIGHT_MAX");
  const full = log < 0n ? 0n : log > most ? most : log;
  const probation = limit("PROBATION") * ONE;
  return (full * (hits < probation ? hits : probation)) / probation;
}

export const mean = (options, hits, misses) =>
  (65536n * posterior(options, hits)) / ((hits + misses) * options + PRIOR * ONE * options);

function counts({ days, today }) {
  const sum = (of) => days.reduce((total, day) => total + of(day) * factor(day[0], today), 0n);
  return {
    hits: (sum((day) => day[1]) * ONE) >> 16n,
    misses: (sum((day) => day[2]) * ONE) >> 16n,
    audited: (sum((day) => day[1] + day[2] + day[3]) + (1n << 15n)) >> 16n,
  };
}

export const operations = {
  decay: ({ age }) => DECAY[Number(age)],
  log2_fixed: ({ numerator, denominator }) => log2Fixed(numerator, denominator),
  counts,
  weight: ({ options, hits, misses }) => ({ weight: weight(options, hits, misses), mean: mean(options, hits, misses) }),
};
