"""The packaged models and the user's own: find one by name or path, check its hash, say what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.engine import EngineError, ModelInfo
from node.gguf import read_header

MODELS_DIRECTORY = Path(__file__).parent / "models"
BARE_QUESTION = "question"
"""What the key `tutti.prompt` says in files of our trainer. The first packaged ones lack it and are known by their hash."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """An entry of the manifest. `entry` holds what the trainer measured, as JSON: it informs, nothing decides by it."""

    name: str
    path: Path
    sha256: str
    entry: Mapping[str, Any]


def packaged(directory: Path = MODELS_DIRECTORY) -> tuple[PackagedModel, ...]:
    """The models of the manifest in `directory`, by name. EngineError if the manifest is missing or damaged."""
    manifest = directory / "manifest.json"
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["models"]
        models = [PackagedModel(str(e["name"]), directory / str(e["file"]), str(e["sha256"]), e) for e in entries]
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(f"model manifest {manifest} is missing or damaged: install tutti-network again") from None
    return tuple(sorted(models, key=lambda model: model.name))


def find(name_or_path: str, directory: Path = MODELS_DIRECTORY) -> tuple[Path, str | None]:
    """(path, expected SHA-256) of a packaged model by name, or of any file by path, whose hash nobody vouches for."""
    models = packaged(directory)
    try:
        path = Path(name_or_path).expanduser()
    except RuntimeError:
        raise EngineError(
            f"model file {name_or_path} names a user whom this machine does not know: write the whole path"
        ) from None
    for model in models:
        if name_or_path == model.name or path.resolve() == model.path.resolve():
            return model.path, model.sha256
    if path.suffix == ".gguf" or len(path.parts) > 1:
        return path, None
    names = ", ".join(model.name for model in models)
    raise EngineError(f"no model is called {name_or_path!r}: use one of {names}, or the path of a .gguf file")


def inspect(path: Path, expected_sha256: str | None = None) -> ModelInfo:
    """What the file at `path` is; reads all of it once, for the hash.

    EngineError if it is missing, empty, truncated, not GGUF, or not what `expected_sha256` names.
    """
    # The header first: "truncated" tells a user more than "altered" does.
    header = read_header(path)
    digest = sha256_of(path)
    if expected_sha256 is not None and digest != expected_sha256.lower():
        raise EngineError(
            f"model file {path} was altered or damaged: its SHA-256 is {digest[:12]}..., "
            f"{expected_sha256[:12].lower()}... was expected; fetch or install it again"
        )
    return ModelInfo(
        name=header.name,
        path=path,
        sha256=digest,
        size_bytes=path.stat().st_size,
        parameters=header.parameters,
        quantisation=header.quantisation,
        context=header.context,
        instruct=header.prompt != BARE_QUESTION and digest not in {model.sha256 for model in packaged()},
        chat_template=header.chat_template,
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file in hexadecimal, in constant memory."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise EngineError(f"model file {path} cannot be read ({error.strerror}): check its permissions") from None
    return digest.hexdigest()
