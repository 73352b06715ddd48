"""The specs say what the code does: their tables, codes and examples are compared with it."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from node.limits import Limits, Rate
from protocol import canonical, constants, evidence, faults, gossip, receipt
from protocol.allocation import ReceivedBid, View, _draw, _score, allocate
from protocol.answers import answer_of, canonical_answer
from protocol.capability import Record
from protocol.envelope import DOMAIN, check_for, check_fresh, envelope_id, open_envelope, seal
from protocol.errors import RemoteProtocolError
from protocol.evidence import Counts
from protocol.faults import Fault
from protocol.genesis import Genesis
from protocol.identity import KeySigner, peer_id
from protocol.ledger import KINDS
from protocol.ledger_messages import LEDGER
from protocol.messages import DIRECT, Accept, Beacon, Bid, input_hash
from protocol.outcome import OutcomeKind
from protocol.parameters import preset
from protocol.receipt import Receipt, StepReceipt
from protocol.schema import Message, Rule
from protocol.sealing import commitment
from protocol.seats import SEAT, SeatState
from protocol.seek import Seek
from protocol.step import StepId
from protocol.succession import Succession
from protocol.vote import tie_break

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "specs"
NUMBERED = sorted(SPECS.glob("[0-9][0-9]-*.md"))
STEP = ("task", "plan", "step")
LIMITS = {name: getattr(constants, name) for name in vars(constants) if name.isupper()}
MESSAGES: list[tuple[str, type[Message]]] = [
    ("05-capability.md", Record),
    ("05-capability.md", Seek),
    ("07-beacon.md", Beacon),
    *(("06-ledger.md", kind) for kind in LEDGER.values()),
    *(("07-beacon.md", DIRECT[name]) for name in ("bid", "bid_ack", "award")),
    ("11-receipt.md", Fault),
    *(
        ("08-execution.md", DIRECT[name])
        for name in (
            "accept",
            "progress",
            "decline",
            "cancel",
            "commit",
            "commit_set",
            "reveal",
            "judge",
            "judgement",
            "refine",
        )
    ),
]


def text_of(name: str) -> str:
    return (SPECS / name).read_text(encoding="utf-8")


def tables(text: str) -> list[list[list[str]]]:
    """Each Markdown table as rows of cells, the header first, without backticks."""
    found: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            cells = [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not set("".join(cells)) <= set("-"):
                found[-1].append(cells)
        inside = line.startswith("|")
    return found


def table(name: str, *header: str) -> list[list[str]]:
    (rows,) = (found[1:] for found in tables(text_of(name)) if found[0] == list(header))
    return rows


def section(name: str, title: str) -> str:
    """What stands under a heading, up to the next one."""
    match = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text_of(name), re.MULTILINE | re.DOTALL)
    assert match is not None, f"{name} has no section {title}"
    return match.group(1)


def blocks(name: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL)


def example(name: str) -> dict[str, str]:
    """The `name = value` lines of the examples of a spec; an indented line goes on with the value above it."""
    values: dict[str, str] = {}
    last = ""
    for line in "".join(blocks(name, "text")).splitlines():
        if line.startswith(" "):
            values[last] += line.strip()
        else:
            last, _, value = (part.strip() for part in line.partition("="))
            values[last] = value
    return values


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


# --- The documents among themselves


def test_index__names_every_document_once() -> None:
    linked = re.findall(r"^\| \[(.+?)\]\((.+?)\)", text_of("README.md"), re.MULTILINE)
    assert linked == [(path.name, path.name) for path in NUMBERED]


def test_references__name_documents_and_limits_that_exist() -> None:
    names = {path.name for path in NUMBERED}
    for path in SPECS.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\b\d\d-[a-z]+\.md", text)) <= names, path.name
        own = set(re.findall(r"^\| `\w+\.([A-Z_]+)`", text, re.MULTILINE))
        words = set(re.findall(r"(?<![.\w])[A-Z]+(?:_[A-Z]+)+\b", text))
        assert words <= LIMITS.keys() | own, path.name


def test_threats__name_tests_that_exist() -> None:
    rows = table("10-network.md", "attack", "defence", "what remains", "test")
    assert all(remains for _, _, remains, _ in rows)
    assert [test for *_, test in rows if not (ROOT / test).is_file()] == []


def test_code__cites_documents_that_exist() -> None:
    names = {path.name for path in NUMBERED}
    cited = {
        name for path in sources("protocol", "node", "simnet") for name in re.findall(r"specs/([\w.-]+\.md)", path.read_text())
    }
    assert cited
    assert cited <= names | {"README.md"}


# --- Limits


def test_limits__are_those_of_the_code() -> None:
    rows = table("00-conventions.md", "name", "value", "unit", "reason")
    assert {row[0]: int(row[1]) for row in rows} == LIMITS
    assert len(rows) == len(LIMITS)
    assert all(unit and reason for _, _, unit, reason in rows)


def test_limits__relations_are_the_asserts_of_the_code() -> None:
    asserted = [
        node.test for node in ast.parse((ROOT / "protocol/constants.py").read_text()).body if isinstance(node, ast.Assert)
    ]
    (relations,) = blocks("00-conventions.md", "relations")
    assert [ast.unparse(ast.parse(line, mode="eval").body) for line in relations.splitlines()] == [
        ast.unparse(test).replace("4_096", "4096") for test in asserted
    ]


def test_transport_limits__are_those_of_the_node() -> None:
    rows = table("04-transport.md", "name", "value", "bounds")
    assert rows
    for name, value, _ in rows:
        module, _, limit = name.partition(".")
        assert getattr(importlib.import_module(f"node.{module}"), limit) == int(value), name


def test_limits_of_peers_and_addresses__are_the_defaults_of_the_node() -> None:
    limits, header = Limits(), ("limit", "value", "at once", "beyond it")
    listed = {name: (int(value), int(burst or 0)) for name, value, burst, _ in table("04-transport.md", *header)}
    held = {
        field.name: (value.per_s, value.burst) if isinstance(value, Rate) else (value, 0)
        for field in dataclasses.fields(limits)
        if not isinstance(value := getattr(limits, field.name), bool)
    }
    assert listed == held


def test_transport_protocols__are_those_of_the_node() -> None:
    stack = importlib.import_module("node.libp2p_stack")
    rows = dict(table("04-transport.md", "layer", "protocol"))
    network = preset("dev").network
    cells = {layer: cell.replace("<n>", network.hex()[:16]) for layer, cell in rows.items()}
    listed = {layer: re.findall(r"/[\w./]+[\d\w]", cell) for layer, cell in cells.items()}
    assert listed["security"] == [stack.NOISE_PROTOCOL]
    assert listed["multiplexer"] == [stack.YAMUX_PROTOCOL]
    assert listed["channel"] == [stack.channel_protocol(network)]
    assert listed["gossip"] == list(importlib.import_module("node.libp2p_mesh").PROTOCOLS)


# --- Codes and domains


def raised_codes() -> set[str]:
    codes = set()
    for path in sources("protocol"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == RemoteProtocolError.__name__:
                code = node.args[0]
                assert isinstance(code, ast.Constant), f"{path.name}: a code that is no literal cannot be documented"
                codes.add(str(code.value))
    return codes


def test_codes__of_the_specs_are_those_of_the_code() -> None:
    tagged: dict[str, set[str]] = {}
    for path in NUMBERED:
        for code in re.findall(r"\[(?:REJECT|IGNORE):\s+(\w+)\]", path.read_text(encoding="utf-8")):
            tagged.setdefault(code, set()).add(path.name)
    assert set(tagged) == raised_codes()
    index = {row[0]: set(row[2].split(", ")) for row in table("00-conventions.md", "code", "what was wrong", "document")}
    assert set(index) == raised_codes()
    for code, names in index.items():
        assert names <= tagged[code], code


def test_ignore_tags__are_the_codes_that_a_gossip_validator_ignores() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in NUMBERED)
    ignored = set(re.findall(r"\[IGNORE:\s+(\w+)\]", everything))
    assert ignored == gossip._IGNORED
    assert not ignored & set(re.findall(r"\[REJECT:\s+(\w+)\]", everything))


def test_domains__of_the_specs_are_those_of_the_code() -> None:
    pattern = r"b\"(tutti/\w+/\d+)\\x00\""
    used = {domain for path in sources("protocol") for domain in re.findall(pattern, path.read_text())}
    rows = table("00-conventions.md", "domain", "hashed or signed", "document")
    assert {row[0].split("`")[0] for row in rows} == used
    for cell, _, name in rows:
        assert cell.split("`")[0] in text_of(name)


# --- Messages


# Values at the border that a rule of a field table allows, and values just outside.
Samples: TypeAlias = tuple[list[object], list[object]]


def bytes_samples(size: str) -> Samples:
    count = int(size)
    return [bytes(count)], [bytes(count - 1), bytes(count + 1), "x" * count, None]


def integer_samples(low: str, high: str) -> Samples:
    return [int(low), int(high)], [int(low) - 1, int(high) + 1, True, low, None]


def string_samples(low: str, high: str) -> Samples:
    least, most = int(low), int(high)
    short = ["x" * (least - 1)] if least else []
    return ["x" * least, "x" * most, "é" * (most // 2)], [*short, "x" * (most + 1), "é" * (most // 2 + 1), b"x" * most, None]


def boolean_samples() -> Samples:
    return [True, False], [0, 1, None]


def choice_samples(choices: str) -> Samples:
    return list(choices.split(", ")), ["", "other", None, 0]


def list_samples(count: str, rule: str) -> Samples:
    good, bad = samples(rule)
    full = (good[0],) * int(count)
    return [(), full], [(*full, good[0]), *((item,) for item in bad), None]


def row_samples(rules: str) -> Samples:
    parts = [samples(rule) for rule in rules.split(", ")]
    full = tuple(good[0] for good, _ in parts)
    wrong = [(*full[:place], item, *full[place + 1 :]) for place, (_, bad) in enumerate(parts) for item in bad]
    return [full], [full[:-1], (*full, full[0]), *wrong, list(full), None]


def optional_samples(rule: str) -> Samples:
    good, bad = samples(rule)
    return [*good, None], [item for item in bad if item is not None]


def map_samples(count: str, key_rule: str, value_rule: str) -> Samples:
    (keys, bad_keys), (good, bad) = samples(key_rule), samples(value_rule)
    full = {f"{number:x}": good[0] for number in range(int(count))}
    wrong = [{key: good[0]} for key in bad_keys] + [{keys[0]: item} for item in bad]
    return [{}, full], [full | {"more": good[0]}, *wrong, None]


def blob_samples(low: str, high: str) -> Samples:
    least, most = int(low), int(high)
    return [bytes(least), bytes(most)], [*([bytes(least - 1)] if least else []), bytes(most + 1), "x" * most, None]


RULE_FORMS: dict[str, Callable[..., Samples]] = {
    r"(\d+) bytes": bytes_samples,
    r"bytes (\d+)\.\.(\d+)": blob_samples,
    r"integer (\d+)\.\.(\d+)": integer_samples,
    r"string (\d+)\.\.(\d+)": string_samples,
    r"boolean": boolean_samples,
    r"one of (.+)": choice_samples,
    r"list of at most (\d+) of (.+)": list_samples,
    r"\[(.+)\]": row_samples,
    r"(.+) or null": optional_samples,
    r"map of at most (\d+) from (string .+) to (.+)": map_samples,
}


def samples(rule: str) -> Samples:
    for name in sorted(LIMITS, key=len, reverse=True):
        rule = re.sub(rf"\b{name}\b", str(LIMITS[name]), rule)
    rule = re.sub(r"(\d+) - 1\b", lambda match: str(int(match[1]) - 1), rule)
    (found,) = ((make, match) for form, make in RULE_FORMS.items() if (match := re.fullmatch(form, rule)))
    make, match = found
    return make(*match.groups())


@pytest.mark.parametrize(("name", "kind"), MESSAGES, ids=lambda value: getattr(value, "TYPE", value))
def test_message__has_the_fields_and_rules_of_its_spec(name: str, kind: type[Message]) -> None:
    titles = re.findall(r"^##+ (Messages? `.+)$", text_of(name), re.MULTILINE)
    (title,) = (title for title in titles if f"`{kind.TYPE}`" in title)
    (found,) = tables(section(name, title))
    rows = list(found[1:])
    if kind in (Beacon, *DIRECT.values()):
        (step,) = tables(section("07-beacon.md", "Messages"))
        rows = step[1:] + rows
        assert tuple(row[0] for row in rows[:3]) == STEP
    assert found[0] == ["field", "rule", "meaning"]
    assert tuple(row[0] for row in rows) == tuple(kind.RULES)
    for field, described, _ in rows:
        rule: Rule = kind.RULES[field]
        good, bad = samples(described)
        assert [value for value in good if rule(value) is not None] == [], field
        assert [value for value in bad if rule(value) is None] == [], field


def test_messages__are_all_specified() -> None:
    assert {kind.TYPE for _, kind in MESSAGES} == {Record.TYPE, Seek.TYPE, Beacon.TYPE, Fault.TYPE, *DIRECT, *LEDGER}
    listed = {word for row in table("03-envelope.md", "type", "to", "document") for word in re.findall(r"\w+", row[0])}
    assert listed == {kind.TYPE for _, kind in MESSAGES}


def test_statement_of_succession__has_the_fields_and_rules_of_its_spec() -> None:
    ((header, *rows),) = tables(section("06-ledger.md", "Succession"))
    assert header == ["field", "rule", "meaning"]
    assert tuple(field for field, _, _ in rows) == tuple(Succession.RULES)
    for field, described, _ in rows:
        good, bad = samples(described)
        assert all(Succession.RULES[field](value) is None for value in good), field
        assert all(Succession.RULES[field](value) is not None for value in bad), field


def test_kinds_of_entries__are_those_of_the_code() -> None:
    rows = table("06-ledger.md", "kind", "field", "rule", "meaning")
    assert [(kind, field) for kind, field, _, _ in rows] == [(kind, field) for kind, rules in KINDS.items() for field in rules]
    for kind, field, described, _ in rows:
        rule = KINDS[kind][field]
        good, bad = samples(described)
        assert [value for value in good if rule(value) is not None] == [], field
        assert [value for value in bad if rule(value) is None] == [], field


# --- Tables of states and outcomes


def test_seat_table__is_that_of_the_code() -> None:
    (found,) = (rows for rows in tables(text_of("08-execution.md")) if rows[0][0] == "state")
    events = found[0][1:]
    cells = {(row[0], event): to for row in found[1:] for event, to in zip(events, row[1:], strict=True) if to}
    assert cells == {(state.value, event): to.value for (state, event), to in SEAT.items()}
    assert [row[0] for row in found[1:]] == [state.value for state in SeatState]


def test_receipt__has_the_fields_of_its_spec() -> None:
    found = [row[0] for rows in tables(text_of("11-receipt.md")) if rows[0] == ["field", "form", "meaning"] for row in rows[1:]]
    names = [name for cell in found for name in re.findall(r"\w+", cell)]
    assert names == [*Receipt.RULES, *StepReceipt.RULES]


def test_notes__are_those_of_the_code() -> None:
    assert [row[0] for row in table("11-receipt.md", "event", "subject", "what happened")] == list(receipt.NOTES)


def test_fault_kinds__are_those_of_the_code() -> None:
    rows = table("11-receipt.md", "kind", "parts", "holds if")
    assert [(kind, tuple(parts.split(", "))) for kind, parts, _ in rows] == [
        (kind, faults.KINDS[kind].parts) for kind in faults.KINDS
    ]


def test_outcomes__are_those_of_the_code() -> None:
    rows = table("08-execution.md", "outcome", "when")
    assert sorted(row[0] for row in rows) == sorted(kind.value for kind in OutcomeKind)


def test_skills__are_those_of_the_presets() -> None:
    rows = {row[0]: tuple(row[1:]) for row in table("05-capability.md", "skill", "answer", "K", "tokens_max")}
    del rows["general"]
    for name in ("dev", "local"):
        skills = preset(name).skills
        assert rows == {skill: (rule.answer, str(rule.options), str(rule.tokens_max)) for skill, rule in skills.items()}


# --- Examples


def test_identity_example__holds() -> None:
    values = example("01-identity.md")
    key = KeySigner(bytes.fromhex(values["seed"])).public_key
    assert key.hex() == values["public_key"]
    assert peer_id(key) == values["peer_id"]


def parsed(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON with bytes written as hex(..)."""
    if isinstance(value, list):
        return [parsed(item) for item in value]
    if isinstance(value, dict):
        return {key: parsed(item) for key, item in value.items()}
    match = re.fullmatch(r"hex\((\w*)\)", value) if isinstance(value, str) else None
    return bytes.fromhex(match[1]) if match else value


def test_encoding_examples__hold() -> None:
    (lines,) = blocks("02-encoding.md", "encoding")
    for line in lines.splitlines():
        value, _, encoded = line.rpartition(" ")
        assert canonical.encode(parsed(json.loads(value))).hex() == encoded
        assert canonical.decode(bytes.fromhex(encoded)) == parsed(json.loads(value))


def test_encoding_refusals__hold() -> None:
    (lines,) = blocks("02-encoding.md", "refused")
    for line in lines.splitlines():
        with pytest.raises(RemoteProtocolError) as caught:
            canonical.decode(bytes.fromhex(line))
        assert caught.value.code == "encoding", line


def test_network_example__is_the_genesis_of_dev() -> None:
    values = example("10-network.md")
    genesis = Genesis(values["name"], bytes.fromhex(values["founder"]), bytes.fromhex(values["nonce"]))
    assert genesis.network.hex() == values["network"]
    assert preset("dev").genesis == genesis


def test_envelope_example__is_what_the_code_seals_and_opens() -> None:
    values = example("03-envelope.md")
    signer = KeySigner(bytes.fromhex(values["seed"]))
    network, to = bytes.fromhex(values["network"]), bytes.fromhex(values["to"])
    message = Accept(bytes(range(16)), 0, 0, bytes(range(32)))
    issued_ms, expires_ms = int(values["issued_ms"]), int(values["expires_ms"])
    data = seal(signer, network, message.TYPE, to, message.body(), issued_ms, expires_ms - issued_ms)
    assert network == preset("dev").network
    assert data == bytes.fromhex(values["signature"] + values["payload"])
    assert envelope_id(data).hex() == values["id"]
    opened = open_envelope(data)
    check_for(opened, network, frozenset((to,)))
    check_fresh(opened, issued_ms)
    assert Accept.parse(opened.body) == message
    assert hashlib.sha256(DOMAIN + bytes.fromhex(values["payload"])).hexdigest() == values["id"]


def test_weight_example__follows_the_steps_of_the_spec() -> None:
    """The steps are those of the document, written again here, so that the document can be followed as it stands."""
    values = example("06-ledger.md")
    options, hits, misses = (int(values[name]) for name in ("K", "hits", "misses"))
    counts = Counts(hits * constants.EVIDENCE_ONE, misses * constants.EVIDENCE_ONE)
    prior = constants.PRIOR_STRENGTH * constants.EVIDENCE_ONE
    numerator = (counts.hits * options + prior) * (options - 1)
    denominator = counts.misses * options + prior * (options - 1)
    assert (numerator, denominator) == (int(values["n"]), int(values["d"]))
    exponent = numerator.bit_length() - denominator.bit_length()
    if numerator < denominator * 2**exponent:
        exponent -= 1
    mantissa = numerator * 2 ** (30 - exponent) // denominator
    assert (exponent, mantissa) == (int(values["e"]), int(values["x"]))
    fraction = ""
    for _ in range(16):
        mantissa = mantissa * mantissa // 2**30
        fraction += "1" if mantissa >= 2**31 else "0"
        mantissa = mantissa // 2 if mantissa >= 2**31 else mantissa
    assert fraction == values["fraction"]
    assert 65536 * exponent + int(fraction, 2) == int(values["weight"]) == counts.weight(options)
    assert counts.mean(options) == int(values["mean"])


def test_decay_table__follows_from_the_root_that_the_spec_names() -> None:
    def power(root: int) -> int:
        result = 2**32
        for _ in range(constants.EVIDENCE_HALF_LIFE_DAYS):
            result = result * root // 2**32
        return result

    (stated,) = re.findall(r"\br = (\d+)", text_of("06-ledger.md"))
    root = int(stated)
    assert power(root) <= 2**31 < power(root + 1)
    factor, entries = 2**32, []
    for _ in range(constants.EVIDENCE_DAYS_MAX):
        entries.append(factor // 2**16)
        factor = factor * root // 2**32
    assert tuple(entries) == evidence.DECAY
    shown = {name: value for name, value in example("06-ledger.md").items() if name.startswith("decay_")}
    assert {name: str(entries[int(name.removeprefix("decay_"))]) for name in shown} == shown


def test_award_example__holds() -> None:
    values = example("07-beacon.md")
    beacon, task = bytes(range(32)), bytes(range(16))
    keys = [KeySigner(bytes([number]) * 32).public_key for number in (1, 2, 3)]
    bids = [
        ReceivedBid(key, bytes([number]) * 32, Bid(task, 0, 0, beacon, 2 if number == 2 else 0, 1, 100))
        for number, key in enumerate(keys, 1)
    ]
    view = View(10, 0, {keys[0]: Counts(2304, 256), keys[1]: Counts(2560, 0)}, dict.fromkeys(keys[:2], 0))
    assert view.hash(bids).hex() == values["view"]
    assert [_draw(beacon, key).hex() for key in keys] == [values[f"draw_{number}"] for number in (1, 2, 3)]
    assert [_score(bid, view) for bid in bids[:2]] == [int(values["score_1"]), int(values["score_2"])]
    assignment = allocate(beacon, 2, bids, view)
    assert [str(1 + keys.index(bid.bidder)) for bid in assignment.seats] == values["seats"].split()
    assert [str(1 + keys.index(bid.bidder)) for bid in assignment.reserves] == values["reserves"].split()
    assert input_hash(bytes(32), "What is 2 + 2?", "number", 256).hex() == values["input_hash"]


def test_answer_examples__hold() -> None:
    (lines,) = blocks("08-execution.md", "answers")
    for line in lines.splitlines():
        kind, output, answer = line.split(" | ") if " | " in line else line.split("|")
        assert answer_of(kind.strip(), output) == (None if answer == "-" else answer), line


def test_plan_examples__hold() -> None:
    (lines,) = blocks("09-plans.md", "plans")
    for line in lines.splitlines():
        text, form = (part.replace(" / ", "\n") for part in line.split(" | "))
        assert canonical_answer("plan", text) == (None if form == "-" else form), line


def test_white_space__is_that_of_the_code() -> None:
    (listed,) = re.findall(r"White space is the characters (.+?)\.\n", text_of("08-execution.md"), re.DOTALL)
    stated: set[str] = set()
    for part in listed.split(","):
        first, *last = (int(code, 16) for code in re.findall(r"U\+([0-9A-F]{4})", part))
        stated |= set(map(chr, range(first, (last or [first])[0] + 1)))
    assert stated == {chr(code) for code in range(0x110000) if chr(code).isspace()}


def test_commitment_example__holds() -> None:
    peer = KeySigner(bytes([1]) * 32).public_key
    bound = commitment(preset("dev").network, StepId(bytes(range(16)), 0, 2), 1, peer, bytes(32), "642")
    abstained = commitment(preset("dev").network, StepId(bytes(range(16)), 0, 2), 1, peer, bytes(32), None)
    values = example("08-execution.md")
    assert (bound.hex(), abstained.hex()) == (values["commitment"], values["abstained"])


def test_tie_example__holds() -> None:
    values = example("08-execution.md")
    assert {answer: tie_break(bytes(range(16)), answer).hex() for answer in "45"} == {
        "4": values["tie_4"],
        "5": values["tie_5"],
    }
