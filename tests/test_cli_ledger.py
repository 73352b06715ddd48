"""`tutti ledger` and `tutti keys` as a person uses them: from a database, from a running node, from a file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli import main
from node.errors import ExitCode, UserError
from node.home import IDENTITY_WORD, RECOVERY_WORD, NetworkHome, load_or_create_seed, read_seed
from node.keys import origin, recovery_key
from node.ledgers import MAGIC, PAGE_COUNT, check, pack, unpack
from node.store import Store
from protocol.constants import SNAPSHOT_EVERY
from protocol.core import Core
from protocol.events import Instant, PeerConnected, Persist, TimerFired
from protocol.identity import KeySigner, peer_id
from protocol.ledger import Entry, make_entry, open_entry
from protocol.succession import Succession, recovery_hash
from simnet.draws import Stream
from tests.api_bench import Served, with_node
from tests.core_bench import STRANGER
from tests.support import PARAMETERS, REQUIREMENT_MAP, WALL_MS, Bench, evidence, record
from tests.test_following import club, held, write
from tests.test_ledger import NETWORK, ledger, note, rows
from tests.test_logs import restored_logging

PEER = KeySigner(Stream(1, "key b").bytes(32)).public_key


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    with restored_logging():
        yield


def home_of(tmp_path: Path) -> NetworkHome:
    return NetworkHome(tmp_path / "dev", tmp_path / "dev")


def kept(tmp_path: Path, count: int = 3) -> tuple[Bench, Bench]:
    """A home whose database holds the ledger of node a and that of b, which it followed."""
    both, (a, b) = club("a", "b")
    write(a, count)
    write(b, count)
    both.connect(a, b)
    assert held(a, b)
    home = home_of(tmp_path)
    home.create()
    store = Store(home.database_file)
    store.write([Persist(table, key, value) for table, key, value in rows(a)])
    store.close()
    return a, b


def tutti(tmp_path: Path, *argv: str) -> int:
    return main([*argv, "--network", "dev", "--home", str(tmp_path)])


Output = pytest.CaptureFixture[str]


# --- show


def test_show__tells_the_own_ledger_from_the_database(tmp_path: Path, capsys: Output) -> None:
    a, b = kept(tmp_path)
    assert tutti(tmp_path, "ledger", "show") == ExitCode.OK
    out = capsys.readouterr().out
    assert f"{peer_id(a.core.me)} (this node)" in out
    assert "beacon 3, record 1, start 1" in out
    assert f"followed: {peer_id(b.core.me)[-8:]}" in out
    assert tutti(tmp_path, "ledger", "show", "--json") == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert [entry["number"] for entry in shown["entries"]] == list(range(5))
    assert shown["entries"][0]["body"] == {"recovery": "00" * 32, "succession": ""}
    assert shown["others"] == [peer_id(b.core.me)]


def test_show__tells_the_ledger_of_a_peer_by_the_end_of_its_id(tmp_path: Path, capsys: Output) -> None:
    _, b = kept(tmp_path)
    assert tutti(tmp_path, "ledger", "show", peer_id(b.core.me)[-6:]) == ExitCode.OK
    assert f"{peer_id(b.core.me)}\n" in capsys.readouterr().out
    assert tutti(tmp_path, "ledger", "show", "nobody") == ExitCode.USAGE
    assert "no ledger of 'nobody' is held here" in capsys.readouterr().err
    assert tutti(tmp_path, "ledger", "show", "") == ExitCode.USAGE
    assert "the end of 2 peer ids" in capsys.readouterr().err


def test_show__without_node_and_database_is_exit_code_three(tmp_path: Path, capsys: Output) -> None:
    assert tutti(tmp_path, "ledger", "show") == ExitCode.NO_DAEMON
    assert "there is no database" in capsys.readouterr().err
    home = home_of(tmp_path)
    home.create()
    Store(home.database_file).close()
    assert tutti(tmp_path, "ledger", "show") == ExitCode.FAILED
    assert "no ledger yet" in capsys.readouterr().err


# --- export and check


def test_export__writes_what_check_finds_whole(tmp_path: Path, capsys: Output) -> None:
    a, _ = kept(tmp_path)
    file = tmp_path / "a.ledger"
    assert tutti(tmp_path, "ledger", "export", str(file)) == ExitCode.OK
    assert tutti(tmp_path, "ledger", "export", str(file)) == ExitCode.FAILED
    assert "exists and is left as it is" in capsys.readouterr().err
    assert unpack(file.read_bytes(), "a") == [value for table, _, value in rows(a) if table == "ledger"]
    for what in ([], [str(file)], [peer_id(a.core.me)], [peer_id(PEER)]):
        assert tutti(tmp_path, "ledger", "check", *what) == ExitCode.OK
        assert "each following the one before" in capsys.readouterr().out
    assert tutti(tmp_path, "ledger", "check", str(file), "--json") == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["ok"], shown["first"], shown["count"]) == (True, 0, 5)


def test_check__names_the_first_entry_that_does_not_hold(tmp_path: Path, capsys: Output) -> None:
    a, _ = kept(tmp_path)
    entries = [value for table, _, value in rows(a) if table == "ledger"]
    file = tmp_path / "bad.ledger"
    cases = {
        "at entry 3: the signature does not hold": [*entries[:3], bytes([entries[3][0] ^ 1]) + entries[3][1:], entries[4]],
        "at entry 3: entry 3 does not follow 1": [*entries[:2], entries[3]],
        "at entry 2: not the first entry": entries[2:],
        "there are no entries": [],
        "an entry of another network": [make_entry(a.signer, bytes(32), None, "start", open_entry(entries[0]).body, 0).data],
    }
    for said, wrong in cases.items():
        file.write_bytes(pack(wrong))
        assert tutti(tmp_path, "ledger", "check", str(file)) == ExitCode.FAILED
        assert said in capsys.readouterr().err
    for content in (pack(entries)[:-1], pack(entries) + b"\x00", b"something else"):
        file.write_bytes(content)
        assert tutti(tmp_path, "ledger", "check", str(file), "--json") == ExitCode.FAILED
        assert "tutti: " in capsys.readouterr().err


def test_check__finds_a_fork_between_a_file_and_what_is_held(tmp_path: Path, capsys: Output) -> None:
    _, b = kept(tmp_path)
    chain = [open_entry(value) for table, _, value in rows(b) if table == "ledger"]
    other = make_entry(b.signer, NETWORK, chain[2], "beacon", note(99), WALL_MS)
    file = tmp_path / "fork.ledger"
    file.write_bytes(pack([*(entry.data for entry in chain[:3]), other.data]))
    assert tutti(tmp_path, "ledger", "check", str(file), "--json") == ExitCode.FAILED
    shown = capsys.readouterr()
    assert "at entry 3: another entry with this number is signed as well: a fork" in shown.err
    assert json.loads(shown.out)["number"] == 3


def test_file__of_any_bytes_is_read_or_refused_in_one_line() -> None:
    assert unpack(MAGIC, "f") == []
    for content in (b"", MAGIC[:-1], MAGIC + b"\x00\x00", MAGIC + b"\x00\x00\x00\x05abcd"):
        with pytest.raises(UserError):
            unpack(content, "f")


def test_range__from_a_snapshot_holds_as_well() -> None:
    entries: list[Entry] = ledger(SNAPSHOT_EVERY + 3)
    verdict = check([entry.data for entry in entries[SNAPSHOT_EVERY:]], NETWORK)
    assert (verdict.reason, verdict.first, verdict.count) == (None, SNAPSHOT_EVERY, 3)
    assert check([entries[0].data], NETWORK, bytes(32)).reason == "an entry of another author"


# --- A running node


def test_commands__ask_the_running_node(tmp_path: Path, capsys: Output) -> None:
    async def work(node: Served) -> None:
        core = node.node.executor.core
        node.node.executor.feed(PeerConnected(STRANGER.public_key))
        for number in range(PAGE_COUNT + 5):
            core.ledger.append("beacon", note(number))
        node.node.executor.feed(TimerFired())
        assert await node.tutti("ledger", "show", "--json") == ExitCode.OK
        shown = json.loads(capsys.readouterr().out)
        assert shown["next"] == len(shown["entries"]) == PAGE_COUNT + 7
        assert await node.tutti("status") == ExitCode.OK
        assert f"{PAGE_COUNT + 7} entries; follows 0 peers" in capsys.readouterr().out
        status, listed = await node.call("GET", "/v1/ledger")
        assert (status, listed["ready"], [row["count"] for row in listed["ledgers"]]) == (200, True, [PAGE_COUNT + 7])
        for path in ("/v1/ledger/xyz", f"/v1/ledger/{core.me.hex()}?first=-1"):
            assert (await node.call("GET", path))[0] == 400
        assert (await node.call("GET", f"/v1/ledger/{bytes(32).hex()}"))[1] == {"entries": [], "next": None}
        for data in (b"[]", b"{", b'{"peer": 5}', b'{"peer": "zz"}'):
            assert (await node.call("POST", "/v1/ledger/sync", data))[0] == 400

    with_node(tmp_path, work)


def test_sync__tells_what_came_and_that_peers_are_slow(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.cli.ledger._SYNC_S", 0.3)

    async def work(node: Served) -> None:
        assert await node.tutti("ledger", "sync") == ExitCode.OK
        assert capsys.readouterr().out == "nothing new\n", "nobody said to hold anything"
        node.node.executor.feed(PeerConnected(STRANGER.public_key))
        assert await node.tutti("ledger", "sync", peer_id(PEER)) == ExitCode.OK
        assert capsys.readouterr().out == "peers are still sending: run it again\n"
        assert await node.tutti("ledger", "sync", "--json") == ExitCode.OK
        assert json.loads(capsys.readouterr().out) == {"complete": False, "came": {}}
        assert await node.tutti("ledger", "sync", "short") == ExitCode.USAGE

    with_node(tmp_path, work)


# --- Keys


def made(tmp_path: Path) -> tuple[NetworkHome, bytes]:
    home = home_of(tmp_path)
    home.create()
    seed, _ = load_or_create_seed(home.identity_file)
    recovery_key(home)
    return home, KeySigner(seed).public_key


def ran(home: NetworkHome, *, steps: int = 1, restored: tuple[tuple[str, bytes, bytes], ...] = ()) -> Core:
    """A node that ran in this home, met somebody, and wrote its entries."""
    store = Store(home.database_file)
    signer = KeySigner(read_seed(home.identity_file))
    begins = origin(home, signer.public_key, fresh=True)
    disk = [*store.rows(), *restored]
    core = Core(signer, PARAMETERS, record("arith"), Stream(1, "e").bytes, disk, REQUIREMENT_MAP, origin=begins)
    for number in range(steps):
        effects = core.step(PeerConnected(PEER), Instant(1_000 + 5_000 * number, WALL_MS + 5_000 * number))
        store.write([effect for effect in effects if isinstance(effect, Persist)])
    store.close()
    return core


def test_init__makes_a_recovery_key_and_says_to_keep_it_elsewhere(tmp_path: Path, capsys: Output) -> None:
    assert tutti(tmp_path, "init") == ExitCode.OK
    home = home_of(tmp_path)
    assert "keep it elsewhere" in capsys.readouterr().out
    assert home.recovery_file.stat().st_mode & 0o777 == 0o600
    home.recovery_file.rename(tmp_path / "elsewhere")
    assert tutti(tmp_path, "init") == ExitCode.OK
    assert "kept elsewhere, as it should be" in capsys.readouterr().out
    public, again = recovery_key(home)
    assert not again
    assert public == KeySigner(read_seed(tmp_path / "elsewhere", RECOVERY_WORD)).public_key
    with pytest.raises(UserError):
        read_seed(tmp_path / "elsewhere", IDENTITY_WORD)


def test_copy__is_encrypted_and_comes_back(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    home, key = made(tmp_path)
    copy, elsewhere = tmp_path / "copy", tmp_path / "other"

    def typed(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    typed("a secret\n")
    assert tutti(tmp_path, "keys", "export", str(copy)) == ExitCode.OK
    assert read_seed(home.identity_file).hex() not in copy.read_text()
    assert copy.stat().st_mode & 0o777 == 0o600
    typed("a secret\n")
    assert tutti(tmp_path, "keys", "export", str(copy)) == ExitCode.FAILED, "it exists"
    typed("")
    assert tutti(tmp_path, "keys", "export", str(tmp_path / "more")) == ExitCode.USAGE
    typed("another\n")
    assert tutti(elsewhere, "keys", "recover", str(copy)) == ExitCode.FAILED
    assert "the passphrase is not that of this copy" in capsys.readouterr().err
    typed("a secret\n")
    assert tutti(elsewhere, "keys", "recover", str(copy)) == ExitCode.OK
    assert KeySigner(read_seed(home_of(elsewhere).identity_file)).public_key == key
    typed("a secret\n")
    assert tutti(elsewhere, "keys", "recover", str(copy)) == ExitCode.FAILED
    assert "there is an identity" in capsys.readouterr().err


def test_rotate__lets_a_new_identity_follow_with_the_old_ledger_closed(tmp_path: Path, capsys: Output) -> None:
    home, old = made(tmp_path)
    ran(home)
    assert tutti(tmp_path, "keys", "rotate") == ExitCode.OK
    assert f"follows {peer_id(old)}" in capsys.readouterr().out
    new = KeySigner(read_seed(home.identity_file)).public_key
    assert new != old
    assert KeySigner(read_seed(home.identity_file.with_name(f"identity-{peer_id(old)[-8:]}.old"))).public_key == old
    core = ran(home)
    followed = core.followed.get(old)
    assert followed is not None
    assert followed.head is not None
    assert followed.head.kind == "succession"
    statement = Succession.open(core.ledger.chain.summary.succession)
    assert (statement.old, statement.new, bool(statement.by_old)) == (old, new, True)
    assert core.ledger.chain.summary.recovery == recovery_hash(statement.recovery)
    assert tutti(tmp_path, "keys", "rotate") == ExitCode.OK, "and another one follows this"


def test_rotate__needs_the_recovery_key_of_its_ledger(tmp_path: Path, capsys: Output) -> None:
    home, old = made(tmp_path)
    ran(home)
    true = home.recovery_file.rename(tmp_path / "true.key")
    assert tutti(tmp_path, "keys", "rotate") == ExitCode.FAILED
    assert "say where you keep it with --recovery FILE" in capsys.readouterr().err
    load_or_create_seed(tmp_path / "false.key", RECOVERY_WORD)
    assert tutti(tmp_path, "keys", "rotate", "--recovery", str(tmp_path / "false.key")) == ExitCode.FAILED
    assert "not the recovery key" in capsys.readouterr().err
    assert tutti(tmp_path, "keys", "rotate", "--recovery", str(home.identity_file)) == ExitCode.FAILED
    assert "neither a recovery key nor" in capsys.readouterr().err
    assert KeySigner(read_seed(home.identity_file)).public_key == old
    assert tutti(tmp_path, "keys", "rotate", "--recovery", str(true)) == ExitCode.OK


def test_rotate__of_a_running_node_is_refused(tmp_path: Path, capsys: Output) -> None:
    home, _ = made(tmp_path)
    with home.locked():
        assert tutti(tmp_path, "keys", "rotate") == ExitCode.FAILED
    assert "stop that daemon" in capsys.readouterr().err


def test_rotate__that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    home, old = made(tmp_path)
    ran(home)
    seed, _ = load_or_create_seed(home.next_identity_file)
    assert tutti(tmp_path, "keys", "rotate") == ExitCode.OK
    assert read_seed(home.identity_file) == seed
    assert not home.next_identity_file.exists()
    assert KeySigner(seed).public_key != old


def test_recover__lets_a_new_identity_follow_a_stolen_one(tmp_path: Path, capsys: Output) -> None:
    home, old = made(tmp_path)
    ran(home)
    recovery = home.recovery_file.rename(tmp_path / "recovery.key")
    home.identity_file.unlink()
    assert tutti(tmp_path, "keys", "recover", str(recovery)) == ExitCode.OK
    assert f"follows {peer_id(old)}" in capsys.readouterr().out, "the ledger names it"
    statement = Succession.open(ran(home).ledger.chain.summary.succession)
    assert (statement.old, statement.by_old) == (old, b"")


def test_recover__on_a_new_machine_needs_the_name_of_what_was_lost(tmp_path: Path, capsys: Output) -> None:
    home, old = made(tmp_path)
    elsewhere = tmp_path / "other"
    assert tutti(elsewhere, "keys", "recover", str(home.recovery_file)) == ExitCode.FAILED
    assert "name the lost identity with --peer PEER" in capsys.readouterr().err
    for wrong in ("nobody", peer_id(bytes(32))):
        assert tutti(elsewhere, "keys", "recover", str(home.recovery_file), "--peer", wrong) == ExitCode.USAGE
    assert tutti(elsewhere, "keys", "recover", str(home.recovery_file), "--peer", peer_id(old)) == ExitCode.OK
    core = ran(home_of(elsewhere), restored=tuple(evidence({PEER: 10})))
    assert Succession.open(core.ledger.chain.summary.succession).old == old
    assert tutti(elsewhere, "keys", "recover", str(tmp_path / "missing")) == ExitCode.FAILED


@pytest.mark.parametrize("name", ["recovery.pub", "succession"])
def test_damaged_file__is_told_by_its_name(name: str, tmp_path: Path) -> None:
    home, key = made(tmp_path)
    (home.data / name).write_bytes(b"garbage")
    with pytest.raises(UserError, match=name):
        origin(home, key, fresh=False)


def test_statement_of_another_identity__is_not_told(tmp_path: Path) -> None:
    home, key = made(tmp_path)
    assert tutti(tmp_path, "keys", "rotate") == ExitCode.OK
    assert origin(home, key, fresh=False).succession == b""
    assert origin(home, KeySigner(read_seed(home.identity_file)).public_key, fresh=False).succession
