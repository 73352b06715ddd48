// Receipts, gone through again as a verifier does: specs/11-receipt.md. The numbers in comments are those of its list.

import { allocate, inputHash } from "./award.js";
import { decode, encode } from "./encoding.js";
import { checkBodyOf, checkLifetime, read } from "./envelope.js";
import { mean, weight } from "./evidence.js";
import { domain, sha256, verify } from "./identity.js";
import { fill, parse } from "./plans.js";
import { Refusal, demand } from "./refusal.js";
import { limit, presetRevision, seatTable, skillOptions } from "./tables.js";
import { aloneAmong, commitment, isCanonical, isChecked, isDecided, tallyOf, tie, together } from "./vote.js";

const DOMAIN = domain("tutti/receipt/1");
// The preset network `dev`, whose parameters this verifier has (10-network.md).
const DEV = sha256(domain("tutti/network/1"), encode(new Map([["name", "dev"], ["founder", Buffer.alloc(32)], ["nonce", Buffer.alloc(16)]])));
const SEAT = seatTable();
const OPEN = ["offered", "accepted", "committed", "sealed"];
const BY_REQUESTER = ["beacon", "bid_ack", "award", "cancel", "commit_set", "judge", "refine"];
const TO_REQUESTER = ["bid", "accept", "decline", "commit", "reveal", "judgement"];

const holds = (truth, what) => demand(truth, "receipt", what);
const hex = (bytes) => bytes.toString("hex");
const same = (first, second) => encode(first).equals(encode(second));

// --- 1: the fields and their forms

const isBytes = (size) => (value) => Buffer.isBuffer(value) && value.length === size;
const isBetween = (low, high) => (value) => typeof value === "bigint" && value >= low && value <= high;
const isText = (low, high) => (value) => {
  if (typeof value !== "string") return false;
  const size = BigInt(Buffer.byteLength(value));
  return size >= low && size <= high;
};
const isOf = (...choices) => (value) => choices.includes(value);
const isListOf = (item, most) => (value) => Array.isArray(value) && BigInt(value.length) <= most && value.every(item);
const isRow = (...items) => (value) => Array.isArray(value) && value.length === items.length && items.every((is, at) => is(value[at]));
const isBlob = (most) => (value) => Buffer.isBuffer(value) && value.length > 0 && BigInt(value.length) <= most;
const isBoolean = (value) => typeof value === "boolean";
const isMap = (value) => value instanceof Map;

const RESULT = {
  outcome: isOf("no bids", "deadline", "all failed", "unearned", "answered"),
  voted: isBoolean,
  answer: (value) => value === null || isText(0n, limit("TEXT_SIZE_MAX"))(value),
  earned: isBoolean,
  margin: isBetween(0n, 1000n),
  support: isListOf(isRow(isText(0n, limit("TEXT_SIZE_MAX")), isBetween(0n, 1n << 53n)), limit("AWARDS_MAX")),
  dissent: isBetween(0n, limit("AWARDS_MAX")),
  abstained: isBetween(0n, limit("AWARDS_MAX")),
  coverage: isBetween(0n, 1000n),
};
const STEP = {
  plan: isBetween(0n, 15n),
  step: isBetween(0n, 63n),
  question: isText(1n, limit("QUESTION_SIZE_MAX")),
  nonce: isBytes(32),
  refine: isBetween(0n, limit("REFINE_MAX")),
  transcript: isListOf(isBlob(limit("ENVELOPE_SIZE_MAX") + 64n), limit("TRANSCRIPT_MAX")),
  views: isListOf(isBlob(limit("ENVELOPE_SIZE_MAX")), limit("AWARDS_MAX")),
  notes: isListOf(
    isRow(isBetween(0n, limit("TRANSCRIPT_MAX")), isOf("gone", "expired", "lost", "unneeded"), isBytes(32)),
    limit("NOTES_MAX"),
  ),
  reason: isOf("settled", "no_bids", "deadline"),
  result: isMap,
};
const RECEIPT = {
  network: isBytes(32),
  requester: isBytes(32),
  task: isBytes(16),
  salt: isBytes(32),
  made_ms: isBetween(0n, 1n << 53n),
  steps: isListOf(isMap, limit("RECEIPT_STEPS_MAX")),
  result: isMap,
};

function fieldsOf(rules, map) {
  const names = Object.keys(rules);
  holds(isMap(map) && map.size === names.length && names.every((name) => map.has(name)), "fields");
  for (const name of names) holds(rules[name](map.get(name)), name);
  return Object.fromEntries(map);
}

// --- 5: the views

function parseView(data) {
  const map = decode(data);
  const { bids: rows, newcomer_seats: newcomers, options } = fieldsOf({
    bids: isListOf(
      isRow(isBytes(32), isBytes(32), isBetween(0n, 1n << 53n), isBetween(0n, 1n << 53n), isBetween(-1n, 1n << 53n)),
      1n << 53n,
    ),
    newcomer_seats: isBetween(0n, 0n),
    options: isBetween(2n, limit("OPTIONS_MAX")),
  }, map);
  const found = rows.map(([id, bidder, hits, misses, cluster]) => ({ id, bidder, hits, misses, cluster }));
  holds(found.every((row, at) => at === 0 || Buffer.compare(found[at - 1].bidder, row.bidder) < 0), "rows in order");
  return { rows: found, options, newcomers };
}

const compareCodePoints = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const compareTies = (task, a, b) => Buffer.compare(tie(task, a.text), tie(task, b.text)) || Buffer.compare(a.author, b.author);

// So many bytes as a member is shown of another's answer, without the rest of a character.
function cut(text) {
  const bytes = Buffer.from(text);
  let size = Math.min(bytes.length, Number(limit("REFINE_TEXT_SIZE_MAX")));
  while (size < bytes.length && (bytes[size] & 0xc0) === 0x80) size -= 1;
  return bytes.subarray(0, size).toString();
}

class Replay {
  constructor(receipt, step) {
    Object.assign(this, { receipt, step, beacon: null, bids: new Map(), acks: new Map(), gone: new Set(), seen: new Set() });
    Object.assign(this, { seats: [], view: null, viewsUsed: 0, queue: [], asked: 0, isAlone: false, isWidened: false, further: 0 });
    Object.assign(this, { round: 0n, sets: new Map(), hasStopped: false });
    Object.assign(this, { duties: null, due: new Map(), judged: [], revisions: [], refined: 0n });
  }

  run() {
    const { notes, transcript } = this.step;
    holds(notes.every(([place], at) => at === 0 || notes[at - 1][0] <= place), "notes in order");
    const left = [...notes];
    transcript.forEach((data, number) => {
      while (left.length && left[0][0] <= BigInt(number)) this.note(left.shift());
      this.take(this.open(data));
    });
    left.forEach((note) => this.note(note));
    this.end();
  }

  // 2
  open(data) {
    const envelope = read(data);
    holds(envelope.network.equals(this.receipt.network), "network");
    const isFromRequester = BY_REQUESTER.includes(envelope.type);
    holds(isFromRequester || TO_REQUESTER.includes(envelope.type), "type");
    holds(!this.seen.has(hex(envelope.id)), "twice");
    this.seen.add(hex(envelope.id));
    checkLifetime(envelope);
    checkBodyOf(envelope.type, envelope.body);
    const party = isFromRequester ? envelope.sender : envelope.to;
    holds(Buffer.isBuffer(party) && party.equals(this.receipt.requester), "requester");
    const body = Object.fromEntries(envelope.body);
    holds(body.task.equals(this.receipt.task) && body.plan === this.step.plan && body.step === this.step.step, "step");
    return { ...body, message: envelope.body, type: envelope.type, id: envelope.id, by: envelope.sender, to: envelope.to, data };
  }

  take(said) {
    holds((this.beacon === null) === (said.type === "beacon"), "one beacon, first");
    const handlers = { beacon: "onBeacon", bid: "onBid", bid_ack: "onAck", award: "onAward", commit_set: "onSet" };
    Object.assign(handlers, { judge: "onJudge", judgement: "onJudgement", refine: "onRefine" });
    this[handlers[said.type] ?? "onLease"](said);
  }

  // 3
  onBeacon(said) {
    holds(said.to === "beacons", "to all");
    const { question, nonce } = this.step;
    holds(inputHash({ nonce, question, answer: said.answer, tokens_max: said.tokens_max }).equals(said.input_hash), "question");
    holds(said.answer === "plan" || said.seats === limit("SEATS_DEFAULT"), "seats");
    this.beacon = said;
  }

  // 4
  onBid(said) {
    holds(said.beacon.equals(this.beacon.id) && !this.bids.has(hex(said.by)), "bid");
    this.bids.set(hex(said.by), { id: said.id, bidder: said.by, queued: said.queued, slots: said.slots });
  }

  bidOf(key) {
    return Buffer.isBuffer(key) ? this.bids.get(hex(key)) : undefined;
  }

  onAck(said) {
    const bid = this.bidOf(said.to);
    holds(bid && bid.id.equals(said.bid) && this.seats.length === 0, "acknowledgement");
    this.acks.set(hex(said.to), said.data);
  }

  // 5
  onAward(said) {
    const bid = this.bidOf(said.to);
    holds(bid && said.beacon.equals(this.beacon.id) && said.bid.equals(bid.id), "bid of the recipient");
    holds(said.question === this.step.question && said.nonce.equals(this.step.nonce), "question");
    holds(!this.seats.some((seat) => seat.peer.equals(said.to)), "awarded already");
    holds(BigInt(this.seats.filter((seat) => !seat.revises).length) < limit("AWARDS_MAX"), "too many awards");
    this.lookAt(said.view);
    const left = this.left();
    holds(left.length && left[0].bidder.equals(said.to), "turn");
    this.checkSeat(said, bid);
    this.seats.push({ number: Number(said.seat), peer: said.to, award: said.id, state: "offered", commit: null, answer: undefined });
  }

  lookAt(named) {
    if (this.view && this.view.hash.equals(named)) return;
    const data = this.step.views.find((each) => sha256(domain("tutti/view/1"), each).equals(named));
    holds(data, "a view of the receipt");
    const view = { ...parseView(data), hash: named };
    const rows = new Map(view.rows.map((row) => [hex(row.bidder), row]));
    holds(view.rows.every((row) => this.bidOf(row.bidder)?.id.equals(row.id)), "rows of bids before it");
    holds([...this.acks.keys()].every((key) => rows.has(key)), "every bid acknowledged");
    if (this.view) {
      holds(this.left().length === 0 && view.options === this.view.options, "another view while somebody is left");
      const isKept = (row) => {
        const now = rows.get(hex(row.bidder));
        return now && now.hits === row.hits && now.misses === row.misses && now.cluster === row.cluster;
      };
      holds(this.view.rows.every(isKept), "what the view before said");
    }
    this.view = { ...view, byBidder: rows };
    this.viewsUsed += 1;
    this.rank(view);
  }

  // 6
  rank(view) {
    const free = view.rows.filter((row) => !this.gone.has(hex(row.bidder))).map((row) => ({ ...row, ...this.bidOf(row.bidder) }));
    const { seats, reserves } = allocate(this.beacon.id, this.beacon.seats, view.options, 0n, free);
    this.queue = [...seats, ...reserves];
    if (this.viewsUsed > 1) return;
    const first = this.askedAtOnce(seats);
    this.asked = first.length;
    this.queue = [...first, ...this.queue.filter((bid) => !first.includes(bid))];
  }

  askedAtOnce(committee) {
    if (this.beacon.answer === "text") {
      const isJudged = BigInt(committee.length) >= limit("SEATS_DEFAULT") && committee.every(({ bidder }) => this.weightOf(bidder) > 0n);
      return isJudged ? committee : committee.slice(0, 1);
    }
    if (this.beacon.answer === "plan" || this.step.refine > 0n) return committee;
    const votes = committee.map((bid) => this.voteOf(bid.bidder, null));
    const means = committee.map((bid) => mean(this.view.options, bid.hits, bid.misses));
    const place = aloneAmong(votes, means);
    if (place === null) return committee;
    const acks = [...this.acks.keys()].sort().map((key) => this.acks.get(key));
    if (isChecked(acks)) return committee;
    this.isAlone = true;
    return [committee[place]];
  }

  left() {
    return this.queue.filter(({ bidder }) => !this.gone.has(hex(bidder)) && !this.seats.some((seat) => seat.peer.equals(bidder)));
  }

  weightOf(peer) {
    const { hits, misses } = this.view.byBidder.get(hex(peer));
    return weight(this.view.options, hits, misses);
  }

  voteOf(peer, answer) {
    const { cluster } = this.view.byBidder.get(hex(peer));
    return { peer, answer, weight: this.weightOf(peer), cluster: cluster === -1n ? null : cluster };
  }

  // Seats whose answer was opened, each once: a revision changes the answer of the seat that it revises.
  answered() {
    return this.seats.filter((seat) => !seat.revises && seat.answer !== undefined);
  }

  // What was answered and not only opened, by tie hash and author.
  texts() {
    const texts = this.answered().filter((seat) => seat.answer !== null)
      .map((seat) => ({ author: seat.peer, text: seat.answer, weight: this.weightOf(seat.peer) }));
    return texts.sort((a, b) => compareTies(this.receipt.task, a, b));
  }

  members() {
    const lost = this.seats.filter((seat) => seat.revises && seat.state === "failed").map((seat) => hex(seat.peer));
    return this.seats.filter((seat) => seat.state === "done" && !seat.revises && this.weightOf(seat.peer) > 0n
      && !lost.includes(hex(seat.peer)) && !this.gone.has(hex(seat.peer)));
  }

  votes() {
    return this.answered().map((seat) => this.voteOf(seat.peer, seat.answer));
  }

  // The votes that no revision under way can change.
  settled() {
    const isRevising = ({ peer }) => this.seats.some((seat) => seat.revises && OPEN.includes(seat.state) && seat.peer.equals(peer));
    return this.votes().filter((vote) => !isRevising(vote));
  }

  owed(seats) {
    return seats.filter((seat) => OPEN.includes(seat.state)).map((seat) => this.voteOf(seat.peer, null));
  }

  // 7
  checkSeat(said, bid) {
    const number = Number(said.seat);
    const numbers = new Set(this.seats.map((seat) => seat.number));
    if (numbers.has(number)) {
      const held = this.seats.filter((seat) => seat.number === number).at(-1);
      holds(held.state === "failed" || held.answer === null, "a seat that is held");
      if (this.isAlone) [this.isAlone, this.isWidened, this.asked] = [false, true, Number(this.beacon.seats)];
      return;
    }
    holds(number === numbers.size, "the next seat");
    if (numbers.size < this.asked) return;
    holds(!["text", "plan"].includes(this.beacon.answer) && this.refined === 0n, "what has further seats");
    const votes = this.votes();
    const { earned, margin } = tallyOf(this.receipt.task, votes, []);
    holds(earned && margin < limit("MARGIN_THIN"), "a thin margin");
    holds(isDecided(this.receipt.task, votes, this.owed(this.seats.filter((seat) => seat.number < this.asked))), "owed");
    holds(BigInt(this.further) < limit("EXTRA_SEATS_MAX") && this.weightOf(bid.bidder) > 0n, "a further seat");
    this.further += 1;
  }

  // 8
  move(seat, event) {
    const next = SEAT.get(seat.state)?.get(event);
    holds(next, `${event} of a seat that is ${seat.state}`);
    seat.state = next;
  }

  onLease(said) {
    const seat = this.seats.findLast((each) => each.award.equals(said.award));
    holds(seat && seat.peer.equals(said.type === "cancel" ? said.to : said.by), "the award's holder");
    if (said.type === "commit") this.onCommit(seat, said);
    else if (said.type === "reveal") this.onReveal(seat, said);
    else if (said.type !== "cancel") this.move(seat, said.type);
  }

  onCommit(seat, said) {
    holds(said.round === this.round, "the open round");
    this.move(seat, "commit");
    seat.commit = said;
  }

  onSet(said) {
    const known = this.sets.get(said.round);
    if (known) {
      holds(same(known, said.members), "an equal set");
    } else {
      holds(said.round === this.round, "the open round");
      const bound = this.seats.filter((seat) => seat.state === "committed");
      const rows = bound.map((seat) => [seat.peer, seat.commit.commitment]).sort(([a], [b]) => Buffer.compare(a, b));
      holds(same(rows, said.members), "exactly the commitments that stand");
      this.sets.set(said.round, said.members);
      this.round += 1n;
      bound.forEach((seat) => this.move(seat, "set"));
    }
    holds(this.seats.some((seat) => Buffer.isBuffer(said.to) && seat.peer.equals(said.to)), "to somebody awarded");
  }

  onReveal(seat, said) {
    holds(seat.commit && said.round === seat.commit.round, "a commitment that was made");
    const { network, task } = this.receipt;
    const { plan, step } = this.step;
    const made = commitment({
      network, task, plan, step, number: said.round, peer: seat.peer, nonce: said.nonce, answer: said.answer,
    });
    if (!made.equals(seat.commit.commitment)) return this.move(seat, "mismatch");
    this.move(seat, "reveal");
    const answer = said.answer !== null && isCanonical(this.beacon.answer, said.answer) ? said.answer : null;
    if (!seat.revises) seat.answer = answer;
    else if (answer !== null) seat.revises.answer = answer;
    return undefined;
  }

  isWaiting() {
    return this.seats.some((seat) => OPEN.includes(seat.state));
  }

  // Every member, by award, and every pair of texts that it may judge.
  judgements() {
    const texts = this.texts();
    const pairs = texts.flatMap((first, at) => texts.slice(at + 1).map((second) => [first, second]));
    const clusterOf = (peer) => this.voteOf(peer, null).cluster;
    const asked = (this.beacon.answer === "text" ? this.members() : []).flatMap((seat) => {
      const isForeign = ({ author }) => !author.equals(seat.peer)
        && (clusterOf(author) === null || clusterOf(author) !== clusterOf(seat.peer));
      return pairs.filter((pair) => pair.every(isForeign)).map(([first, second], number) => ({ seat, number, first, second }));
    });
    const judges = new Set(asked.map(({ seat }) => hex(seat.peer)));
    return BigInt(judges.size) >= limit("JUDGES_MIN") ? asked : [];
  }

  onJudge(said) {
    if (this.duties === null) {
      holds(!this.isWaiting(), "an answer is owed");
      this.duties = this.judgements();
    }
    const due = this.duties.shift();
    holds(due && due.seat.peer.equals(said.to) && due.seat.award.equals(said.award) && BigInt(due.number) === said.number, "due");
    holds(due.first.text === said.first && due.second.text === said.second, "the texts");
    this.due.set(`${hex(said.award)} ${said.number}`, due);
  }

  onJudgement(said) {
    const key = `${hex(said.award)} ${said.number}`;
    const due = this.due.get(key);
    holds(due && due.seat.peer.equals(said.by), "a judgement that is owed");
    this.due.delete(key);
    const preferred = { first: due.first.author, second: due.second.author }[said.preference] ?? null;
    this.judged.push({ ...this.voteOf(said.by, null), pair: [due.first.author, due.second.author], preferred });
  }

  onRefine(said) {
    if (!this.revisions.length) {
      holds(!this.isWaiting() && this.refined < this.step.refine, "a revision that is wanted");
      this.refined += 1n;
      this.revisions = this.wantedRevisions();
    }
    const due = this.revisions.shift();
    holds(due && due.seat.peer.equals(said.to) && due.seat.award.equals(said.award), "due");
    holds(said.round === this.round && same(said.answers, due.answers), "the answers of the others");
    const { number, peer, award } = due.seat;
    this.seats.push({ number, peer, award, state: "accepted", commit: null, answer: undefined, revises: due.seat });
  }

  wantedRevisions() {
    const texts = this.texts().sort((a, b) => compareCodePoints(a.text, b.text) || Buffer.compare(a.author, b.author));
    if (new Set(texts.map(({ text }) => text)).size <= 1) return [];
    return this.members().map((seat) => {
      const others = texts.filter(({ author }) => !author.equals(seat.peer));
      return { seat, answers: others.map(({ text }) => cut(text)).slice(0, Number(limit("REFINE_ANSWERS_MAX"))) };
    });
  }

  // 9
  note([, event, subject]) {
    if (event === "gone") {
      holds(this.bids.has(hex(subject)) && !this.gone.has(hex(subject)), "who has bid and is not gone");
      this.gone.add(hex(subject));
      return;
    }
    const seat = this.seats.findLast((each) => each.award.equals(subject));
    holds(seat, "an award");
    if (event === "unneeded" && !this.hasStopped) {
      const isOver = this.beacon.answer !== "text" && isDecided(this.receipt.task, this.settled(), this.owed(this.seats));
      holds(isOver, "an answer that could change the result");
      this.hasStopped = true;
    }
    this.move(seat, event);
  }

  // 10
  end() {
    const { reason, views } = this.step;
    holds(this.beacon, "a beacon");
    const isEverybodyGone = [...this.bids.keys()].every((key) => this.gone.has(key));
    holds(reason !== "no_bids" || (this.seats.length === 0 && isEverybodyGone), "nobody");
    holds(reason !== "settled" || this.seats.length > 0, "an award");
    const given = new Set(this.seats.map((seat) => seat.number)).size;
    holds(this.isWidened || given >= this.asked, "as many as are asked at once");
    holds(!this.duties?.length && !this.revisions.length, "everybody is asked");
    holds(!this.isWaiting(), "no open seat");
    holds(views.length === this.viewsUsed, "a view left over");
  }

  // 11
  result() {
    const { reason } = this.step;
    const told = this.beacon.answer === "text" ? this.chosenText() : this.tallied();
    const isWithoutBid = reason === "no_bids" || (reason === "deadline" && this.bids.size === 0);
    const unanswered = reason === "deadline" ? "deadline" : "all failed";
    const answered = this.beacon.answer !== "text" && !told.earned ? "unearned" : "answered";
    const outcome = isWithoutBid ? "no bids" : told.answer === null ? unanswered : answered;
    return new Map(Object.entries({ outcome, ...told }));
  }

  tallied() {
    const failed = this.seats.filter((seat) => seat.state === "failed" && !seat.revises).map((seat) => this.voteOf(seat.peer, null));
    return { voted: true, ...tallyOf(this.receipt.task, this.votes(), failed) };
  }

  chosenText() {
    const none = { earned: false, margin: 0n, support: [], dissent: 0n, abstained: 0n, coverage: 0n };
    const points = this.points();
    const texts = this.texts();
    const byTrust = (a, b) => (a.weight === b.weight ? compareTies(this.receipt.task, a, b) : a.weight > b.weight ? -1 : 1);
    texts.sort((a, b) => (points ? points.get(hex(b.author)) - points.get(hex(a.author)) : 0) || byTrust(a, b));
    return { voted: points !== null, answer: texts.length ? texts[0].text : null, ...none };
  }

  // Two for each pair that a text wins, one for each that is even; null where too few preferred any.
  points() {
    const counted = this.judged.filter(({ preferred, weight: own }) => preferred && own > 0n);
    if (BigInt(new Set(counted.map(({ peer }) => hex(peer))).size) < limit("JUDGES_MIN")) return null;
    const texts = this.texts();
    const supports = (one, other) => together(
      counted.filter(({ pair, preferred }) => preferred.equals(one.author)
        && pair.every((author) => author.equals(one.author) || author.equals(other.author))),
      (vote) => vote.weight,
    );
    const won = (one, other) => {
      const [mine, theirs] = [supports(one, other), supports(other, one)];
      return mine === theirs ? 1 : mine > theirs ? 2 : 0;
    };
    const total = (one) => texts.filter((other) => other !== one).reduce((sum, other) => sum + won(one, other), 0);
    return new Map(texts.map((one) => [hex(one.author), total(one)]));
  }

  // 12
  checkOptions() {
    if (!this.view || !this.receipt.network.equals(DEV) || this.beacon.revision !== presetRevision()) return;
    const options = skillOptions(this.beacon.skill);
    holds(options === undefined || options === this.view.options, "K of the skill");
  }
}

function check(data) {
  holds(data.length > 64 && BigInt(data.length) <= limit("RECEIPT_SIZE_MAX"), "size");
  const payload = data.subarray(64);
  const receipt = fieldsOf(RECEIPT, decode(payload, limit("RECEIPT_SIZE_MAX")));
  const signed = Buffer.concat([DOMAIN, payload]);
  verify(receipt.requester, signed, data.subarray(0, 64));
  const steps = receipt.steps.map((step) => fieldsOf(STEP, step));
  checkPlaces(steps);
  const parts = steps.map((step) => replayed(receipt, step));
  const isPlanned = parts[0].replay.beacon.answer === "plan";
  holds(isPlanned || parts.length === 1, "steps of no plan");
  const { outcome } = fieldsOf(RESULT, receipt.result);
  const found = isPlanned ? resultOfPlans(receipt.task, parts, outcome) : parts[0].result;
  holds(same(receipt.result, found), "the result that follows");
  return { hash: sha256(signed), question: steps[0].question, result: found };
}

function replayed(receipt, step) {
  const replay = new Replay(receipt, step);
  replay.run();
  const result = replay.result();
  fieldsOf(RESULT, step.result);
  holds(same(step.result, result), "the result that follows");
  replay.checkOptions();
  return { step, replay, result };
}

// --- 13

function checkPlaces(steps) {
  const [first, ...others] = steps;
  holds(first && first.plan === 0n && first.step === 0n, "the first step");
  holds(others.every(({ plan, step }) => plan > 0n && step > 0n), "plan 0 or step 0 again");
  const isAfter = (one, other) => other.plan > one.plan || (other.plan === one.plan && other.step > one.step);
  holds(others.every((step, at) => isAfter(steps[at], step)), "steps in order");
}

// The plans that were opened, each with the votes of those who wrote it and no answers yet, in the order of their numbers.
function plansOf(replay) {
  const votes = replay.votes().filter(({ answer }) => answer !== null);
  const plans = [...new Set(votes.map(({ answer }) => answer))].map((text) => {
    const own = votes.filter(({ answer }) => answer === text);
    const sum = own.reduce((total, { weight: each }) => total + each, 0n);
    return { text, votes: own, weight: sum, steps: parse(text).steps, answers: [], isEarned: true };
  });
  return plans.sort((a, b) => (a.weight === b.weight ? compareCodePoints(a.text, b.text) : a.weight > b.weight ? -1 : 1));
}

// What a step gives its plan, if it is the one that the plan says.
function carryOut(plan, { step, replay, result }) {
  holds(plan, "a plan that a planner opened");
  const number = Number(step.step);
  const planned = plan.steps[number - 1];
  holds(planned, "a step of the plan");
  holds(planned.needs.every((need) => plan.answers[need - 1] !== undefined), "an answer that the step needs");
  holds(step.question === fill({ text: plan.text, step: number, answers: plan.answers }), "the question of the plan");
  holds(replay.beacon.skill === planned.skill, "the skill of the plan");
  if (result.get("answer") !== null) plan.answers[number - 1] = result.get("answer");
  plan.isEarned &&= result.get("outcome") === "answered";
}

// The vote of plans: each planner votes for the answer of its plan, a plan without all of its answers has none.
function resultOfPlans(task, [planning, ...others], stated) {
  const plans = plansOf(planning.replay);
  for (const part of others) carryOut(plans[Number(part.step.plan) - 1], part);
  for (const plan of plans) {
    const isDone = plan.steps.every((_, at) => plan.answers[at] !== undefined);
    plan.answer = isDone ? plan.answers[plan.steps.length - 1] : null;
  }
  const told = tallyOf(task, plans.flatMap((plan) => plan.votes.map((vote) => ({ ...vote, answer: plan.answer }))), []);
  const isEarned = told.earned && plans.some((plan) => plan.answer === told.answer && plan.isEarned);
  const isLate = [planning, ...others].some(({ result }) => result.get("outcome") === "deadline");
  const unplanned = plans.length ? "all failed" : planning.result.get("outcome");
  const unanswered = isLate || stated === "deadline" ? "deadline" : unplanned;
  const outcome = told.answer === null ? unanswered : isEarned ? "answered" : "unearned";
  return new Map(Object.entries({ outcome, voted: true, ...told }));
}

// Whatever does not hold first, the receipt does not.
function verifyReceipt(data) {
  try {
    return check(data);
  } catch (error) {
    throw error instanceof Refusal ? new Refusal("receipt", error.message) : error;
  }
}

export const operations = {
  receipt: ({ signature, fields }) => {
    const { hash, result } = verifyReceipt(Buffer.concat([signature, encode(fields)]));
    return { hash, result };
  },
  receipt_file: ({ data }) => {
    const { hash, question, result } = verifyReceipt(data);
    return { hash, question, answer: result.get("answer") };
  },
};
