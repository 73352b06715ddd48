"""Network files: what a founder makes, what a reader refuses, and which revision a home keeps."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli import main
from node.errors import ExitCode, UserError
from node.home import NetworkHome
from node.libp2p_address import EXAMPLE_PEER
from node.networks import FILE_SIZE_MAX, Network, load, newest, parse, render
from protocol.genesis import Genesis
from protocol.identity import KeySigner
from protocol.parameters import TINY_SKILLS, Parameters, Skill, preset

Capture = pytest.CaptureFixture[str]

FOUNDER = KeySigner(b"f" * 32)
GENESIS = Genesis("choir", FOUNDER.public_key, b"n" * 16)
WORD = Skill("number", 7, 64, ('Count "é" here.',))


def network(revision: int = 1, skills: dict[str, Skill] | None = None) -> Network:
    parameters = Parameters(GENESIS, revision, TINY_SKILLS if skills is None else skills)
    return Network(parameters, parameters.signed_by(FOUNDER), (EXAMPLE_PEER,))


NETWORK = network(skills={"count": WORD})
DATA = render(NETWORK)


def fields() -> Any:  # noqa: ANN401 - JSON
    return json.loads(DATA)


# --- The file


def test_file__read_back_is_the_same_network() -> None:
    assert parse(DATA, "f") == NETWORK


def test_preset__is_a_network_without_signature(tmp_path: Path) -> None:
    assert load("dev") == Network(preset("dev"))
    assert load("dev").directory == "dev"
    home = NetworkHome(tmp_path, tmp_path)
    assert newest(home, load("dev")) == load("dev")
    assert not home.network_file.exists()


def test_directory__tells_two_networks_of_one_name_apart() -> None:
    other = Parameters(Genesis("choir", FOUNDER.public_key, bytes(16)), 1, TINY_SKILLS)
    names = {NETWORK.directory, Network(other, other.signed_by(FOUNDER)).directory, "choir"}
    assert len(names) == 3
    assert NETWORK.directory == f"choir-{GENESIS.network.hex()[:8]}"


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another version": (lambda f: f | {"tutti_network": 2}, "newer tutti-network"),
    "version true": (lambda f: f | {"tutti_network": True}, "tutti_network must be 1"),
    "an unknown field": (lambda f: f | {"trust": "me"}, "must have the fields"),
    "no object": (lambda f: [f], "must have the fields"),
    "another name": (lambda f: f | {"genesis": f["genesis"] | {"name": "chair"}}, "the id is not that of the genesis"),
    "a name that is a path": (lambda f: f | {"genesis": f["genesis"] | {"name": "../x"}}, "name is not 1 to 32"),
    "another founder": (lambda f: f | {"genesis": f["genesis"] | {"founder": "ab" * 32}}, "the id is not that"),
    "an id in capitals": (lambda f: f | {"id": f["id"].upper()}, "lower-case hexadecimal"),
    "another revision": (
        lambda f: f | {"parameters": f["parameters"] | {"revision": 2}},
        "the founder's signature does not hold",
    ),
    "no skills": (lambda f: f | {"parameters": f["parameters"] | {"skills": {}}}, "the founder's signature does not hold"),
    "another signature": (lambda f: f | {"signature": "00" * 64}, "the founder's signature does not hold"),
    "half a signature": (lambda f: f | {"signature": "00" * 32}, "the founder's signature does not hold"),
    "a bootstrap without peer id": (lambda f: f | {"bootstrap": ["/ip4/192.0.2.7/tcp/4101"]}, "it must end in /p2p/"),
    "bootstraps without end": (lambda f: f | {"bootstrap": [EXAMPLE_PEER] * 17}, "at most 16"),
    "a float": (lambda f: f | {"parameters": f["parameters"] | {"revision": 1.0}}, "1.0 is not an integer"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_file__an_altered_one_is_refused_with_the_first_thing_that_does_not_hold(name: str) -> None:
    change, expected = CHANGES[name]
    with pytest.raises(UserError) as caught:
        parse(json.dumps(change(fields())).encode(), "choir.json")
    assert expected in str(caught.value)
    assert "choir.json" in str(caught.value)


def test_file__a_genesis_made_anew_around_another_name_needs_the_founder() -> None:
    other = Genesis("chair", FOUNDER.public_key, b"n" * 16)
    forged = fields() | {"id": other.network.hex(), "genesis": fields()["genesis"] | {"name": "chair"}}
    with pytest.raises(UserError, match="signature does not hold"):
        parse(json.dumps(forged).encode(), "f")


def test_file__a_founder_whom_any_signature_fits_is_refused() -> None:
    for key in (bytes(32), (1).to_bytes(32, "little")):
        genesis = Genesis("choir", key, bytes(16))
        forged = fields() | {"id": genesis.network.hex(), "signature": "00" * 64}
        forged["genesis"] = {"name": "choir", "founder": key.hex(), "nonce": "00" * 16}
        with pytest.raises(UserError, match="founder's key is not a usable"):
            parse(json.dumps(forged).encode(), "f")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        b"[" * 50_000,
        b'{"a": 1, "a": 1}',
        b"1e999",
        b"NaN",
        b"9" * 5_000,
        b'{"id": "\\ud800"}',
        b'"\\u0000"',
    ],
)
def test_file__bytes_that_are_no_network_file_are_one_line(data: bytes) -> None:
    with pytest.raises(UserError) as caught:
        parse(data, "choir.json")
    assert str(caught.value).startswith("choir.json ")


def test_file__of_a_later_version_asks_for_a_newer_program_whatever_its_fields() -> None:
    with pytest.raises(UserError, match="needs a newer tutti-network"):
        parse(b'{"tutti_network": 2, "constitution": {}}', "f")


def test_file__a_key_that_stands_twice_is_refused() -> None:
    data = DATA.replace(b'"revision": 1,', b'"revision": 1, "revision": 1,')
    with pytest.raises(UserError, match="twice"):
        parse(data, "f")


@given(st.integers(0, len(DATA) - 1), st.integers(0, 255))
def test_file__any_byte_changed_is_refused_or_means_the_same(place: int, byte: int) -> None:
    changed = DATA[:place] + bytes([byte]) + DATA[place + 1 :]
    try:
        again = parse(changed, "f")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return
    # Bootstraps are hints that anybody may change; all else is what the founder signed.
    assert replace(again, bootstrap=()) == replace(NETWORK, bootstrap=())


@given(st.binary(max_size=300))
def test_file__any_bytes_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(UserError):
        parse(data, "f")


# --- Revisions in a home


def test_home__keeps_the_highest_revision_it_has_seen(tmp_path: Path) -> None:
    home = NetworkHome(tmp_path, tmp_path)
    assert newest(home, network(2)) == network(2)
    later = replace(network(1), bootstrap=(EXAMPLE_PEER.replace("192.0.2.7", "192.0.2.8"),))
    assert newest(home, later).parameters.revision == 2
    assert newest(home, later).bootstrap == (*later.bootstrap, EXAMPLE_PEER)
    assert newest(home, network(3)).parameters.revision == 3
    assert newest(home, network(2)).parameters.revision == 3


def test_home__does_not_choose_between_two_revisions_of_one_number(tmp_path: Path) -> None:
    home = NetworkHome(tmp_path, tmp_path)
    newest(home, network(2))
    with pytest.raises(UserError, match="two different revisions 2"):
        newest(home, network(2, {}))
    assert newest(home, network(3, {})).parameters.skills == {}


def test_home__a_damaged_copy_is_replaced_by_the_file_that_was_given(tmp_path: Path) -> None:
    home = NetworkHome(tmp_path, tmp_path)
    home.network_file.write_bytes(b"{")
    assert newest(home, network(1)) == network(1)
    assert parse(home.network_file.read_bytes(), "f") == network(1)


# --- `tutti network`


def founded(home: Path, capsys: Capture, *flags: str) -> Path:
    file = home / "choir.json"
    assert main(["--home", str(home / "home"), "network", "new", "choir", "--out", str(file), *flags]) == ExitCode.OK
    capsys.readouterr()
    return file


def test_new__makes_a_file_that_holds_and_a_key_that_only_the_owner_reads(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys, "--bootstrap", EXAMPLE_PEER)
    key, last = sorted((tmp_path / "home" / "founders").iterdir(), key=lambda kept: kept.suffix, reverse=True)
    assert [kept.stat().st_mode & 0o777 for kept in (key, last)] == [0o600, 0o600]
    assert last.read_bytes() == file.read_bytes()
    seed = bytes.fromhex(key.read_text().strip().partition(":")[2])
    assert KeySigner(seed).public_key == load(str(file)).parameters.genesis.founder
    assert seed.hex() not in file.read_text()
    assert load(str(file)).bootstrap == (EXAMPLE_PEER,)
    assert main(["network", "check", "--json", str(file)]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_new__overwrites_nothing(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys)
    before = file.read_bytes()
    assert main(["--home", str(tmp_path / "home"), "network", "new", "choir", "--out", str(file)]) == ExitCode.FAILED
    assert "left as it is" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert len(list((tmp_path / "home" / "founders").glob("*.key"))) == 1


@pytest.mark.parametrize("flags", [["Choir"], ["a/b"], ["choir", "--bootstrap", "host:1"], ["choir", "--skills", "all"], []])
def test_new__a_mistake_makes_nothing(tmp_path: Path, flags: list[str], capsys: Capture) -> None:
    argv = ["--home", str(tmp_path / "home"), "network", "new", *flags, "--out", str(tmp_path / "f.json")]
    assert main(argv) != ExitCode.OK
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.rglob("*")) == []


def test_new__on_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def full(_: object) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("node.cli.network.render", full)
    file = tmp_path / "choir.json"
    assert main(["--home", str(tmp_path / "home"), "network", "new", "choir", "--out", str(file)]) == ExitCode.FAILED
    assert "No space left on device; choose another file" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_new__names_the_file_as_the_flag_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--home", "home", "network", "new", "choir", "--out", "choir"]) == ExitCode.OK
    named = capsys.readouterr().out.partition("tutti run --network ")[2].partition("`")[0]
    assert main(["--home", "home", "init", "--network", named]) == ExitCode.OK


def test_new__a_bad_bootstrap_is_a_wrong_flag(tmp_path: Path, capsys: Capture) -> None:
    argv = ["--home", str(tmp_path / "home"), "network", "new", "choir", "--bootstrap", "host:1"]
    assert main(argv) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("tutti: --bootstrap: bad address 'host:1'")


@pytest.mark.parametrize("name", ["dev", "local"])
def test_new__of_a_name_that_is_built_in_is_refused(name: str, tmp_path: Path, capsys: Capture) -> None:
    argv = ["--home", str(tmp_path / "home"), "network", "new", name, "--out", str(tmp_path / "f.json")]
    assert main(argv) == ExitCode.USAGE
    assert capsys.readouterr().err == f"tutti: NAME {name} is that of a network that is built in: choose another\n"
    assert list(tmp_path.iterdir()) == []


def test_new__repeats_a_bad_name(tmp_path: Path, capsys: Capture) -> None:
    assert main(["--home", str(tmp_path / "home"), "network", "new", "My Choir"]) == ExitCode.USAGE
    assert "'My Choir'" in capsys.readouterr().err


def test_check__of_a_preset_says_that_it_needs_none(capsys: Capture) -> None:
    assert main(["network", "check", "dev"]) == ExitCode.OK
    assert "dev is built in and needs no check" in capsys.readouterr().out


def test_check__of_a_directory_says_so(tmp_path: Path, capsys: Capture) -> None:
    assert main(["network", "check", str(tmp_path)]) == ExitCode.FAILED
    assert f"{tmp_path} is a directory" in capsys.readouterr().err


def test_check__says_what_does_not_hold(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys)
    file.write_text(file.read_text().replace('"options": 10', '"options": 11'))
    assert main(["network", "check", str(file)]) == ExitCode.FAILED
    assert "the founder's signature does not hold" in capsys.readouterr().err
    assert main(["network", "check", "--json", str(file)]) == ExitCode.FAILED
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_revise__signs_what_the_founder_edited_under_the_next_number(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys)
    before = load(str(file))
    file.write_text(file.read_text().replace('"options": 10', '"options": 11'))
    assert main(["--home", str(tmp_path / "home"), "network", "revise", str(file)]) == ExitCode.OK
    after = load(str(file))
    assert after.parameters.network == before.parameters.network
    assert after.parameters.revision == 2
    assert {skill.options for skill in after.parameters.skills.values()} == {2, 4, 11}


def test_revise__signs_no_number_twice_and_jumps_to_none(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys)
    revise = ["--home", str(tmp_path / "home"), "network", "revise", str(file)]
    old = file.read_text()
    assert main(revise) == ExitCode.OK
    signed = file.read_bytes()
    for revision in (1, 9_999):
        file.write_text(old.replace('"revision": 1', f'"revision": {revision}'))
        before = file.read_bytes()
        assert main(revise) == ExitCode.FAILED
        told = capsys.readouterr().err
        assert len(told.splitlines()) == 1
        assert f"is revision {revision}, and the last that you signed is 2: edit a copy of it, " in told
        assert file.read_bytes() == before
    (last,) = (tmp_path / "home" / "founders").glob("*.json")
    assert (last.read_bytes(), last.stat().st_mode & 0o777) == (signed, 0o600)
    file.write_bytes(last.read_bytes())
    assert main(revise) == ExitCode.OK
    assert load(str(file)).parameters.revision == 3


def test_revise__a_mistake_names_the_skill(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys)
    file.write_text(file.read_text().replace('"answer": "number"', '"answer": "poem"'))
    assert main(["--home", str(tmp_path / "home"), "network", "revise", str(file)]) == ExitCode.FAILED
    assert "'arith': skill: answer is not one of" in capsys.readouterr().err


def test_revise__needs_the_founders_key(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys)
    assert main(["--home", str(tmp_path / "other"), "network", "revise", str(file)]) == ExitCode.FAILED
    assert "founder's key of this network is not in this home" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert load(str(file)).parameters.revision == 1


def test_show__knows_presets_and_files(tmp_path: Path, capsys: Capture) -> None:
    file = founded(tmp_path, capsys)
    for name in ("dev", str(file)):
        assert main(["network", "show", "--json", name]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["id"] == load(name).parameters.network.hex()
    assert main(["network", "show", str(file)]) == ExitCode.OK
    assert load(str(file)).parameters.network.hex() in capsys.readouterr().out


def test_file__too_large_or_no_file_at_all_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * (FILE_SIZE_MAX + 1))
    for name in ("large.json", ".", "none.json", "a\x00b"):
        with pytest.raises(UserError):
            load(str(tmp_path / name))
