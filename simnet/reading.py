"""What a simulated model makes of a question: its skill, family, difficulty and the right answer, from the words alone.

An auditor draws its exercises where no solver can look, so even a simulated one has to read. Of the generator it has only
the categories of words, since nobody can tell by letters that a plum is a fruit, and the phrasings of composite questions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from protocol.exercises_composite import FAMILIES, Steps, solution
from protocol.exercises_logic import CATEGORIES, RELATIONS


class Reading(NamedTuple):
    """A question that was understood. `plan` is the right plan, empty where the question takes one step.

    `difficulty` is what can be told from the words: where the ranges of two overlap it is the lower one, and of chains, the
    first of which may be as long as the second, it is the number of statements.
    """

    skill: str
    family: str
    difficulty: int
    gold: str
    plan: str = ""


_NUMBERS: Final = re.compile(r"[0-9]+")
_LIMIT: Final = re.compile(r"(?:greater than|above|exceed) ([0-9]+)")
# What a text must contain, in the order of the checks, its family, and what then is right. Lists go before sums: "from smallest
# to largest" stands in a text that asks for sorting, and no text about two numbers has any of these words.
_LISTS: Final[tuple[tuple[str, str, Callable[[list[int]], list[int]]], ...]] = (
    (r"\bsort\b|ascending|increasing", "sort", sorted),
    (r"\breverse\b|backwards|from last to first", "reverse", lambda numbers: numbers[::-1]),
    (r"largest|maximum|biggest|highest", "max", lambda numbers: [max(numbers)]),
    (r"smallest|minimum|\bleast\b|lowest", "min", lambda numbers: [min(numbers)]),
)
# The highest of each difficulty but the last: of numbers, of a list's length, of letters, of items or statements.
_ARITH: Final = (149, 499)
_LENGTH: Final = (4, 6)
_LETTERS: Final = (5, 7)
_COMPARED_UP_TO: Final = (99, 999)
_PARITY_UP_TO: Final = (999, 9_999)
_ITEMS_UP_TO: Final = (4, 5)
_STATEMENTS_UP_TO: Final = (1, 2)
_SHORT_LENGTH: Final = (2, 3)
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


# The patterns of questions about one word, their family, and what is right then; the word is named so, and the letter.
_ONE_WORD: Final[tuple[tuple[str, str, Callable[[str, str], str]], ...]] = (
    (
        r"(?i:how many times does (?:the letter )?(?P<l>\w) (?:occur|appear) in (?:the word )?(?P<w>\w+))",
        "count_letter",
        _counted,
    ),
    (r"(?i:count the letter (?P<l>\w) in (?P<w>\w+))", "count_letter", _counted),
    (r"(?i:how many (?P<l>\w)(?:'s are)? in (?P<w>\w+))", "count_letter", _counted),
    (r"(?i:how many letters \"(?P<l>\w)\" are in \"(?P<w>\w+)\")", "count_letter", _counted),
    (r"(?i:how often is there the letter (?P<l>\w) in (?P<w>\w+))", "count_letter", _counted),
    (r"(?i:reverse (?:the word )?\"?(?P<w>\w+)\"?(?P<l>)\.?$)", "reverse_word", lambda word, _: word[::-1]),
    (r"(?i:(?P<w>\w+)(?: spelled)?(?P<l>) backwards)", "reverse_word", lambda word, _: word[::-1]),
    (r"(?i:(?P<w>\w+)\"?(?P<l>) (?:in|to) (?:capital|upper ?case))", "capitals", lambda word, _: word.upper()),
    (r"(?i:capitalize every letter of (?P<w>\w+)(?P<l>))", "capitals", lambda word, _: word.upper()),
    (r"(?i:last letters? of (?:the word )?(?P<w>\w+)(?P<l>))", "first_last", lambda word, _: word[0] + word[-1]),
)
_TWO_WORDS: Final = re.compile(r"(\w+),? (?:or|and) (\w+)(?: has| comes|\?$)")


_NUMBER, _LIST, _WORD = "[0-9]+", "[0-9]+(?:,? [0-9]+)*", r"\w+"
_FIELDS: Final = {"list": _LIST, "other": _LIST, "word": _WORD, "letter": _WORD}


def _pattern(phrasing: str) -> re.Pattern[str]:
    """A phrasing of the generator as what it can look like with its fields filled in."""
    seen: set[str] = set()

    def field(found: re.Match[str]) -> str:
        name = found[1]
        again = name in seen
        seen.add(name)
        return f"(?P={name})" if again else f"(?P<{name}>{_FIELDS.get(name, _NUMBER)})"

    return re.compile(re.sub(r"\\{(\w+)\\}", field, re.escape(phrasing)))


_COMPOSITE: Final[tuple[tuple[re.Pattern[str], str, Steps], ...]] = tuple(
    (_pattern(phrasing), name, steps)
    for name, family in FAMILIES.items()
    for phrasings, steps in family.ways
    for phrasing in phrasings
)


def read(text: str) -> Reading | None:
    """What an exercise of `protocol.exercises` asks; None if it is none."""
    words = text.lower()
    numbers = [int(found) for found in _NUMBERS.findall(words)]
    composite = _composite(text) if numbers else None
    if composite is not None:
        return composite
    if _ODD_ONE_OUT.search(words):
        return _odd_one_out(words)
    if not numbers:
        return _chain(words) or _one_word(text) or _two_words(text)
    return _parity(words, numbers[0]) or _compare(words) or _lists(words, numbers) or _arith(words, numbers)


def _difficulty(size: int, up_to: tuple[int, int]) -> int:
    return 1 + sum(size > most for most in up_to)


def _composite(text: str) -> Reading | None:
    for pattern, name, steps in _COMPOSITE:
        found = pattern.fullmatch(text)
        if found is not None:
            done = solution(steps, found.groupdict())
            length = len(_NUMBERS.findall(found["list"]))
            difficulty = _difficulty(length, _SHORT_LENGTH if name == "two_lists" else _LENGTH)
            return Reading("composite", name, difficulty, done[-1].value, "\n".join(step.line for step in done))
    return None


def _lists(words: str, numbers: list[int]) -> Reading | None:
    limit = _LIMIT.search(words)
    if limit is not None:
        rest = [int(found) for found in _NUMBERS.findall(words[: limit.start()] + words[limit.end() :])]
        return Reading("lists", "count", _difficulty(len(rest), _LENGTH), str(sum(number > int(limit[1]) for number in rest)))
    for pattern, family, answer in _LISTS:
        if re.search(pattern, words):
            return Reading("lists", family, _difficulty(len(numbers), _LENGTH), " ".join(map(str, answer(numbers))))
    return None


def _arith(words: str, numbers: list[int]) -> Reading | None:
    if len(numbers) != 2:  # noqa: PLR2004  every other exercise is about two numbers
        return None
    first, second = numbers
    if _TIMES.search(words):
        family, gold = "times", first * second
    elif _SUBTRACT.search(words):
        family, gold = "subtract", abs(first - second)
    else:
        family, gold = "add", first + second
    return Reading("arith", "word" if "how many" in words else family, _difficulty(max(numbers), _ARITH), str(gold))


def _parity(words: str, number: int) -> Reading | None:
    even = number % 2 == 0
    if re.search(r"\beven or (?:an )?odd\b", words):
        gold = "even" if even else "odd"
    elif re.search(r"\beven\b|divided by 2 ", words):
        gold = "yes" if even else "no"
    elif re.search(r"\bodd\b", words):
        gold = "no" if even else "yes"
    else:
        return None
    return Reading("logic", "parity", _difficulty(number, _PARITY_UP_TO), gold)


def _compare(words: str) -> Reading | None:
    asked, chosen = _COMPARED.search(words), _CHOSEN.search(words)
    if asked is not None:
        a, b = int(asked[1]), int(asked[3])
        gold = "yes" if (a > b if _GREATER.search(asked[2]) else a < b) else "no"
    elif chosen is not None and re.search(r"larger|greater|bigger|smaller|less", words):
        a, b = int(chosen[1]), int(chosen[2])
        gold = str((max if _GREATER.search(words) else min)(a, b))
    else:
        return None
    return Reading("logic", "compare", _difficulty(max(a, b), _COMPARED_UP_TO), gold)


def _odd_one_out(words: str) -> Reading | None:
    items = _ITEMS.search(words)
    if items is None:
        return None
    found = items[0].split(", ")
    kinds = [str(int(item) % 2) if item.isdecimal() else _KIND_OF.get(item) for item in found]
    gold = next((item for item, kind in zip(found, kinds, strict=True) if kinds.count(kind) == 1), None)
    return None if gold is None else Reading("logic", "odd_one_out", _difficulty(len(found), _ITEMS_UP_TO), gold)


def _chain(words: str) -> Reading | None:
    gold = _top_of(words)
    if gold is None:
        return None
    return Reading("logic", "chain", _difficulty(len(_STATEMENT.findall(words)), _STATEMENTS_UP_TO), gold)


def _top_of(words: str) -> str | None:
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


def _one_word(text: str) -> Reading | None:
    for pattern, family, answer in _ONE_WORD:
        found = re.search(pattern, text)
        if found is not None:
            word = str(found["w"])
            return Reading("text", family, _difficulty(len(word), _LETTERS), answer(word, str(found["l"])))
    return None


def _two_words(text: str) -> Reading | None:
    found = _TWO_WORDS.search(text)
    if found is None:
        return None
    a, b = str(found[1]), str(found[2])
    if re.search("longer|more letters", text):
        gold = max(a, b, key=len)
    elif re.search("shorter|fewer letters", text):
        gold = min(a, b, key=len)
    elif re.search("alphabet|dictionary", text):
        gold = max(a, b) if "last" in text else min(a, b)
    else:
        return None
    return Reading("text", "compare_words", _difficulty(max(len(a), len(b)), _LETTERS), gold)
