"""The default skills of instruct models: questions that are not among the examples find their skill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from protocol.answers import canonical_answer
from protocol.constants import RECORD_LIFETIME_MS_MAX
from protocol.core import Core
from protocol.envelope import seal
from protocol.events import AddressesChanged, AuditsWanted, Instant, MessageReceived, PeerConnected
from protocol.exercises import generate
from protocol.genesis import Genesis
from protocol.identity import KeySigner
from protocol.instruct import INSTRUCT_SKILLS, SIMILARITY_MIN_INSTRUCT
from protocol.messages import Beacon
from protocol.parameters import Parameters
from protocol.requirement import RequirementMap
from simnet.draws import Stream
from tests.support import WALL_MS, peers, record, sent

FOUNDER = KeySigner(b"f" * 32)
PARAMETERS = Parameters(Genesis("ordinary", FOUNDER.public_key, bytes(16)), 1, INSTRUCT_SKILLS, SIMILARITY_MIN_INSTRUCT)

# Typical questions, written without a look at the examples and never changed to fit.
TYPICAL = {
    "math": (
        "What is 37 * 24?",
        "A book costs 18 euros. How much do 7 books cost?",
        "What is 30% of 250?",
        "Solve 4x + 5 = 29.",
        "Lena has 23 apples and gives away 9. How many are left?",
        "What is the area of a circle with radius 5?",
        "How far does a bus go in 4 hours at 70 km/h?",
        "What is the square root of 225?",
        "What is the average of 10, 20 and 60?",
        "Peter is 8 years older than Eva, who is 15. How old is Peter?",
        "What is 1/3 + 1/6?",
        "If 3 workers need 12 days, how many days do 6 workers need?",
    ),
    "code": (
        "Write a Python function that returns the n-th Fibonacci number.",
        "How do I remove an item from a list in Python?",
        "Write a SQL query that counts the orders of each customer.",
        "Fix this code: print('hello'",
        "Implement bubble sort in Java.",
        "What is the time complexity of merge sort?",
        "Write a bash script to rename all files in a folder.",
        "How can I parse JSON in JavaScript?",
        "Write a regular expression for a date like 2024-01-31.",
        "What is the difference between a thread and a process in Python?",
        "Create a React component that shows a counter.",
        "Why does my C program crash with a segmentation fault?",
    ),
    "writing": (
        "Write a poem about winter.",
        "Write a short story about a time traveller.",
        "Write an email to my landlord about a broken heater.",
        "Correct the grammar: She don't like apples.",
        "Summarize this article in two sentences.",
        "Write a cover letter for a software developer position.",
        "Rewrite this sentence to sound more professional.",
        "Write a haiku about rain.",
        "Write a speech for my best friend's birthday.",
        "Suggest a name for a bookshop.",
        "Write a product description for a wireless headphone.",
        "Write a funny limerick about a programmer.",
    ),
    "translation": (
        "Translate to German: I would like to book a room.",
        "How do you say 'good morning' in Spanish?",
        "Translate 'The weather is nice today' into French.",
        "What does 'merci beaucoup' mean in English?",
        "Translate into English: Ich möchte ein Bier.",
        "What is the Italian word for cheese?",
        "Translate the following sentence into Portuguese: We are going to the beach.",
        "How would you say 'happy birthday' in Japanese?",
        "Please translate this email into Spanish.",
        "Translate from French to English: Il fait froid.",
        "What is 'butterfly' in German?",
        "Can you translate this paragraph to Chinese?",
    ),
    "knowledge": (
        "What is the capital of Canada?",
        "Who wrote Pride and Prejudice?",
        "When did the First World War begin?",
        "Why is the grass green?",
        "How many planets are in the solar system?",
        "Who invented the light bulb?",
        "What is the longest river in the world?",
        "How does a refrigerator work?",
        "What is the chemical symbol for silver?",
        "Where is the Amazon rainforest?",
        "Who was the first woman in space?",
        "What causes lightning?",
    ),
    "general": ("Hello!", "Are you there?", "Thanks, that was great.", "I feel sad today."),
}
# Written after `similarity_min` was chosen by the above.
UNSEEN = {
    "math": (
        "What is 84 divided by 7?",
        "A pizza is cut into 8 slices and 3 are eaten. How many are left?",
        "What is 12% of 50?",
        "Solve for y: 7y - 4 = 24.",
        "How many hours are in 3 days?",
        "What is 5 cubed?",
    ),
    "code": (
        "Write a function in Python that counts vowels in a string.",
        "How do I delete a branch in git?",
        "Explain what this function does.",
        "Write a Java program that reads numbers from the keyboard.",
        "How do I center a button with CSS?",
        "Implement a queue in C++.",
    ),
    "writing": (
        "Write a letter to my neighbour about the noise.",
        "Write a poem for my mother.",
        "Tell me a story about a pirate.",
        "Make this paragraph shorter.",
        "Give me three ideas for a blog post.",
        "Write a short essay about friendship.",
    ),
    "translation": (
        "Translate into Dutch: Where do you live?",
        "How do you say 'cheers' in Swedish?",
        "What does 'danke' mean in English?",
        "Translate this into English: Hace mucho calor.",
        "What is the French word for 'spoon'?",
        "Translate the word 'freedom' into Arabic.",
    ),
    "knowledge": (
        "What is the capital of Peru?",
        "Who painted The Starry Night?",
        "When did the Titanic sink?",
        "Why is the ocean blue?",
        "How does a battery work?",
        "Which planet has the most moons?",
    ),
}


REQUIREMENT_MAP = RequirementMap(PARAMETERS)


def misplaced(questions: Mapping[str, Sequence[str]]) -> list[str]:
    return [text for skill, texts in questions.items() for text in texts if REQUIREMENT_MAP(text).skill != skill]


def test_typical_questions__find_their_skill() -> None:
    # The one that is left asks for a difference, as questions of knowledge do; greetings may look like anything.
    specific = {skill: texts for skill, texts in TYPICAL.items() if skill != "general"}
    assert sum(map(len, specific.values())) == 60
    assert misplaced(specific) == ["What is the difference between a thread and a process in Python?"]


def test_questions_written_after_the_threshold__find_their_skill() -> None:
    assert sum(map(len, UNSEEN.values())) == 30
    assert len(misplaced(UNSEEN)) <= 2


def test_greetings__are_mostly_general() -> None:
    assert len(misplaced({"general": TYPICAL["general"]})) <= 1


def test_examples__stand_once_and_find_their_own_skill() -> None:
    texts = [text for skill in INSTRUCT_SKILLS.values() for text in skill.examples]
    assert len(set(texts)) == len(texts)
    assert misplaced({name: skill.examples for name, skill in INSTRUCT_SKILLS.items()}) == []


def test_math__is_audited_by_exercises_whose_answers_are_numbers() -> None:
    pairs = INSTRUCT_SKILLS["math"].audited_by
    assert len(pairs) == len(INSTRUCT_SKILLS["math"].exercises)
    for skill, family in pairs:
        for seed in range(20):
            gold = generate(skill, 1 + seed % 3, seed, family).gold
            assert canonical_answer("number", gold) == gold


def test_free_text__has_no_audits_and_is_not_voted() -> None:
    for name in ("code", "writing", "translation", "knowledge"):
        assert INSTRUCT_SKILLS[name].answer == "text"
        assert INSTRUCT_SKILLS[name].audited_by == ()


def test_parameters__of_the_set_can_be_signed() -> None:
    PARAMETERS.check(PARAMETERS.signed_by(FOUNDER))


def test_audits__of_math_are_exercises_of_arithmetic_in_the_skill_math() -> None:
    others = peers(2)
    core = Core(KeySigner(b"c" * 32), PARAMETERS, record(), Stream(1, "entropy").bytes, (), REQUIREMENT_MAP)
    now = Instant(1_000, WALL_MS)
    core.step(AddressesChanged(()), now)
    for peer in others:
        core.step(PeerConnected(peer.public_key), now)
        own = replace(record("math", "code"), sequence=1)
        data = seal(peer, PARAMETERS.network, own.TYPE, "records", own.body(), WALL_MS, RECORD_LIFETIME_MS_MAX)
        core.step(MessageReceived(peer.public_key, data), now)
    assert core.audits.skills == ("math",)
    beacons = sent(core.step(AuditsWanted(), now), Beacon)
    assert beacons
    assert {(beacon.skill, beacon.answer) for _, beacon in beacons} == {("math", "number")}
    assert not core.audits.settled(("math",))
    assert core.audits.settled(("code",))
