"""`simnet report`: what a run keeps of its course changes nothing, and the page of it is whole, alone, and harmless."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.events import Effect, Infer, Send
from simnet import cli, finished, recording, report, running, toml
from simnet.finished import Run
from simnet.host import Host
from simnet.page import page
from simnet.record import Record
from simnet.running import Result
from simnet.scenario import Scenario, names
from simnet.solvers import KINDS
from simnet.world import WALL_MS, World

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["nodes=6", "duration_s=30", "settle_s=15", "workload.from_s=10", "join_s=5", "workload.askers=3"]
PARTITION = '{kind="partition", at_s=15, lasts_s=8, regions=["north-america"]}'
CRASH = '{kind="crash", at_s=12, lasts_s=9, share_permille=400}'
# Of everything that leaves a trace in the course of a run, some.
TROUBLE = [
    *SMALL,
    "nodes=8",
    f"faults=[{PARTITION}, {CRASH}]",
    'adversaries=[{policy="colluder", share_permille=250, lie_permille=500, from_s=3}]',
    "churn={median_session_s=20, median_absence_s=5, from_s=5}",
]
Output = pytest.CaptureFixture[str]


@cache
def ran() -> tuple[Result, Counter[str], Counter[int]]:
    """A recorded run with trouble, and what was seen of it by another way: effects by kind, and inferences by node."""
    effects, inferences = Counter[str](), Counter[int]()

    def watch(_: World, host: Host, effect: Effect) -> None:
        effects[type(effect).__name__] += 1
        if isinstance(effect, Send):
            effects["bytes"] += len(effect.data)
        if isinstance(effect, Infer):
            inferences[host.index] += 1

    scenario = Scenario.load("baseline").changed(TROUBLE)
    return running.run(scenario, 1, watch=watch, recorded=True), effects, inferences


def record() -> Record:
    found = ran()[0].record
    assert found is not None
    return found


@cache
def printed() -> str:
    """What `simnet run --json` prints of that run."""
    return json.dumps(report.as_json(ran()[0], report.command("baseline", 1, TROUBLE)))


def run_of(**changes: object) -> Run:
    return Run.model_validate_json(json.dumps(json.loads(printed()) | changes))


@cache
def plain_page() -> str:
    return page([run_of()])


@cache
def two_pages() -> str:
    return page([run_of(), run_of(seed=2, digest="ab" * 32)])


class Reader(HTMLParser):
    """Which elements a page has, with which attributes, and that each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str | None]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


# --- The record


def test_recorded__run_has_the_digest_of_one_that_is_not() -> None:
    scenario = Scenario.load("baseline").changed(TROUBLE)
    plain = running.run(scenario, 1)
    assert plain.record is None
    assert (plain.digest, plain.events, plain.violations) == (ran()[0].digest, ran()[0].events, ran()[0].violations)


def test_record__counts_what_was_sent_and_inferred() -> None:
    _, effects, inferences = ran()
    moments, nodes = record().moments, record().nodes
    assert sum(moments.messages) == effects["Send"]
    assert sum(moments.message_bytes) == sum(nodes.sent_bytes) == effects["bytes"]
    assert sum(moments.inferences) == effects["Infer"]
    assert nodes.inferences == tuple(inferences[index] for index in range(8))
    assert sum(moments.published) == sum(each.published for each in record().gossip) == effects["Publish"]


def test_record__knows_how_many_are_up() -> None:
    moments = record().moments
    assert min(moments.up) < 8
    assert moments.up[-1] == sum(host.up for host in ran()[0].world.hosts.values()) == 8
    assert moments.channels[-1] == sum(len(host.links) for host in ran()[0].world.hosts.values()) // 2


def test_record__has_every_delivery_of_gossip_in_a_bin() -> None:
    for each in record().gossip:
        assert sum(each.counts) == each.reached
    assert sum(each.reached for each in record().gossip) == sum(record().moments.gossip_reached) > 0
    # Half the world is cut off for a while.
    assert sum(record().moments.gossip_missed) > 0


def test_record__has_every_question_with_its_outcome() -> None:
    result, found = ran()[0], record().questions
    assert found.at_ms == tuple(asked.at_ms for asked in result.asked)
    assert dict(Counter(found.outcome)) == running.outcomes(result)
    assert sum(found.right) == report.as_json(result, "")["right"]
    assert any(margin is not None for margin in found.margin)


def test_record__believes_what_the_askers_do() -> None:
    """The last moment of each belief is computed again from the cores, by fractions."""
    result = ran()[0]
    hosts = list(result.world.hosts.values())
    askers, seen = hosts[:3], 0
    for belief in record().beliefs:
        kind, options = record().kinds[belief.kind].name, result.world.parameters.skills[belief.skill].options
        means = []
        for asker in askers:
            for host in hosts:
                counts = asker.core.counts(host.key, belief.skill, WALL_MS + belief.at_ms[-1])
                if host is not asker and host.name.startswith(f"{kind}-") and belief.skill in host.record.skills and counts.any:
                    means.append(counts.mean(options) * 1_000 // 65_536)
        assert belief.pairs[-1] == len(means)
        assert belief.mean[-1] == (sum(means) // len(means) if means else None)
        seen += len(means)
    assert seen


def test_record__knows_how_often_liars_are_right() -> None:
    found = [(each.skill, each.truth[-1]) for each in record().beliefs if record().kinds[each.kind].adversary]
    known = [(skill, truth) for skill, truth in found if truth is not None]
    assert known
    # They lie on half of what a generalist would be asked.
    assert all(truth == KINDS["generalist"].skills[skill] // 2 for skill, truth in known)


def test_record__shows_the_network_in_the_middle_of_the_first_fault() -> None:
    topology, nodes = record().topology, record().nodes
    assert 16_500 <= topology.at_ms <= 17_000
    assert not all(nodes.up)
    for one, other in zip(topology.one, topology.other, strict=True):
        assert one < other
        assert nodes.up[one]
        assert nodes.up[other]


def test_jain__is_one_for_equal_loads_and_small_for_one_that_has_all() -> None:
    assert recording.jain([7, 7, 7]) == 1_000
    assert recording.jain([9, 0, 0, 0]) == 250
    assert recording.jain([0, 0]) is None


@given(st.integers(0, 5_000), st.integers(1, 1_000))
def test_spread_out__keeps_some_evenly_and_never_more(size: int, most: int) -> None:
    kept = recording.spread_out(range(size), most)
    assert len(kept) <= most
    assert kept == list(range(0, size, max(1, -(-size // most))))


def test_record__of_a_thousand_nodes_and_half_an_hour_is_below_a_megabyte() -> None:
    """Columns as long as they may be for such a run: 60 questions a minute, twelve edges a node, ten kinds with four skills."""
    found = json.loads(printed())["record"]
    nodes = {
        "step": 1,
        "name": ["audit-spotter-999"] * 1_000,
        **{name: [0] * 1_000 for name in ("region", "kind")},
        **{name: [False] * 1_000 for name in ("reachable", "up")},
        **{name: [99_999] * 1_000 for name in ("channels", "inferences", "answers")},
        "sent_bytes": [999_999_999] * 1_000,
    }
    questions = {
        "step": 1,
        **{name: [1_799_999] * 1_800 for name in ("at_ms", "latency_ms", "messages")},
        **{name: ["answered"] * 1_800 for name in ("skill", "outcome")},
        "right": [False] * 1_800,
        "margin": [1_000] * 1_800,
    }
    counts = dict.fromkeys(("pairs_all", "answered", "right"), 9999)
    series = {name: [999] * 41 for name in ("mean", "low", "high", "truth", "pairs")}
    belief = {"kind": 0, "skill": "arith", "at_ms": [1_799_999] * 41, **counts, **series}
    moments = {name: [99_999_999] * 121 for name in found["moments"]} | {"at_ms": list(range(1_000_000, 1_000_121))}
    topology = {"at_ms": 0, "one": [999] * 12_000, "other": [999] * 12_000}
    parts = {"nodes": nodes, "questions": questions, "moments": moments, "beliefs": [belief] * 40, "topology": topology}
    largest = Record.model_validate_json(json.dumps(found | parts))
    assert len(json.dumps(largest.model_dump(mode="json"))) < 1_000_000


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("nodes", "up"), [True], "its columns have 1, 8 rows"),
        (("nodes", "region"), [99] * 8, "nodes.region names a place that is not there"),
        (("topology", "one"), None, "topology.one"),
        (("moments", "at_ms"), [5] * 200, "at most 121 items"),
        (("gossip_bounds_us",), [1], "gossip has other bins"),
        (("form",), 2, "Input should be 1"),
        (("scenario", "nodes"), 1, "greater than or equal to 2"),
    ],
)
def test_record__that_does_not_fit_is_refused_by_name(path: tuple[str, ...], value: object, said: str) -> None:
    found = json.loads(printed())["record"]
    here = found
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    with pytest.raises(ValidationError, match=re.escape(said)):
        Record.model_validate_json(json.dumps(found))


def test_run__for_a_person_is_not_recorded(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(recording.Recorder, "__init__", lambda *_: pytest.fail("recorded"))
    settings = [word for each in (*SMALL, "duration_s=11") for word in ("--set", each)]
    assert cli.main(["run", *settings]) == cli.OK
    assert "digest" in capsys.readouterr().out


# --- Scenarios as files


@pytest.mark.parametrize("name", names())
def test_document__of_a_scenario_is_that_scenario(name: str) -> None:
    scenario = Scenario.load(name)
    text = toml.document(scenario.model_dump(mode="json", exclude={"name"}))
    assert Scenario.read(tomllib.loads(text), name) == scenario


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, max_size=4))
def test_document__reads_back_as_what_was_written(fields: dict[str, Any]) -> None:
    assert tomllib.loads(toml.document(fields)) == fields


# --- The page


def test_page__loads_nothing_and_runs_nothing() -> None:
    text, read = plain_page(), Reader(plain_page())
    assert read.open == []
    tags = {tag for tag, _ in read.elements}
    assert not tags & {"script", "link", "img", "image", "iframe", "object", "embed", "base", "form", "video", "audio"}
    for _, attributes in read.elements:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", text))
    assert "default-src 'none'" in text


def test_page__has_every_part_and_each_plot_says_how_to_read_it() -> None:
    read = Reader(plain_page())
    parts = ("happened", "topology", "questions", "network", "load", "beliefs", "repeat")
    assert {f"run-1-{part}" for part in parts} <= set(read.ids())
    assert len(read.of("figure")) == len(read.of("svg")) == len(read.of("figcaption")) == 13 + len(record().beliefs)
    assert all(each["aria-label"] for each in read.of("svg"))
    run = run_of()
    for told in (
        run.repeat,
        run.digest,
        run.source,
        run.record.scenario.about,
        "partition begins",
        "colluders",
        "crashed nodes",
    ):
        assert told in read.text
    assert "[[faults]]" in read.text
    for each in record().beliefs:
        assert f"skill {each.skill}" in read.text


def test_page__refers_only_to_what_is_there_and_names_nothing_twice() -> None:
    read = Reader(two_pages())
    counts = Counter(read.ids())
    assert max(counts.values()) == 1
    targets = {attributes["href"] for _, attributes in read.elements if "href" in attributes}
    targets |= {
        f"#{name}"
        for _, attributes in read.elements
        for value in attributes.values()
        for name in re.findall(r"url\(#([^)]*)\)", value or "")
    }
    assert {target[1:] for target in targets if target} <= set(read.ids())


def test_page__of_several_runs_compares_them() -> None:
    read = Reader(two_pages())
    assert "The runs compared" in read.text
    assert "baseline, seed 1" in read.text
    assert "baseline, seed 2" in read.text
    assert {"run-1", "run-2"} <= set(read.ids())
    assert "The runs compared" not in Reader(plain_page()).text


def test_page__has_the_colours_of_the_style_sheet_alone() -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", plain_page(), re.DOTALL))
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", drawn)) <= {
        "none", *(f"var(--{name})" for name in re.findall(r"--(\w+):", plain_page())),
    }  # fmt: skip
    assert "font-family" not in drawn
    assert not re.search(r"#[0-9a-f]{6}\b", drawn)


HOSTILE = "</title></svg><script>alert(1)</script>&\"' $\\frac$\x01\u4e00"


def test_page__takes_no_text_of_a_run_for_markup() -> None:
    fields = json.loads(printed())
    kept = fields["record"]
    kept["scenario"]["about"] = HOSTILE
    kept["nodes"]["name"][0] = HOSTILE
    kept["kinds"] = [each | {"name": HOSTILE} for each in kept["kinds"]]
    kept["regions"] = [HOSTILE for _ in kept["regions"]]
    kept["gossip"] = [each | {"topic": HOSTILE} for each in kept["gossip"]]
    kept["beliefs"] = [each | {"skill": HOSTILE} for each in kept["beliefs"]]
    kept["questions"]["outcome"] = [HOSTILE for _ in kept["questions"]["outcome"]]
    violation = {"kind": "safety", "checker": HOSTILE, "at_ms": 7, "node": HOSTILE, "text": HOSTILE}
    happened = [{"at_ms": 1, "text": HOSTILE}]
    texts = dict.fromkeys(("scenario", "source", "digest", "repeat"), HOSTILE)
    changed = fields | texts | {"outcomes": {HOSTILE: 3}, "violations": [violation] * 30, "happened": happened}
    read = Reader(page([Run.model_validate_json(json.dumps(changed))]))
    assert read.open == []
    assert not read.of("script")
    assert len(read.of("svg")) == len(read.of("figure"))
    assert "20 more are in the run's file" in read.text


def test_page__of_a_run_without_questions_says_so() -> None:
    fields = json.loads(printed())
    kept = fields["record"]
    kept["questions"] = {name: 1 if name == "step" else [] for name in kept["questions"]}
    kept["gossip"] = [each | {"reached": 0, "missed": 0, "counts": [0] * len(each["counts"])} for each in kept["gossip"]]
    nothing = ("accuracy", "accuracy_interval", "messages_per_task", "bytes_per_task", "tokens_per_task")
    changed = (
        fields | dict.fromkeys(nothing) | {"outcomes": {}, "latency_ms": {"p50": None, "p99": None}, "ended": 0, "happened": []}
    )
    text = Reader(page([Run.model_validate_json(json.dumps(changed))])).text
    for said in ("Nobody asked anything.", "no question ended", "nothing was voted on", "nothing was published"):
        assert said in text


# --- The command


def test_report__of_one_run_is_the_same_page_everywhere(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(printed(), encoding="utf-8")
    code = "import sys; from simnet.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(tmp_path / "run.json"), "--out", str(tmp_path / "page.html"), "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (cli.OK, "")
    data = (tmp_path / "page.html").read_bytes()
    assert json.loads(done.stdout) == {"file": str(tmp_path / "page.html"), "runs": 1, "bytes": len(data)}
    assert data.decode() == plain_page()


def test_report__says_where_the_page_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("simnet.page.page", lambda runs: f"{len(runs)} runs")
    Path("run.json").write_text(printed(), encoding="utf-8")
    assert cli.main(["report", "run.json", "run.json"]) == cli.OK
    assert Path("report.html").read_text(encoding="utf-8") == "2 runs"
    assert capsys.readouterr().out == "report.html: 2 runs, 0 kB\n"


def without_record() -> str:
    fields = json.loads(printed())
    del fields["record"]
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no run: it must hold what `simnet run --json` printed"),
        ("[" * 100_000, "is no run"),
        ("[1, 2]", "is no run"),
        ('{"runs": [], "digest": ""}', "is no run"),
        ('{"repeat": 3}', "is no run"),
        ('{"repeat": "simnet run baseline", "record": {}}', "Field required"),
    ],
)
def test_report__of_what_is_no_run_is_refused(text: str, said: str, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "file.json").write_text(text, encoding="utf-8")
    assert said in refused(capsys, str(tmp_path / "file.json"))


def refused(capsys: Output, *argv: str) -> str:
    assert cli.main(["report", *argv]) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(line.startswith("simnet: ") for line in captured.err.splitlines())
    return captured.err


def test_report__of_a_run_without_its_course_says_how_to_get_it(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "old.json"
    path.write_text(without_record(), encoding="utf-8")
    said = refused(capsys, str(path))
    assert "older simnet" in said
    assert "simnet run baseline --seed 1" in said
    assert f"--json > {path}" in said


def test_report__names_what_is_wrong_in_a_run(tmp_path: Path, capsys: Output) -> None:
    fields = json.loads(printed())
    fields["record"]["nodes"]["up"] = [True]
    path = tmp_path / "run.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    assert f"{path}: record.nodes: its columns have 1, 8 rows" in refused(capsys, str(path))


def test_report__names_files_that_cannot_be_read_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert "cannot read none.json: No such file" in refused(capsys, "none.json")
    path = tmp_path / "run.json"
    path.write_text(printed(), encoding="utf-8")
    monkeypatch.setattr("simnet.page.page", lambda _: "")
    assert "cannot write " in refused(capsys, str(path), "--out", str(tmp_path / "none" / "page.html"))
    assert "51 runs are more" in refused(capsys, *[str(path)] * 51)
    monkeypatch.setattr(finished, "FILE_SIZE_MAX", 10)
    assert "that is no run" in refused(capsys, str(path))


def test_report__without_matplotlib_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    for name in [name for name in sys.modules if name.startswith(("simnet.page", "simnet.plots", "simnet.drawing"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("simnet.page")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'tutti-network[report]'" in refused(capsys, "run.json")
