"""Every limit of the protocol, named once, with its reason. Durations are milliseconds, sizes bytes."""

from __future__ import annotations

from typing import Final

# --- Encoding (specs/02-encoding.md)
# A question or a text as an answer is the largest part of a body; 64 KiB leaves room and bounds a decoder's work.
ENVELOPE_SIZE_MAX: Final = 65_536
# The deepest body, a capability record, nests three levels; eight leaves room without letting a decoder recurse far.
DEPTH_MAX: Final = 8

# --- A network: specs/10-network.md
# A name is a part of a directory's name and of a log line.
NETWORK_NAME_SIZE_MAX: Final = 32
# Revisions of a network's parameters; a beacon names one.
REVISION_MAX: Final = 2**32
# Example texts of a skill; every question is compared with all of them. One is as long as what is compared of a question.
EXAMPLES_MAX: Final = 256
EXAMPLE_SIZE_MAX: Final = 512
# Exercise families that audit a skill: all that there are, several times over.
EXERCISES_MAX: Final = 64
# Auditors that a network names: a few people's nodes, whom its users can get to know.
AUDITORS_MAX: Final = 16
# K of a skill: beyond this many answers a chance agreement of wrong voters says nothing more.
OPTIONS_MAX: Final = 1_000
# A state that lasts, such as a peer with other parameters, is logged once in this time.
NOTICE_MS: Final = 600_000

# --- Envelope (specs/03-envelope.md)
# Clocks of home machines without NTP differ by seconds; more than this and signatures' dates mean nothing.
CLOCK_SKEW_MS_MAX: Final = 10_000
# A message of a task lives as long as the longest task may.
LIFETIME_MS_MAX: Final = 120_000
# A record is refreshed every minute and must outlive a short absence of its author.
RECORD_LIFETIME_MS_MAX: Final = 900_000
# Ids remembered against replay, of each sender and of how many: enough that gossip and channel may bring one sender's
# messages a second apart, for twice the peers that a node has, and 80 MB at the very worst.
SEEN_PER_SENDER_MAX: Final = 1_024
SEEN_SENDERS_MAX: Final = 512
# The replay watermark is written in steps of this, so a busy node writes once a second at most.
WATERMARK_STEP_MS: Final = 1_000

# Envelopes, ledger entries and audit batches that were verified a moment ago and may be met again: twice as many of the largest
# have 24 MB, and usual ones some hundred kilobytes.
ENVELOPES_KEPT: Final = 128
ENTRIES_KEPT: Final = 128
BATCHES_KEPT: Final = 16

# --- Capability records (specs/05-capability.md)
# A record older than this is signed anew for a peer that connects, which tells by its date how far the clocks differ.
RECORD_FRESH_MS: Final = 5_000
RECORD_REFRESH_MS: Final = 60_000
RECORD_SKILLS_MAX: Final = 32
RECORD_ADDRESSES_MAX: Final = 8
# Records of one author: six times what refreshing takes, and a few at once when a model, its address and a pause change
# together. Each is written to disk and handed on, so a number alone must not buy more.
RECORD_MS: Final = 10_000
RECORDS_BURST: Final = 8
# Records of authors not known yet, by who names them, gossip being one: keys cost nothing, and finding a place for each
# costs a millisecond. At once as many as one source may name; who was left out comes again with its next refresh.
STRANGER_MS: Final = 100
# Looking for whom to dial goes through the table of peers: so many milliseconds apart for so many peers in it.
PEERS_PER_LOOK_MS: Final = 8
# Peers whose record is kept.
PEERS_MAX: Final = 1_024
# Records handed to a peer that asks: from three contacts enough to join a small network at once, gossip brings the rest.
RECORDS_SHARED_MAX: Final = 16
# A node asks so many of the peers that connect at once, and later one in each period: its first contacts, which are then not
# all that it ever hears of. A peer may ask as often.
SEEK_MS: Final = 30_000
SEEKS_BURST: Final = 3
# Up to this many known candidates a beacon is gossiped to all, so this many connections are worth having.
CONNECTIONS_TARGET: Final = 64
# A newcomer makes so many at once, as many as gossip's mesh has; further ones, to peers that it never met, one after the other:
# if thousands join at the same time, each connection costs both ends some milliseconds of a processor.
CONNECTIONS_SOON: Final = 6
CALM_MS: Final = 4_000
# A dial across the world takes less; one that takes longer counts no more among those that newcomers begin at once.
DIAL_SLOW_MS: Final = 1_000
# Two nodes hear of each other at the same moment; the one that waits dials only if the other has not got through by then.
DIAL_DELAY_MS: Final = 200
# A node that meets its first peer waits this long for the records of the others before it takes those it knows for all: it asks
# for them, and to the other side of the world and back it takes 300 ms.
JOIN_MS: Final = 400
DIAL_BACKOFF_MS_MIN: Final = 1_000
DIAL_BACKOFF_MS_MAX: Final = 60_000
# Of a met peer whose record is over, while there are other peers: hundreds that are gone for good must cost next to nothing.
DIAL_BACKOFF_GONE_MS_MAX: Final = 900_000
# The latest so many peers whose channel ended are dialled again up to so many connections: a network that was cut in two would
# stay two if nodes with enough other peers did not. Who was lost within this time of one that is back is dialled at once.
LOST_MAX: Final = 64
CONNECTIONS_AGAIN_MAX: Final = 128
LOST_TOGETHER_MS: Final = 60_000
# One of them is tried each time that this is over, give or take half of it by lot, once they wait longer: those that were lost
# together back off together, and could all be waiting when the way is free again.
LOST_PROBE_MS: Final = 30_000
# Up to this share of a wait is added by lot, or all nodes would come back to a restarted one in the same instant.
DIAL_JITTER_SHARE: Final = 4
# Dials under way, and those of peers that one source named and nobody has met: what one source makes up cannot keep the
# records of the others waiting.
DIALS_AT_ONCE_MAX: Final = 32
DIALS_PER_SOURCE_MAX: Final = 16
# Attempts at one host and port, at once and later one in each period: as many as the back-off of one unreachable peer makes.
DIALS_PER_TARGET_MAX: Final = 6
DIAL_TARGET_MS: Final = 60_000
# The same for all ports of a host: a machine may run a whole developer network.
DIALS_PER_HOST_MAX: Final = 64
DIAL_HOST_MS: Final = 5_000
# Targets and hosts whose attempts are remembered.
DIAL_TARGETS_MAX: Final = 4_096
# Peers that were never met, by who named them: more than a peer hands over at once, and half the table for gossip, of which
# nobody knows who made it up.
STRANGERS_PER_SOURCE_MAX: Final = 128
STRANGERS_GOSSIPED_MAX: Final = 512
# Addresses kept on disk of peers that were met, and for how long after: a node that was away for a month still gets home.
PEERS_SAVED_MAX: Final = 256
PEER_SAVED_MS_MAX: Final = 30 * 86_400_000
# They are written together after this time, so a crowd that comes and goes costs a write a second; and again after the
# longer one if nothing but the time has changed.
PEER_SAVE_DELAY_MS: Final = 1_000
PEER_SAVE_AGAIN_MS: Final = 3_600_000

# --- Directory (specs/05-capability.md)
# A record with every list full and long names; what nodes keep for others must be small.
DIRECTORY_VALUE_SIZE_MAX: Final = 8_192

# --- Questions and answers
# A question must fit an envelope beside its other fields, in any script (four bytes a character at most).
QUESTION_SIZE_MAX: Final = 16_384
TEXT_SIZE_MAX: Final = 16_384
ANSWER_SIZE_MAX: Final = 1_024
TOKENS_MAX: Final = 4_096
# Longest output for a question that fits no skill.
TOKENS_GENERAL: Final = 512

# --- Beacons and bids (specs/07-beacon.md)
SEATS_DEFAULT: Final = 3
SEATS_MAX: Final = 16
BIDS_MAX: Final = 256
# After this a beacon closes as soon as enough evidenced bids are there, even if a better candidate has not bid yet.
WINDOW_MS_MIN: Final = 150
WINDOW_MS_MAX: Final = 1_500
# Beacons an executor remembers its bids for, so that an award can be matched; the oldest of who has most goes first.
BIDS_OPEN_MAX: Final = 1_024
# Bids of this node that stay to be held against a receipt, with the signatures that acknowledge them: some 600 bytes each.
ACKNOWLEDGED_MAX: Final = 1_024
# Beacons of one requester that are answered and passed on: in the mean fifty a second, as fast as one question after the other
# can be answered by the smallest models, and a twentieth of a core at most; at once as many as a node takes questions, which
# is what the audits of a new network need as well.
BEACON_MS: Final = 20
BEACONS_BURST: Final = 256
# Of that ration a requester leaves so many to delays: beacons whose delays differ by up to 640 ms come closer together than
# they were sent, and one that is refused costs the task a bidder.
BEACONS_SPARE: Final = 32
# Of these each requester has a share that no other can use up: few enough that a fresh key, whose handshake costs more, is not
# worth it, and as many as one who only asks and can earn no weight needs.
BEACON_SHARE_MS: Final = 1_000
BEACON_SHARE_BURST: Final = 4
# Beacons beyond the shares of requesters that earned no weight here, all together: fresh keys, each with a ration of its own,
# would else take the processor that those who share the work need. No fewer than of one: a node that never asks knows nobody.
UNKNOWN_BEACON_MS: Final = 20
UNKNOWN_BEACONS_BURST: Final = 256
# Gossip of authors without a channel that is passed on, all together, by topic: a thousand nodes refresh their records 17
# times a second. Every node pays for it, and their keys cost nothing.
RELAY_MS: Final = 50
RELAYS_BURST: Final = 64
# Authors whose gossip is counted by themselves: all that can have a channel, and those that had one lately.
GATE_AUTHORS_MAX: Final = 512
# Awards of one task: five for each of three seats. Each carries the question, and bidders that all decline cost no more.
AWARDS_MAX: Final = 16
# Queued inferences a slot beyond which a rank sinks no further; that many cost a quarter of certainty.
LOAD_PENALTY_QUEUE_MAX: Final = 8

# --- Leases (specs/08-execution.md)
# An executor on loopback accepts in milliseconds, one across the world in under a second.
ACCEPT_MS_MAX: Final = 2_000
# A lease lives this long without a sign of progress; progress is sent this many times in it. A shorter lease than the
# least would ask for more messages than work.
LEASE_MS: Final = 6_000
LEASE_MS_MIN: Final = 1_000
PROGRESS_SHARE: Final = 3
# Progress holds a seat for this share of the time that the task had left, then it goes to the next bid: a model that hangs
# in a process that lives says that it is at work for ever. Half leaves the next one as long.
SEAT_SHARE: Final = 2
# Signs of life of one lease: one each LEASE_MS_MIN / PROGRESS_SHARE for the longest task, and more say nothing.
PROGRESS_MAX: Final = 330
# Who let a lease run out is given no seat of a question for this long, if another has earned a weight: one hung model would
# cost every question a lease.
REST_MS: Final = 30_000
# An opening needs no work: as long as an accept. Who has not opened by then withholds.
REVEAL_MS_MAX: Final = 2_000
# A question whose end comes near is sealed with the answers that are there this part of its time before it, at most
# REVEAL_MS_MAX, so that what is there can still be opened.
REVEAL_SHARE: Final = 4
# Sealed rounds of a step: the first answers, who comes late, further seats where the margin is thin, revisions.
ROUNDS_MAX: Final = 8
# Who is at most this much later than what decides a question is still heard, so that dissent is seen: on one machine or in one
# house models of one kind differ by less.
STRAGGLE_MS: Final = 25
# One node is asked alone if the others together weigh less, or from this expected accuracy on (.95, in units of 2^-16) if
# nobody weighs as much; one in this many of such questions goes to the whole committee all the same.
GATE_MEAN: Final = 62_259
GATE_CHECK: Final = 8
# A lead below this many thousandths of all support is worth asking more, up to so many further seats: two more votes of the
# mean weight overturn a lead of a fifth among three or four.
MARGIN_THIN: Final = 200
EXTRA_SEATS_MAX: Final = 2
# Free text is judged if so many members have a preference: one alone would decide by its own taste.
JUDGES_MIN: Final = 2
# Longest wait for judgements: a small model on an old processor reads two pages in this time. With less than the least left
# before the deadline nobody is asked.
JUDGE_MS_MAX: Final = 20_000
JUDGE_MS_MIN: Final = 1_000
# A judgement is a word; a model may be asked twice, in either order.
JUDGE_TOKENS_MAX: Final = 16
# Judgements under one award: every pair of the texts of a committee, for a member that wrote none.
JUDGEMENTS_MAX: Final = 3
# Revisions of a question: what members can learn of each other they learn at once, and each costs every member's time.
REFINE_MAX: Final = 3
# Others' answers that a member is shown, all but its own, each cut to this size: together they fit an envelope.
REFINE_ANSWERS_MAX: Final = 4
REFINE_TEXT_SIZE_MAX: Final = 8_192
# Sealed answers that an executor keeps until their tasks are over, opened ones too: a second set is told from the first.
COMMITMENTS_MAX: Final = 1_024
DEADLINE_MS_DEFAULT: Final = 60_000
DEADLINE_MS_MAX: Final = 110_000
LEASES_MAX: Final = 64
TASKS_MAX: Final = 256

# --- Plans (specs/09-plans.md)
# Planners of a question, and the most that may be asked for: each costs an inference and, where it differs, a plan's steps.
PLANNERS_DEFAULT: Final = 3
PLANNERS_MAX: Final = 5
# What a small model still writes without a slip; each step costs a committee, and each after another costs time.
PLAN_STEPS_MAX: Final = 8
PLAN_DEPTH_MAX: Final = 6
PLAN_STEP_SIZE_MAX: Final = 512
# The longest list of which an item can be named.
PLAN_ITEM_MAX: Final = 99
# Tokens of all plans of a question together, as the executors say: as many as the longest answer that a skill may ask for, for
# each seat that may be awarded. A plan whose next step could go beyond it fails.
PLAN_TOKENS_MAX: Final = 65_536

# --- Evidence and audits (specs/06-ledger.md)
# Known-answer questions a peer gets in a skill before its weight counts as settled: ten separate .9 from .3 almost surely.
AUDITS_TARGET: Final = 10
# A request waits at most this long while candidates in its skill are audited, then goes out with what there is.
CALIBRATION_MS_MAX: Final = 1_500
AUDITS_AT_ONCE_MAX: Final = 2
# Audits that are committed together: opened, with every answer as long as it may be, they fit one entry of the ledger.
AUDIT_BATCH_MAX: Final = 5
# Peers of a skill that a node calibrates and works with: some for each seat to be busy or gone, and few enough to be audited
# within the first questions.
PANEL_SIZE: Final = 8
# Of so many questions one is followed by an audit, at a moment within the given time that is drawn by lot: enough to notice
# within weeks of use who has changed, at a tenth of the cost. That many audits of a skill are committed ahead, so that the date
# of their entry says nothing about when they are asked.
AUDIT_EVERY: Final = 10
CROSS_CHECK_MS_MAX: Final = 10_000
CROSS_CHECKS_AHEAD: Final = 4
# A peer that did not bid on its own audit, was busy or went away is left alone for this long.
AUDIT_PAUSE_MS: Final = 60_000
# (peer, skill) pairs whose evidence is kept; beyond it the pair with the least goes.
EVIDENCE_MAX: Final = 4_096
# Audits of each (peer, skill) whose wrong answers are kept: enough to tell who repeats another, and not so many that the
# ordinary likeness of models tells as much.
AUDIT_RECORDS_MAX: Final = 64
# Mistakes coincide beyond chance if chance would do it once in this many times, over all pairs that were looked at. Few audits
# are shared, so each coincidence must tell; two who are joined in error lose nothing in an answer that only one of them gives.
CLUSTER_DOUBT: Final = 100
# Strength of the prior in observations, and the scale of evidence counts (1.0 = 256).
PRIOR_STRENGTH: Final = 2
EVIDENCE_ONE: Final = 256
# A weight counts in full only from this many hits on: by one alone a guesser would already weigh a quarter of the most.
PROBATION: Final = 5
# Ledger entries that are named for the evidence of one (peer, skill): the latest batches say what the older ones said.
CITATIONS_MAX: Final = 8
# Evidence halves in thirty days: hardware and models change, skills do not overnight.
EVIDENCE_HALF_LIFE_DAYS: Final = 30
EVIDENCE_DAYS_MAX: Final = 180
# Weights are log2 ratios scaled by 2^16. The cap bounds what a sleeper can do once: about the weight of p = .99 at K = 10.
WEIGHT_ONE: Final = 65_536
WEIGHT_MAX: Final = 10 * WEIGHT_ONE

# --- Ledger (specs/06-ledger.md)
# Two entries with one number must fit a proof of that, hence an envelope.
ENTRY_SIZE_MAX: Final = 28_672
# Twice the kinds that there are, so that a snapshot can count those of a later version.
ENTRY_KINDS_MAX: Final = 16
# A statement of succession: four keys and three signatures, twice over. The first entry holds one beside its own fields.
SUCCESSION_SIZE_MAX: Final = 1_024
# Keys that another one followed, of those that had evidence or a fault here: a quarter of what evidence is kept of.
SUCCESSIONS_MAX: Final = 1_024
START_SIZE_MAX: Final = 2_048
# Leaves of one batch of audits, and batches that were committed and not opened yet: a node audits far fewer at once, and
# what nobody opens must not be restated for ever.
BATCH_LEAVES_MAX: Final = 64
OPEN_BATCHES_MAX: Final = 64
# A follower begins at a snapshot: a thousand entries are verified in a tenth of a second.
SNAPSHOT_EVERY: Final = 1_024
# Own entries that are kept, some 40 MB: weeks of a busy node. Beyond it the older half goes, up to a snapshot.
LEDGER_ENTRIES_MAX: Final = 131_072
# Entries that wait while a node does not know yet whether others hold later ones of its own.
LEDGER_WAITING_MAX: Final = 256
# After a restart a node writes no entry before it has been connected this long: whoever holds later entries of its own says so
# at once. While somebody claims that, it waits for them, but a claim alone holds it up no longer than the other.
LEDGER_RESTORE_WAIT_MS: Final = 3_000
LEDGER_RESTORE_MS_MAX: Final = 30_000
# Authors whose ledger is kept, all that one message of heads can name beside the sender's own; what is kept of one, hours of a
# busy node and weeks of an idle one, and of all together.
HEADS_MAX: Final = 64
FOLLOWED_MAX: Final = 63
FOLLOWED_ENTRIES_MAX: Final = 16_384
FOLLOWED_BYTES_MAX: Final = 4_194_304
FOLLOWED_BYTES_TOTAL_MAX: Final = 67_108_864
# A head is told to all peers, so seldom: evidence is not in a hurry. What one peer may tell, and ask for, beyond which it is
# not heard: entries of the size of a beacon's come ten thousand at once, then a thousand a second.
HEADS_EACH_MS: Final = 5_000
# Peers that connect within this time are told with one signature: where all join at once, each node meets dozens of them. Short
# beside what a restarted node waits for.
HEADS_DELAY_MS: Final = 250
# A peer may not have heard it: while a clock is off, nothing is. Once more after a minute, and then ever more seldom.
HEADS_AGAIN_MS_MIN: Final = 60_000
HEADS_AGAIN_MS_MAX: Final = 3_600_000
HEADS_MS: Final = 1_000
HEADS_BURST: Final = 16
PULL_COUNT_MAX: Final = 128
PULL_SIZE_MAX: Final = 61_440
PULL_MS: Final = 100
PULLS_BURST: Final = 128
# Pulls of one author, and of all: checking the signatures of one takes 15 ms, so an author gets three hundredths of a core and
# all together a sixth. Less than the other side allows, so that an honest follower is never refused.
FOLLOW_AUTHOR_MS: Final = 500
FOLLOW_AUTHOR_BURST: Final = 96
FOLLOW_MS: Final = 100
FOLLOW_BURST: Final = 128
# Whoever had to wait is looked at again after this; a pull that is not answered is sent again, so often.
FOLLOW_LOOK_MS: Final = 500
# While another one gives an author's entries the author itself is not asked, but for no longer than this: who gives them may be
# slow, or want nobody to have them.
FOLLOW_PATIENCE_MS: Final = 2_000
PULL_MS_MAX: Final = 5_000
PULL_TRIES_MAX: Final = 3

# --- Imported evidence (specs/06-ledger.md)
# Own observations, two thirds of them alike, that make a (peer, skill) clear enough to judge an author by.
TRUST_OWN_MIN: Final = 3
# Judged pairs beyond this count in proportion: the bound hardly rises any more, and stays a sum of few terms.
TRUST_PAIRS_MAX: Final = 32
# Trust in units of 1 / 256, a lower bound that holds in 19 of 20 cases.
TRUST_ONE: Final = 256
TRUST_RISK: Final = 20
# What a network's auditors have before they are judged: as if they had agreed on so many strong and so many weak pairs.
AUDITOR_PAIRS: Final = 8
# Observations that all authors together, and one of them, add to a (peer, skill): fewer than one's own audits, of which there
# are ten. Others' audits may settle what one's own began, and cannot outvote them.
IMPORT_MAX: Final = 5
IMPORT_AUTHOR_MAX: Final = 3
# Authors whose audits are kept, pairs of each and days of a pair: 131,072 rows of three counts at the worst.
IMPORT_AUTHORS_MAX: Final = 64
IMPORT_PAIRS_MAX: Final = 128
IMPORT_DAYS_MAX: Final = 16
# Tasks of each whose audits were counted, which count once: as many as the entries that are kept of it can show.
IMPORT_TASKS_MAX: Final = 4_096

# --- Receipts of tasks (specs/11-receipt.md)
# A receipt of the largest step has 1.3 MB: 256 bids, 16 awards with the longest question, 16 of the longest texts. Plans have
# several steps. What is larger is not made; a decoder holds some sixty times as much of the worst made-up file.
RECEIPT_SIZE_MAX: Final = 4_194_304
# Steps of all plans of a task.
RECEIPT_STEPS_MAX: Final = 256
# Envelopes of one step: a bid and its acknowledgement of each bidder, and what each award can bring in every round.
TRANSCRIPT_MAX: Final = 2_048
# What only the requester saw of a step: of each bidder that it went, of each lease that it ran out.
NOTES_MAX: Final = 288

# --- Faults that anyone can check (specs/11-receipt.md)
# One part of a proof: the largest award, or a view of all bids that a beacon may have; and a proof fits an envelope.
FAULT_SIZE_MAX: Final = 61_440
# Proofs against peers that were never met here and have no evidence: such a key is worth no more than a fresh one, which costs
# nothing, so these alone are bounded, to 16 MB. All others are kept for ever.
FAULTS_OTHERS_MAX: Final = 256
# Proofs of one author that are heard: they are rare, and each costs five signatures.
FAULT_MS: Final = 2_000
FAULTS_BURST: Final = 32
# Proofs handed to a peer that connects, those about who is known first: gossip brings only what is found while one is there.
FAULTS_SHARED_MAX: Final = 16
# So much later a node tells so many peers, drawn by lot, what it learned: of a few who did not hear of it, hardly one is left.
FAULT_AGAIN_MS: Final = 30_000
FAULT_TOLD_AGAIN: Final = 8
# Proofs that the mesh remembers to have passed on: another node's envelope around one of them says nothing new.
GATE_FAULTS_MAX: Final = 1_024

assert CLOCK_SKEW_MS_MAX < LIFETIME_MS_MAX
assert AUDITS_TARGET <= AUDIT_RECORDS_MAX
assert DEADLINE_MS_DEFAULT <= DEADLINE_MS_MAX < LIFETIME_MS_MAX
assert LEASE_MS_MIN <= LEASE_MS < DEADLINE_MS_DEFAULT
assert WINDOW_MS_MIN < WINDOW_MS_MAX < DEADLINE_MS_DEFAULT
assert RECORD_FRESH_MS < CLOCK_SKEW_MS_MAX
assert RECORD_REFRESH_MS * 3 <= RECORD_LIFETIME_MS_MAX
assert QUESTION_SIZE_MAX + 4_096 <= ENVELOPE_SIZE_MAX
assert TEXT_SIZE_MAX + 4_096 <= ENVELOPE_SIZE_MAX
assert SEEKS_BURST * RECORDS_SHARED_MAX <= STRANGERS_PER_SOURCE_MAX
assert RECORDS_SHARED_MAX * STRANGER_MS <= SEEK_MS
assert JOIN_MS < CALIBRATION_MS_MAX
assert PEERS_SAVED_MAX + STRANGERS_GOSSIPED_MAX < PEERS_MAX
assert DIAL_BACKOFF_MS_MIN < DIAL_BACKOFF_MS_MAX < DIAL_BACKOFF_GONE_MS_MAX
assert CONNECTIONS_SOON < DIALS_PER_SOURCE_MAX < DIALS_AT_ONCE_MAX <= CONNECTIONS_TARGET
assert DIAL_DELAY_MS < DIAL_SLOW_MS < CALM_MS
assert CONNECTIONS_TARGET < CONNECTIONS_AGAIN_MAX
assert RECORD_MS < RECORD_REFRESH_MS
assert TASKS_MAX <= BEACONS_BURST <= BIDS_OPEN_MAX
assert BEACONS_SPARE < BEACONS_BURST
assert BEACON_MS < BEACON_SHARE_MS
assert BEACON_SHARE_BURST < BEACONS_BURST <= UNKNOWN_BEACONS_BURST
assert SEATS_DEFAULT < AWARDS_MAX
assert PLANNERS_DEFAULT <= PLANNERS_MAX < SEATS_MAX
assert PLAN_DEPTH_MAX <= PLAN_STEPS_MAX
assert PLAN_STEP_SIZE_MAX <= ANSWER_SIZE_MAX <= QUESTION_SIZE_MAX
assert PLAN_TOKENS_MAX == AWARDS_MAX * TOKENS_MAX
assert LEASES_MAX < COMMITMENTS_MAX
assert STRAGGLE_MS < REVEAL_MS_MAX
assert JUDGES_MIN <= SEATS_DEFAULT
assert JUDGE_MS_MIN < JUDGE_MS_MAX < DEADLINE_MS_DEFAULT
assert SEATS_DEFAULT * (SEATS_DEFAULT - 1) <= 2 * JUDGEMENTS_MAX
assert SEATS_DEFAULT + EXTRA_SEATS_MAX <= REFINE_ANSWERS_MAX + 1
assert REFINE_MAX + 3 <= ROUNDS_MAX
assert REFINE_ANSWERS_MAX * REFINE_TEXT_SIZE_MAX + 4_096 <= ENVELOPE_SIZE_MAX
assert 2 * TEXT_SIZE_MAX + 4_096 <= ENVELOPE_SIZE_MAX
assert SEATS_DEFAULT + EXTRA_SEATS_MAX <= AWARDS_MAX <= SEATS_MAX
assert REVEAL_MS_MAX * REVEAL_SHARE < DEADLINE_MS_DEFAULT
assert DEADLINE_MS_MAX * PROGRESS_SHARE <= LEASE_MS_MIN * PROGRESS_MAX
assert TOKENS_GENERAL <= TOKENS_MAX
assert 2 * ENTRY_SIZE_MAX <= PULL_SIZE_MAX
assert PULL_SIZE_MAX + 4_096 <= ENVELOPE_SIZE_MAX
assert SUCCESSION_SIZE_MAX < START_SIZE_MAX < ENTRY_SIZE_MAX
assert 2 * SNAPSHOT_EVERY < LEDGER_ENTRIES_MAX
assert AUDIT_BATCH_MAX * SEATS_DEFAULT * (ANSWER_SIZE_MAX + 768) <= ENTRY_SIZE_MAX
assert CROSS_CHECKS_AHEAD <= AUDIT_BATCH_MAX <= BATCH_LEAVES_MAX
assert SEATS_DEFAULT < PANEL_SIZE
assert PROBATION <= AUDITS_TARGET
assert IMPORT_AUTHOR_MAX <= IMPORT_MAX < AUDITS_TARGET
assert TRUST_OWN_MIN <= PROBATION
assert FOLLOWED_MAX < HEADS_MAX
assert 2 * SNAPSHOT_EVERY < FOLLOWED_ENTRIES_MAX
assert ENTRY_SIZE_MAX < FOLLOWED_BYTES_MAX < FOLLOWED_BYTES_TOTAL_MAX
assert PULL_MS < FOLLOW_AUTHOR_MS
assert FOLLOW_AUTHOR_BURST < PULLS_BURST
assert FOLLOW_LOOK_MS < FOLLOW_PATIENCE_MS < PULL_MS_MAX
assert HEADS_DELAY_MS < HEADS_EACH_MS
assert 10 * HEADS_DELAY_MS < LEDGER_RESTORE_WAIT_MS
assert LEDGER_RESTORE_WAIT_MS < PULL_MS_MAX * PULL_TRIES_MAX < LEDGER_RESTORE_MS_MAX
assert FAULT_SIZE_MAX + 4_096 <= ENVELOPE_SIZE_MAX
assert FAULTS_SHARED_MAX <= FAULTS_BURST
assert FAULT_MS < FAULT_AGAIN_MS
assert BIDS_MAX + 2 * AWARDS_MAX <= NOTES_MAX
assert 2 * BIDS_MAX + 8 * AWARDS_MAX * ROUNDS_MAX <= TRANSCRIPT_MAX
assert 2 * AWARDS_MAX * (QUESTION_SIZE_MAX + TEXT_SIZE_MAX) < RECEIPT_SIZE_MAX
