"""The words and names of exercises: common ones from tables, and made-up ones that can be pronounced.

A model that has only seen common words learns them by heart; made-up ones force it to read letter by letter, so that it
also reads the word that a person types.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from protocol.exercises_stream import Stream


def table(words: str) -> tuple[str, ...]:
    """The words of a text: a table of words is read more easily without a quote around each."""
    return tuple(words.split())


_COMMON: Final = table(
    "cat dog sun sky box red hat map key cup bus egg ice jam leg net owl pen rat sea ant bee cow eye fox gum hen ink jar oil "
    "bird fish tree moon star book door rain snow wind gold ship road king lamp milk rice salt shoe wolf bear frog goat lion "
    "apple bread chair cloud dance earth fruit glass grass green happy heart horse house juice knife lemon light money mouse "
    "music night ocean paper peach piano plant queen river robot salad sheep sleep smile snake spoon stone storm sugar table "
    "tiger train truck water whale white world hello youth zebra "
    "animal autumn banana basket bottle bridge butter button camera candle carrot castle cheese circle coffee cookie dragon "
    "dinner doctor family farmer finger flower forest friend garden guitar hammer island jacket jungle kitten ladder market "
    "melody mirror monkey mother number orange parrot pencil people pepper planet pocket potato purple rabbit rocket school "
    "silver spring square street summer sunset temple ticket tomato tunnel turtle valley violin window winter wizard yellow "
    "balloon blanket cabbage captain chicken compass country crystal dolphin drawing evening factory feather freedom gateway "
    "giraffe hamster harvest history holiday journey kitchen lantern leopard library machine morning mystery network octopus "
    "painter panther penguin picture pumpkin rainbow science scooter snowman spinach station stomach teacher thunder tractor "
    "traffic trumpet village volcano weather whisper "
    "airplane baseball building calendar children computer dinosaur distance elephant football goldfish hospital keyboard "
    "language magician mountain mushroom notebook painting password platypus question sandwich scissors squirrel starfish "
    "sunlight swimming tomorrow treasure triangle umbrella universe vacation wildlife "
    "adventure afternoon algorithm astronaut beautiful breakfast butterfly chocolate classroom crocodile dangerous different "
    "education fireworks important invisible knowledge landscape moonlight newspaper orchestra pineapple president raspberry "
    "signature snowflake spaceship submarine telephone territory wonderful yesterday"
)
_BY_LENGTH: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {length: tuple(word for word in _COMMON if len(word) == length) for length in range(3, 10)}
)
_VOWELS: Final = "aeiou"
_CONSONANTS: Final = "bcdfghjklmnpqrstvwxyz"
# Lengths of a word, at each difficulty.
LENGTHS: Final[Mapping[int, tuple[int, int]]] = MappingProxyType({1: (3, 5), 2: (5, 7), 3: (7, 9)})
NAMES: Final = ("Ana", "Ben", "Chloe", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Lena", "Omar")
_MORE_NAMES: Final = (
    *("Alice", "Anna", "Bob", "Carl", "Carol", "Clara", "Dan", "Eva", "Frank", "Henry", "Jack", "Jane", "John", "Julia", "Kim"),
    *(
        "Leo",
        "Lucy",
        "Maria",
        "Mark",
        "Mary",
        "Max",
        "Mia",
        "Nina",
        "Oscar",
        "Paul",
        "Peter",
        "Rosa",
        "Sam",
        "Sara",
        "Tim",
        "Tom",
    ),
)


def made_up(stream: Stream, length: int) -> str:
    """A word of `length` letters in which vowels and consonants mostly take turns."""
    word = ""
    vowel = stream.one_in(2)
    for _ in range(length):
        word += stream.choice(_VOWELS if vowel else _CONSONANTS)
        vowel ^= not stream.one_in(4)
    return word


def word_of(stream: Stream, length: int) -> str:
    """A word of `length` letters, from 3 to 9: every second time a common one."""
    return stream.choice(_BY_LENGTH[length]) if stream.one_in(2) else made_up(stream, length)


def word(stream: Stream, difficulty: int) -> str:
    """A word as long as the difficulty says."""
    return word_of(stream, stream.between(*LENGTHS[difficulty]))


def names(stream: Stream, count: int) -> list[str]:
    """`count` different names: common ones, one in four made up."""
    chosen = stream.sample((*NAMES, *_MORE_NAMES), count)
    for place in range(count):
        if stream.one_in(4):
            made = made_up(stream, stream.between(3, 6)).capitalize()
            chosen[place] = made if made not in chosen else chosen[place]
    return chosen
