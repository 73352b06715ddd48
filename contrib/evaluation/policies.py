"""Ways to choose executors and to count votes, side by side on what the packaged models answered.

    python -m contrib.evaluation.policies [--questions 2000] [--seed 1] [--json]

The nodes of `tutti dev`: each specialist twice, the generalist, and liars who claim to be whatever is asked for. Everyone bids
on the skills that it declares, and every policy gets the same bids and as many seats. Tutti has audited everybody ten times a
skill before; the others have what they learn on the way. Tokens are those of a question's seats; audits are listed apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from contrib.evaluation import recorded
from contrib.evaluation.figures import table
from contrib.evaluation.recorded import GENERALIST, LIAR, SPECIALISTS, VOTERS, Asked
from contrib.evaluation.voters import Auditor, key
from node.models import packaged
from protocol.allocation import ReceivedBid
from protocol.constants import AUDITS_TARGET
from protocol.messages import Bid
from protocol.vote import Vote
from simnet.policies import Finished, Policy, Random, RoundRobin, Symphony, SymphonyCoord, Tutti, Vector

SEATS = (1, 3)
LIARS = (0, 1, 4)
_TOKENS_PER_S = 400


@dataclass(frozen=True, slots=True)
class Node:
    """One node: whose recorded answers it gives, and what it declares to be good at."""

    number: int
    voter: int
    declared: Vector

    @property
    def name(self) -> bytes:
        """Its key."""
        return key(self.number)


class Network:
    """The nodes, what a requester's audits say of them, and the questions."""

    def __init__(self, questions: Sequence[Asked], pool: Sequence[Asked], liars: int) -> None:
        priors = {model.name: model.entry["declared_prior_permille"] for model in packaged()}
        names = [*SPECIALISTS, *SPECIALISTS, GENERALIST, *(liars * (LIAR,))]
        self.nodes = [
            Node(number, VOTERS.index(name), {} if name == LIAR else priors[name]) for number, name in enumerate(names)
        ]
        self.questions = questions
        self._by_name = {node.name: node for node in self.nodes}
        self._skills = {_beacon(each): each.skill for each in questions}
        auditor = Auditor(len(self.nodes), {skill: recorded.options(skill) for skill in SPECIALISTS})
        self.audit_tokens = 0
        for skill in SPECIALISTS:
            for audit in [each for each in pool if each.skill == skill][:AUDITS_TARGET]:
                takers = [node for node in self.nodes if self._offers(node, skill)]
                said = {node.number: audit.answers[node.voter] for node in takers}
                auditor.grade(skill, audit.id, audit.gold, said)
                self.audit_tokens += sum(audit.tokens[node.voter] for node in takers)
        self.views = {skill: auditor.view(skill) for skill in SPECIALISTS}

    def _offers(self, node: Node, skill: str) -> bool:
        return skill in node.declared or VOTERS[node.voter] == LIAR

    def declared(self, bidder: bytes, beacon: bytes) -> Vector:
        """What a node says of itself; a liar is what the beacon asks for."""
        return self._by_name[bidder].declared or self.required(beacon)

    def required(self, beacon: bytes) -> Vector:
        """What a beacon asks for."""
        return {self._skills[beacon]: 1.0}

    def bids(self, question: Asked) -> list[ReceivedBid]:
        """Of every node that offers the skill of a question."""
        beacon = _beacon(question)
        body = Bid(beacon[:16], 0, 0, beacon, 0, 1, _TOKENS_PER_S)
        offering = [node for node in self.nodes if self._offers(node, question.skill)]
        return [ReceivedBid(node.name, hashlib.sha256(beacon + node.name).digest(), body) for node in offering]

    def run(self, policy: Policy, seats: int) -> tuple[float, float]:
        """(accuracy, tokens a question) of a policy over all questions in order."""
        right = tokens = 0
        for each in self.questions:
            beacon, view = _beacon(each), self.views[each.skill]
            taken = [self._by_name[bid.bidder] for bid in policy.allocate(beacon, seats, self.bids(each), view).seats]
            votes = [
                Vote(
                    node.name,
                    each.answers[node.voter],
                    view.counts[node.name].weight(view.options),
                    view.clusters.get(node.name),
                )
                for node in taken
            ]
            answer = policy.vote(beacon[:16], votes).answer
            policy.learn(
                beacon,
                [
                    Finished(
                        vote.peer,
                        vote.answer is not None,
                        vote.answer is not None and vote.answer == answer,
                        1_000 * each.tokens[node.voter] // _TOKENS_PER_S,
                    )
                    for node, vote in zip(taken, votes, strict=True)
                ],
            )
            right += answer == each.gold
            tokens += sum(each.tokens[node.voter] for node in taken)
        return right / len(self.questions), tokens / len(self.questions)


def _beacon(question: Asked) -> bytes:
    return hashlib.sha256(f"beacon {question.id}".encode()).digest()


def policies(network: Network) -> dict[str, Callable[[], Policy]]:
    """A new one of each, by name."""
    return {
        "random": Random,
        "round robin": RoundRobin,
        "Symphony": lambda: Symphony(network.declared, network.required),
        "Symphony-Coord": lambda: SymphonyCoord(network.declared, network.required),
        "Tutti": Tutti,
    }


def report(questions: Sequence[Asked], pool: Sequence[Asked]) -> dict[str, Any]:
    """Everything that is printed."""
    rows = []
    networks = {liars: Network(questions, pool, liars) for liars in LIARS}
    for seats in SEATS:
        for name in policies(networks[0]):
            runs = {liars: network.run(policies(network)[name](), seats) for liars, network in networks.items()}
            rows.append(
                {
                    "policy": name,
                    "seats": seats,
                    "accuracy": {liars: round(accuracy, 4) for liars, (accuracy, _) in runs.items()},
                    "tokens": {liars: round(tokens, 1) for liars, (_, tokens) in runs.items()},
                }
            )
    return {
        "questions": len(questions),
        "audits_a_node_and_skill": AUDITS_TARGET,
        "audit_tokens": {liars: network.audit_tokens for liars, network in networks.items()},
        "rows": rows,
    }


def show(found: dict[str, Any]) -> str:
    """The report as a table."""
    head: list[tuple[object, ...]] = [("policy", "seats", *(f"{liars} liars" for liars in LIARS), "tokens a question")]
    body = [
        (row["policy"], row["seats"], *(f"{row['accuracy'][liars]:.4f}" for liars in LIARS), f"{row['tokens'][1]:.1f}")
        for row in found["rows"]
    ]
    audits = f"Tutti's audits before the first question, with one liar: {found['audit_tokens'][1]} tokens"
    return "\n".join((f"{found['questions']} questions; tokens with one liar", "", table([*head, *body]), "", audits))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m contrib.evaluation.policies", description="Policies side by side.")
    parser.add_argument("--questions", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1, help="that of tutti dev")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    found = report(recorded.of_questions(chosen.seed, chosen.questions), recorded.of_audits(chosen.seed, 100))
    print(json.dumps(found) if chosen.json else show(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
