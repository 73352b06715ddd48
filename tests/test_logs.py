"""The log: what it shows, and that prompts, answers and keys cannot get into it."""

import ast
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import logs
from node.events import EventStream
from protocol.allowance import Caps
from protocol.events import MessageReceived, Paused
from protocol.outcome import OutcomeKind
from simnet.draws import Stream
from simnet.host import Solution
from simnet.world import World
from tests.support import PARAMETERS, record

REPOSITORY = Path(__file__).parent.parent
SECRET = "why is the sky blue, and what does 12 plus 30 make?"


@pytest.mark.parametrize("kind", OutcomeKind)
def test_log__tells_every_outcome(kind: OutcomeKind) -> None:
    assert logs.FIELDS["outcome"].fullmatch(kind.value)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def restored_logging() -> Iterator[None]:
    """Give logging back as it was."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in ("node", "protocol", "tutti")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(capture=False)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with restored_logging():
        yield


def test_terminal__one_readable_line_with_fields() -> None:
    stream = Terminal()
    logs.configure("info", stream)
    logging.getLogger("node.daemon").info("peer connected", extra={"fields": {"peer": "12D3KooW", "elapsed_ms": 12}})
    line = stream.getvalue()
    assert line.endswith("info    node.daemon: peer connected peer=12D3KooW elapsed_ms=12\n")


def test_elsewhere__one_json_object_a_line() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("node.daemon").warning("dial failed", extra={"fields": {"address": "/ip4/192.0.2.7/tcp/1", "attempt": 3}})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "node.daemon",
        "event": "dial failed",
        "address": "/ip4/192.0.2.7/tcp/1",
        "attempt": 3,
    }


def test_level__applies_to_our_packages_and_others_stay_at_warning() -> None:
    stream = io.StringIO()
    logs.configure("debug", stream)
    logging.getLogger("node.x").debug("ours")
    logging.getLogger("aiohttp.x").info("theirs %s", 1)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["ours"]


@pytest.mark.parametrize("logger", ["node.daemon", "aiohttp.server"])
def test_redaction__arguments_are_never_rendered(logger: str) -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger(logger).warning("got %s", SECRET)
    assert json.loads(stream.getvalue())["event"] == "got %s"


def test_redaction__another_librarys_finished_text_is_withheld() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("aiohttp.server").error(f"cannot parse {SECRET}")  # noqa: G004 - what libraries do
    assert SECRET not in stream.getvalue()
    assert "test_logs" in json.loads(stream.getvalue())["event"]


def test_redaction__an_exception_shows_type_and_place_but_not_its_message() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("node.daemon").exception("worker failed")
    line = json.loads(stream.getvalue())
    assert line["error"] == "ValueError"
    assert line["at"].startswith("test_logs.py:")
    assert SECRET not in stream.getvalue()


@given(st.text())
def test_redaction__no_field_shows_a_sentence_but_those_of_the_owner(text: str) -> None:
    words = {name for name, form in logs.FIELDS.items() if not form.fullmatch("a b")}
    record = logging.makeLogRecord({"name": "node.x", "msg": "event", "fields": dict.fromkeys(words, f"{text} and {text}")})
    assert set(logs.fields_of(record).values()) == {logs.WITHHELD}
    assert words >= {"peer", "address", "code", "task"}


@given(st.text(), st.text())
def test_form__a_record_is_one_line_whatever_it_holds(message: str, value: str) -> None:
    record = logging.makeLogRecord(
        {"name": "node.x", "msg": message, "fields": {"path": value, "peer": value, "unknown": value}}
    )
    for formatter in (logs.TerminalFormatter(), logs.JsonFormatter()):
        assert len(formatter.format(record).splitlines()) == 1


def test_source__our_logging_calls_have_a_literal_text_and_known_fields() -> None:
    """The redaction rests on this: in our own source a message is a literal and data travels in `extra=`."""
    methods = {"debug", "info", "warning", "error", "exception", "critical"}
    for package in ("node", "protocol"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                    continue
                target = ast.unparse(call.func.value).lower()
                if call.func.attr not in methods or not target.endswith(("log", "logger")):
                    continue
                where = f"{path}:{call.lineno}"
                assert len(call.args) == 1, f"{where}: data belongs in extra="
                assert isinstance(call.args[0], ast.Constant), f"{where}: the text must be a literal"
                for name in _field_names(call):
                    assert name in logs.FIELDS, f"{where}: {name} is not in node.logs.FIELDS"


def _field_names(call: ast.Call) -> Iterator[str]:
    """The names written out in `extra={"fields": {...}}`; other forms of `extra` are told by their text."""
    for keyword in call.keywords:
        if keyword.arg == "extra":
            extra = keyword.value
            if not (isinstance(extra, ast.Dict) and [ast.unparse(key) for key in extra.keys if key] == ["'fields'"]):
                yield ast.unparse(extra)
            elif isinstance(extra.values[0], ast.Dict):
                yield from (ast.literal_eval(name) for name in extra.values[0].keys if name is not None)


def test_source__what_the_core_and_the_daemon_tell_has_known_fields() -> None:
    """Events travel as `Log` effects; a field without a form in the table would be dropped unseen."""
    for package in ("node", "protocol"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(("_outbox.log", "_post.log", "Log")):
                    for argument in call.args:
                        for key in argument.keys if isinstance(argument, ast.Dict) else []:
                            assert key is not None
                            assert ast.literal_eval(key) in logs.FIELDS, f"{path}:{call.lineno}: {ast.unparse(key)}"


def test_redaction__a_question_its_answers_and_keys_never_reach_the_log_of_any_node() -> None:
    """A whole network at work, with a pause, a cap, a model that fails and bad bytes, at the level that shows most."""
    stream, events = io.StringIO(), EventStream()
    logs.configure("debug", stream)
    question, answer = "Kindly say whether the nightingale sings.", "quite certainly zugzwang"
    world = World(PARAMETERS, 1)
    solvers = [lambda *_: Solution(answer, 20), lambda *_: Solution("", 20, error="the worker died")]
    hosts = [world.add(f"node{number}", record("arith"), solvers[number % 2], caps=Caps(3, 4_096)) for number in range(4)]
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.run(for_ms=2_000)
    for _ in range(4):
        assert world.answer(hosts[0], question).answer in (answer, None)
    world.after(0, hosts[1], Paused(paused=True))
    world.after(0, hosts[2], MessageReceived(hosts[0].key, question.encode()))
    world.run(for_ms=2_000)
    for host in hosts:
        for log in host.logs:
            events.emit(log)
    told = stream.getvalue()
    assert {"paused", "outcome", "bid", "vote", "inference_failed"} <= {json.loads(line)["event"] for line in told.splitlines()}
    for secret in ("nightingale", "zugzwang", *(Stream(1, f"key {host.name}").bytes(32).hex() for host in hosts)):
        assert secret not in told
