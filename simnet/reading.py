"""What a simulated model makes of a question: its skill and the right answer, from the words alone.

An auditor draws its exercises where no solver can look, so even a simulated one has to read. Only the categories of words
come from the generator: nobody can tell from the letters that a plum is a fruit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from protocol.exercises_logic import CATEGORIES, RELATIONS

_NUMBERS: Final = re.compile(r"[0-9]+")
_LIMIT: Final = re.compile(r"(?:greater than|above|exceed) ([0-9]+)")
# What a text must contain, in the order of the checks, and what then is right. Lists go first: "from smallest to largest"
# stands in a text that asks for sorting, and no text about two numbers has any of these words.
_LISTS: Final[tuple[tuple[str, Callable[[list[int]], list[int]]], ...]] = (
    (r"\bsort\b|ascending|increasing", sorted),
    (r"\breverse\b|backwards|from last to first", lambda numbers: numbers[::-1]),
    (r"largest|maximum|biggest|highest", lambda numbers: [max(numbers)]),
    (r"smallest|minimum|\bleast\b|lowest", lambda numbers: [min(numbers)]),
)
_TIMES: Final = re.compile(r"\*|multiply|\btimes\b|product|each box|bags of|every day")
_SUBTRACT: Final = re.compile(r" - |subtract|\btake\b|minus|what is left|gives away|\bsold\b|how many more|missing")

_ODD_ONE_OUT: Final = re.compile(r"odd one out|does not belong|all but one")
_GREATER: Final = re.compile(r"greater|bigger|larger|\bmore\b")
_COMPARED: Final = re.compile(r"^is (?:the number )?([0-9]+) (.+) than ([0-9]+)\?$")
_CHOSEN: Final = re.compile(r"([0-9]+) (?:or|and) ([0-9]+)\?$")
_ITEMS: Final = re.compile(r"\w+(?:, \w+){2,}")
_STATEMENT: Final = re.compile(r"(\w+) is (\w+) than (\w+)\.")
_KIND_OF: Final = {word: kind for kind, words in CATEGORIES.items() for word in words}


def _counted(word: str, letter: str) -> str:
    return str(word.count(letter))


# The patterns of questions about one word and what is right then; the word is named so, and the letter.
_ONE_WORD: Final[tuple[tuple[str, Callable[[str, str], str]], ...]] = (
    (r"(?i:how many times does (?:the letter )?(?P<l>\w) (?:occur|appear) in (?:the word )?(?P<w>\w+))", _counted),
    (r"(?i:count the letter (?P<l>\w) in (?P<w>\w+))", _counted),
    (r"(?i:how many (?P<l>\w)(?:'s are)? in (?P<w>\w+))", _counted),
    (r"(?i:how many letters \"(?P<l>\w)\" are in \"(?P<w>\w+)\")", _counted),
    (r"(?i:how often is there the letter (?P<l>\w) in (?P<w>\w+))", _counted),
    (r"(?i:reverse (?:the word )?\"?(?P<w>\w+)\"?(?P<l>)\.?$)", lambda word, _: word[::-1]),
    (r"(?i:(?P<w>\w+)(?: spelled)?(?P<l>) backwards)", lambda word, _: word[::-1]),
    (r"(?i:(?P<w>\w+)\"?(?P<l>) (?:in|to) (?:capital|upper ?case))", lambda word, _: word.upper()),
    (r"(?i:capitalize every letter of (?P<w>\w+)(?P<l>))", lambda word, _: word.upper()),
    (r"(?i:last letters? of (?:the word )?(?P<w>\w+)(?P<l>))", lambda word, _: word[0] + word[-1]),
)
_TWO_WORDS: Final = re.compile(r"(\w+),? (?:or|and) (\w+)(?: has| comes|\?$)")


def read(text: str) -> tuple[str, str] | None:
    """The skill and the right answer of an exercise of `protocol.exercises`; None if it is none."""
    words = text.lower()
    numbers = [int(found) for found in _NUMBERS.findall(words)]
    if _ODD_ONE_OUT.search(words):
        return _named("logic", _odd_one_out(words))
    if not numbers:
        answer = _chain(words)
        return ("logic", answer) if answer else _named("text", _one_word(text) or _two_words(text))
    answer = _parity(words, numbers[0]) or _compare(words)
    if answer is not None:
        return "logic", answer
    return _lists(words, numbers) or _named("arith", _arith(words, numbers))


def _named(skill: str, answer: str | None) -> tuple[str, str] | None:
    return None if answer is None else (skill, answer)


def _lists(words: str, numbers: list[int]) -> tuple[str, str] | None:
    limit = _LIMIT.search(words)
    if limit is not None:
        rest = words[: limit.start()] + words[limit.end() :]
        return "lists", str(sum(int(found) > int(limit[1]) for found in _NUMBERS.findall(rest)))
    for pattern, answer in _LISTS:
        if re.search(pattern, words):
            return "lists", " ".join(map(str, answer(numbers)))
    return None


def _arith(words: str, numbers: list[int]) -> str | None:
    if len(numbers) != 2:  # noqa: PLR2004  every other exercise is about two numbers
        return None
    first, second = numbers
    if _TIMES.search(words):
        return str(first * second)
    return str(abs(first - second)) if _SUBTRACT.search(words) else str(first + second)


def _parity(words: str, number: int) -> str | None:
    even = number % 2 == 0
    if re.search(r"\beven or (?:an )?odd\b", words):
        return "even" if even else "odd"
    if re.search(r"\beven\b|divided by 2 ", words):
        return "yes" if even else "no"
    return ("no" if even else "yes") if re.search(r"\bodd\b", words) else None


def _compare(words: str) -> str | None:
    asked = _COMPARED.search(words)
    if asked is not None:
        a, b = int(asked[1]), int(asked[3])
        return "yes" if (a > b if _GREATER.search(asked[2]) else a < b) else "no"
    chosen = _CHOSEN.search(words)
    if chosen is None or not re.search(r"larger|greater|bigger|smaller|less", words):
        return None
    return str((max if _GREATER.search(words) else min)(int(chosen[1]), int(chosen[2])))


def _odd_one_out(words: str) -> str | None:
    items = _ITEMS.search(words)
    if items is None:
        return None
    found = items[0].split(", ")
    kinds = [str(int(item) % 2) if item.isdecimal() else _KIND_OF.get(item) for item in found]
    return next((item for item, kind in zip(found, kinds, strict=True) if kinds.count(kind) == 1), None)


def _chain(words: str) -> str | None:
    """Statements turned so that the upper one stands first, then followed from the top."""
    more = {relation[0] for relation in RELATIONS} | {relation[2] for relation in RELATIONS}
    below: dict[str, str] = {a if word in more else b: b if word in more else a for a, word, b in _STATEMENT.findall(words)}
    order = [name for name in below if name not in below.values()][:1]
    while order and order[-1] in below and len(order) <= len(below):
        order.append(below[order[-1]])
    if not order:
        return None
    asked = re.search(r"\bis (\w+) (\w+) than (\w+)\?$", words)
    if asked is None:
        return order[0] if more.intersection(re.findall(r"\w+", words.rpartition(".")[2])) else order[-1]
    a, word, b = asked[1], asked[2], asked[3]
    if a not in order or b not in order:
        return None
    return "yes" if (order.index(a) < order.index(b)) == (word in more) else "no"


def _one_word(text: str) -> str | None:
    for pattern, answer in _ONE_WORD:
        found = re.search(pattern, text)
        if found is not None:
            return answer(str(found["w"]), str(found["l"]))
    return None


def _two_words(text: str) -> str | None:
    found = _TWO_WORDS.search(text)
    if found is None:
        return None
    a, b = found[1], found[2]
    if re.search("longer|more letters", text):
        return str(max(a, b, key=len))
    if re.search("shorter|fewer letters", text):
        return str(min(a, b, key=len))
    if not re.search("alphabet|dictionary", text):
        return None
    return str(max(a, b) if "last" in text else min(a, b))
