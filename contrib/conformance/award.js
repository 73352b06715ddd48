// The question's hash, the view and the award, specs/07-beacon.md.

import { encode } from "./encoding.js";
import { mean, weight } from "./evidence.js";
import { domain, sha256 } from "./identity.js";
import { limit } from "./tables.js";

export function inputHash({ nonce, question, answer, tokens_max: tokens }) {
  return sha256(domain("tutti/input/1"), encode(new Map(Object.entries({ answer, nonce, question, tokens_max: tokens }))));
}

export function viewHash(bids, newcomerSeats, options) {
  const rows = [...bids]
    .sort((first, second) => Buffer.compare(first.bidder, second.bidder))
    .map(({ id, bidder, hits, misses, cluster }) => [id, bidder, hits, misses, cluster]);
  return sha256(domain("tutti/view/1"), encode(new Map(Object.entries({ bids: rows, newcomer_seats: newcomerSeats, options }))));
}

const draw = (beacon, bidder) => sha256(domain("tutti/draw/1"), beacon, bidder);

function score(bid, options) {
  const most = limit("LOAD_PENALTY_QUEUE_MAX");
  const waiting = (bid.queued * 65536n) / bid.slots;
  const queue = waiting < most * 65536n ? waiting : most * 65536n;
  return mean(options, bid.hits, bid.misses) - queue / (4n * most);
}

// Bids in the order of claim, and how many of them get a seat.
export function allocate(beacon, seats, options, newcomerSeats, bids) {
  const kept = bids.filter((bid) =>
    !bids.some((other) => other.bidder.equals(bid.bidder) && Buffer.compare(other.id, bid.id) < 0));
  const byDraw = (first, second) => Buffer.compare(draw(beacon, first.bidder), draw(beacon, second.bidder));
  const byScore = (first, second) => {
    const [a, b] = [score(first, options), score(second, options)];
    return a === b ? byDraw(first, second) : a > b ? -1 : 1;
  };
  const isNew = (bid) => bid.hits + bid.misses === 0n;
  const hasWeight = (bid) => weight(options, bid.hits, bid.misses) > 0n;
  const newcomers = kept.filter(isNew).sort(byDraw);
  const earned = kept.filter((bid) => !isNew(bid) && hasWeight(bid)).sort(byScore);
  const others = kept.filter((bid) => !isNew(bid) && !hasWeight(bid)).sort(byScore);
  const first = newcomers.slice(0, Number(newcomerSeats));
  const order = [...first, ...earned, ...newcomers.slice(first.length), ...others];
  const given = newcomerSeats === 0n && earned.length ? Math.min(Number(seats), earned.length) : Number(seats);
  return { seats: order.slice(0, given), reserves: order.slice(given) };
}

function award({ beacon, seats, options, newcomer_seats: newcomerSeats, bids: rows }) {
  const bids = rows.map((row) => Object.fromEntries(row));
  const found = allocate(beacon, seats, options, newcomerSeats, bids);
  return {
    view: viewHash(bids, newcomerSeats, options),
    scores: bids.map((bid) => score(bid, options)),
    draws: bids.map((bid) => draw(beacon, bid.bidder)),
    seats: found.seats.map((bid) => bid.id),
    reserves: found.reserves.map((bid) => bid.id),
  };
}

export const operations = { input_hash: inputHash, award };
