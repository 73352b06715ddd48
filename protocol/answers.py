"""Canonical answers: two nodes that mean the same answer vote for the same bytes (specs/08-execution.md).

A model writes reasoning and then `answer:`. What stands behind the last mark is brought into the form of its type; what
has no such form is an abstention, which is a vote for nothing and never a vote for an empty answer.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Final

from protocol.constants import ANSWER_SIZE_MAX, TEXT_SIZE_MAX
from protocol.plan import canonical_plan

MARK: Final = "answer:"
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,64}(\.[0-9]{1,64})?")
# Which characters beyond ASCII are letters changes with the version of Unicode, so all but blanks and quotes will do.
_PART: Final = "(?:[0-9A-Za-z]|(?![\\s\u2018\u2019\u201c\u201d])[\u00c0-\ud7ff\ue000-\U0010ffff])+"
_WORD: Final = re.compile(f"{_PART}(?:-{_PART})*")
_QUOTES: Final = "\"'`\u2018\u2019\u201c\u201d"
_LIST_SEPARATORS: Final = re.compile(r"[\s,;]+")


def canonical_answer(kind: str, text: str) -> str | None:
    """The form of `text` as a "number", "list" of numbers, "word", "choice", "plan" or "text"; None if it has none."""
    if kind == "number":
        return _number(text.strip().rstrip("."))
    if kind == "list":
        return _list(text.strip().rstrip("."))
    if kind == "word":
        return _word(text)
    if kind == "choice":
        return _choice(text)
    if kind == "plan":
        return canonical_plan(text)
    return _text(text)


def answer_of(kind: str, output: str) -> str | None:
    """The canonical answer in a model's output; None is an abstention.

    A voted answer must stand behind the mark and is short; free text is itself the answer.
    """
    if kind == "text":
        return canonical_answer(kind, output)
    # Models write `Answer:` as well. Only ASCII letters are lowered: other scripts' letters may change their length.
    place = output.translate(_LOWER).rfind(MARK)
    answer = canonical_answer(kind, output[place + len(MARK) :]) if place >= 0 else None
    return None if answer is None or len(answer.encode()) > ANSWER_SIZE_MAX else answer


def is_canonical(kind: str, answer: str) -> bool:
    """Whether all who mean this answer would vote for these bytes."""
    return canonical_answer(kind, answer) == answer and (kind == "text" or len(answer.encode()) <= ANSWER_SIZE_MAX)


def _number(text: str) -> str | None:
    # ASCII digits only: other scripts' digits would give one number many spellings.
    # specs/08-execution.md: "What remains MUST be an optional sign, 1 to 64 digits 0 to 9 and, if there is a point, 1 to 64
    # digits behind it."
    if not _NUMBER.fullmatch(text):
        return None
    sign = "-" if text[0] == "-" else ""
    whole, _, fraction = text.lstrip("+-").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    value = f"{whole}.{fraction}" if fraction else whole
    return value if value == "0" else sign + value


def _list(text: str) -> str | None:
    inner = text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text
    items = [_number(item) for item in _LIST_SEPARATORS.split(inner.strip()) if item]
    # specs/08-execution.md: "there is at least one, and each MUST be a number by the rule above"
    if not items or None in items:
        return None
    return " ".join(item for item in items if item is not None)


def _word(text: str) -> str | None:
    # A sentence ends inside or outside of the quotes, so both dots go.
    bare = unicodedata.normalize("NFC", text).strip().rstrip(".").strip(_QUOTES).rstrip(".")
    return bare if _WORD.fullmatch(bare) else None


def _choice(text: str) -> str | None:
    word = _word(text)
    return word.translate(_LOWER) if word is not None and word.isascii() else None


def _text(text: str) -> str | None:
    # The end, where conclusions stand, within what an opening may carry. Half a pair of surrogates has no UTF-8.
    return text.encode("utf-8", "replace")[-TEXT_SIZE_MAX:].decode("utf-8", "ignore").strip() or None
