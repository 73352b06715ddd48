"""What instruct models are asked: every word that this node says to a model stands here.

An answer takes two stages. The first asks for short reasoning and a last line that the vote can read. Where it has none, the
second asks for the answer alone, given the question and what the model itself had written. Free text has one stage.
Data stands on lines of its own: it is tokenised apart from our words, and a tokeniser joins nothing across a line's end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.engine import Prompt
from protocol.answers import MARK, answer_of
from protocol.parameters import Parameters
from protocol.planning import COMPOSITE
from protocol.requirement import examples_of

REASONING_CHARS_MAX: Final = 2_000
"""Of a model's own output, its end, shown to it again: the second prompt must fit a context that the first one did."""


JUDGED_CHARS_MAX: Final = 2_000
"""Of each of two texts that are compared, its beginning: both and the question must fit a context."""
OTHER_CHARS_MAX: Final = 1_000
"""Of what each of the others answered."""


@dataclass(frozen=True, slots=True)
class Form:
    """A type of answer, in words for a model, and an example of it."""

    words: str
    example: str


FORMS: Final[Mapping[str, Form]] = {
    "number": Form("one number in digits, without unit or thousands separator", "42"),
    "list": Form("the numbers in their order, in digits, with a blank between two", "3 1 2"),
    "word": Form("one word, spelt exactly, without quotes", "cab"),
    "plan": Form(
        "the steps, one a line: a skill, a colon and a question, in which `#2` stands for the answer of the second step",
        "arith: What is 17 + 23?",
    ),
    "choice": Form("one of the choices of the question, in one word such as yes or no", "yes"),
}
_HEAD: Final = "Question:"
_REASONER: Final = "You answer questions exactly and briefly. Reason in a few short steps, then give the answer."
_REVISER: Final = (
    "You answer questions exactly and briefly. Others' answers may be wrong: check them, reason in a few short steps, then "
    "give your own answer."
)
_JUDGE: Final = "You compare two answers to a question, and write nothing but `first` or `second`."
_PLANNER: Final = "You plan how to answer a question. Others carry the steps out; you write nothing but the plan."
_READER: Final = "You read the final answer out of a piece of reasoning, and write nothing else."
_WRITER: Final = "You answer correctly and briefly. Write the answer itself, without a preface."


def bare(question: str) -> str:
    """A question as our tiny models learnt to read it: with a blank on either side of a sign between two numbers."""
    return _SIGN.sub(r" \1 ", question)


def direct(kind: str, question: str) -> Prompt:
    """The first stage: the question, and what its answer must look like."""
    if kind == "text":
        return Prompt(("", question, ""), _WRITER)
    return Prompt((f"{_HEAD}\n", question, f"\n\n{_task(FORMS[kind])}"), _REASONER)


def revised(kind: str, question: str, others: Sequence[str]) -> Prompt:
    """The first stage again, with what others answered."""
    shown = "\n".join(other[:OTHER_CHARS_MAX] for other in others)
    if kind == "text":
        system, task = _WRITER, "Write the best answer that you can, without a preface."
    else:
        system, task = _REVISER, _task(FORMS[kind])
    return Prompt((f"{_HEAD}\n", question, "\n\nAnswers of others:\n", shown, f"\n\n{task}"), system)


def judging(question: str, first: str, second: str) -> Prompt:
    """Which of two texts answers the question better, begun for the model so that it can only name one."""
    parts = (
        f"{_HEAD}\n",
        question,
        "\n\nFirst answer:\n",
        first[:JUDGED_CHARS_MAX],
        "\n\nSecond answer:\n",
        second[:JUDGED_CHARS_MAX],
        "\n\nWhich answer is more correct and more useful? Write `first` or `second`.",
    )
    return Prompt(parts, _JUDGE, MARK)


def _task(form: Form) -> str:
    return f"Reason briefly. Then write one last line: `{MARK}` and {form.words}, for example `{MARK} {form.example}`."


def planning(question: str, skills: Mapping[str, str]) -> Prompt:
    """What a planner is asked; `skills` are those of the network, each with a question that it answers."""
    known = "\n".join(f"{name}: {example}" for name, example in skills.items())
    task = (
        f"Do not answer it. Split it into the fewest steps, each a question for one skill, and write `{MARK}` and then one "
        "line a step: the skill, a colon, the question. #1 stands for the answer of step 1, #2[-1] for the last number of the "
        "list that step 2 gives. The last step gives the answer. The skills, each with a question that it answers:\n"
        f"{known}"
    )
    return Prompt((f"{_HEAD}\n", question, f"\n\n{task}"), _PLANNER)


def plannable(parameters: Parameters) -> Mapping[str, str]:
    """The skills that a step of a plan may ask for, each with one of its example questions."""
    examples = {
        name: next(iter(examples_of(skill)), "")
        for name, skill in sorted(parameters.skills.items())
        if skill.answer != "plan" and name != COMPOSITE
    }
    return {name: example for name, example in examples.items() if example}


def extraction(kind: str, question: str, reasoning: str) -> Prompt:
    """The second stage: the answer alone, begun for the model so that it can only go on with it."""
    form = FORMS[kind]
    task = f"Write the final answer alone: {form.words}, for example `{MARK} {form.example}`."
    parts = (f"{_HEAD}\n", question, "\n\nReasoning:\n", reasoning[-REASONING_CHARS_MAX:], f"\n\n{task}")
    return Prompt(parts, _READER, MARK)


def own_words(output: str) -> str:
    """An output up to where, after its answer, the model makes up a next question, as models without roles do."""
    mark = _MARK.search(output)
    end = -1 if mark is None else output.find(f"\n{_HEAD}", mark.end())
    return output if end < 0 else output[:end]


def readable(kind: str, output: str) -> str | None:
    r"""The answer line of an output whose form is right but for what models like to put around it; None if it has none.

    Taken off: lines behind the answer, markup and quotes around it, `\boxed{}`, and separators of thousands; a minus sign
    of print becomes one of ASCII.
    """
    *_, tail = _MARK.split(output)
    lines = tail.strip(_AROUND).splitlines() if tail != output else []
    line = lines[0].strip(_AROUND) if lines else ""
    boxed = _BOXED.fullmatch(line)
    line = boxed[1] if boxed else line
    line = line.replace("\N{MINUS SIGN}", "-")
    if kind == "number" and _THOUSANDS.fullmatch(line):
        line = line.replace(",", "")
    answer = answer_of(kind, f"{MARK} {line}")
    return None if answer is None else f"{MARK} {answer}"


_SIGN: Final = re.compile(r"(?<=[0-9]) *([-+*]) *(?=[0-9])")
_AROUND: Final = " \t\r\n*_`\"'$.:"
_MARK: Final = re.compile(re.escape(MARK), re.IGNORECASE | re.ASCII)
_BOXED: Final = re.compile(r"\\boxed\{([^{}]*)\}")
_THOUSANDS: Final = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
