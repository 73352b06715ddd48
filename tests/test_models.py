"""Finding, checking and describing model files; every refusal is one line that names the file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import gguf, models
from node.engine import EngineError
from tests.tiny_gguf import CONTEXT, write_endless


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_endless(tmp_path_factory.mktemp("models") / "endless.gguf")


@pytest.fixture
def shelf(tmp_path: Path, endless: Path) -> Path:
    (tmp_path / "tiny.gguf").write_bytes(endless.read_bytes())
    entry = {"name": "tiny", "file": "tiny.gguf", "sha256": models.sha256_of(endless), "skills": {"arith": 97}}
    (tmp_path / "manifest.json").write_text(json.dumps({"models": [entry]}))
    return tmp_path


def refusal(path: Path, expected_sha256: str | None = None) -> str:
    with pytest.raises(EngineError) as caught:
        models.inspect(path, expected_sha256)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert not caught.value.retryable
    return message


def test_inspect__describes_a_users_own_file(endless: Path) -> None:
    raw = endless.read_bytes()
    info = models.inspect(endless)
    assert (info.name, info.quantisation, info.context) == ("endless", "F32", CONTEXT)
    assert (info.sha256, info.size_bytes) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert info.parameters == 2 * 260 * 32 + 32 + 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32)
    assert info.tokens_per_s == 0
    assert models.inspect(endless, info.sha256.upper()) == info


def test_inspect__a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = write_endless(tmp_path / "evil.gguf", general__name="\x1b[2J\nevil\u202e" + "x" * 100)
    name = models.inspect(path).name
    assert name.startswith("[2Jevil")
    assert len(name) == gguf.NAME_CHARS_MAX


def test_inspect__a_file_without_a_name_is_called_as_it_is_stored(tmp_path: Path) -> None:
    assert models.inspect(write_endless(tmp_path / "own.gguf", general__name="")).name == "own"


def test_inspect__names_a_missing_empty_foreign_or_split_file(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.gguf", tmp_path / "text.gguf"
    empty.write_bytes(b"")
    text.write_text("a haiku")
    split = write_endless(tmp_path / "split.gguf", split__count=3)
    assert "does not exist" in refusal(tmp_path / "none.gguf")
    assert "is empty" in refusal(empty)
    assert "is not GGUF" in refusal(text)
    assert "is a directory" in refusal(tmp_path)
    assert "is split in 3" in refusal(split)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [("llama__pooling_type", 1, "embedding"), ("general__type", "adapter", "adapter"), ("general__type", "mmproj", "mmproj")],
)
def test_inspect__names_what_writes_no_text(tmp_path: Path, key: str, value: int | str, kind: str) -> None:
    path = write_endless(tmp_path / "other.gguf", None, None, **{key: value})
    assert f"a model of the kind {kind}: give one that writes text" in refusal(path)


def test_inspect__only_models_of_our_trainer_are_asked_bare_questions(tmp_path: Path, endless: Path) -> None:
    assert models.inspect(endless).instruct
    assert models.inspect(write_endless(tmp_path / "other.gguf", tutti__prompt="what")).instruct
    assert not models.inspect(write_endless(tmp_path / "trained.gguf", tutti__prompt="question")).instruct
    assert not any(models.inspect(each.path).instruct for each in models.packaged())


def test_inspect__says_whether_there_is_a_chat_template(tmp_path: Path, endless: Path) -> None:
    assert models.inspect(endless).chat_template
    assert not models.inspect(write_endless(tmp_path / "base.gguf", tokenizer__chat_template="")).chat_template


def test_inspect__names_an_old_version(tmp_path: Path, endless: Path) -> None:
    old = tmp_path / "old.gguf"
    old.write_bytes(b"GGUF" + struct.pack("<I", 1) + endless.read_bytes()[8:])
    assert "GGUF version 1" in refusal(old)


def test_inspect__names_an_altered_file_of_the_right_shape(tmp_path: Path, endless: Path) -> None:
    raw = bytearray(endless.read_bytes())
    raw[-40] ^= 1
    altered = tmp_path / "altered.gguf"
    altered.write_bytes(raw)
    assert models.inspect(altered).name == "endless"
    assert "was altered or damaged" in refusal(altered, models.sha256_of(endless))


@settings(max_examples=60)
@given(st.data())
def test_inspect__names_a_file_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, endless: Path, data: st.DataObject
) -> None:
    raw = endless.read_bytes()
    cut = tmp_path_factory.mktemp("cut") / "cut.gguf"
    # From the magic on, up to the last weight (what follows that is padding).
    cut.write_bytes(raw[: data.draw(st.one_of(st.integers(4, 9_000), st.integers(4, len(raw) - 32)))])
    assert "truncated" in refusal(cut)


@settings(max_examples=100)
@given(st.data())
def test_inspect__no_damage_of_a_header_gets_past_as_anything_but_an_engine_error(
    tmp_path_factory: pytest.TempPathFactory, endless: Path, data: st.DataObject
) -> None:
    raw = bytearray(endless.read_bytes())
    at = data.draw(st.integers(4, 9_000))
    raw[at : at + 8] = data.draw(st.binary(min_size=1, max_size=8))
    damaged = tmp_path_factory.mktemp("damaged") / "damaged.gguf"
    damaged.write_bytes(raw)
    try:
        gguf.read_header(damaged)
    except EngineError as error:
        assert "\n" not in str(error)


def test_find__a_packaged_model_comes_with_its_hash_by_name_and_by_path(shelf: Path, endless: Path) -> None:
    expected = shelf / "tiny.gguf", models.sha256_of(endless)
    assert models.find("tiny", shelf) == expected
    assert models.find(str(shelf / "tiny.gguf"), shelf) == expected
    assert models.find(str(shelf / "own.gguf"), shelf) == (shelf / "own.gguf", None)


def test_find__an_unknown_name_lists_the_known_ones(shelf: Path) -> None:
    with pytest.raises(EngineError, match="no model is called 'tinny': use one of tiny, or the path"):
        models.find("tinny", shelf)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"models": [{"name": "tiny"}]}', '{"models": 7}'])
def test_packaged__a_damaged_manifest_is_named(shelf: Path, text: str) -> None:
    (shelf / "manifest.json").write_text(text)
    with pytest.raises(EngineError, match=r"manifest\.json is missing or damaged"):
        models.packaged(shelf)


@pytest.mark.skipif(not (models.MODELS_DIRECTORY / "manifest.json").exists(), reason="no models are packaged yet")
def test_packaged__every_file_is_what_the_manifest_says() -> None:
    for model in models.packaged():
        info = models.inspect(model.path, model.sha256)
        assert dataclasses.replace(info, name=model.name).sha256 == model.sha256
        assert info.size_bytes <= 1_500_000
