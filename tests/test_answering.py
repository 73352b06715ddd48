"""What instruct models are asked, and what is made of what they write."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import answering, prompts
from node.answering import EXTRACTION_TOKENS_MAX, TOKENS_MIN, answer, judge
from node.engine import GREEDY, Completion, EngineError, ModelInfo, Prompt, Sampling
from protocol.answers import answer_of
from protocol.messages import Beacon

QUESTION = "What is 6 times 7?"


@dataclass
class FakeEngine:
    """Writes what it is told, a text for each call, and keeps the calls; a None is a failure."""

    texts: list[str | None]
    instruct: bool = True
    tokens_per_s: int = 1_000
    calls: list[tuple[Prompt | str, int, int, Sampling]] = field(default_factory=list)
    pid: int | None = 1
    restarts: int = 0

    @property
    def model(self) -> ModelInfo:
        return ModelInfo("fake", Path("fake.gguf"), "", 1, 1, "Q8_0", 2_048, self.tokens_per_s, self.instruct)

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to end."""

    async def infer(self, prompt: Prompt | str, max_tokens: int, deadline_ms: int, sampling: Sampling = GREEDY) -> Completion:
        self.calls.append((prompt, max_tokens, deadline_ms, sampling))
        text = self.texts.pop(0)
        if text is None:
            raise EngineError("it failed")
        return Completion(text, 100, min(len(text), max_tokens), 5)


def asked(engine: FakeEngine, kind: str = "number", tokens_max: int = 256, deadline_ms: int = 60_000) -> Completion:
    return asyncio.run(answer(engine, QUESTION, kind, tokens_max, deadline_ms, Sampling(700, 3)))


def judged(engine: FakeEngine, deadline_ms: int = 60_000) -> Completion:
    return asyncio.run(judge(engine, QUESTION, ("It is 42.", "It is 41."), 16, deadline_ms))


# --- The words


def spelt(prompt: Prompt) -> str:
    return f"[{prompt.system}]\n{'|'.join(prompt.message)}\n[{prompt.opening}]"


def test_direct__asks_for_reasoning_and_a_line_of_the_form() -> None:
    assert spelt(prompts.direct("number", QUESTION)) == (
        "[You answer questions exactly and briefly. Reason in a few short steps, then give the answer.]\n"
        "Question:\n|What is 6 times 7?|\n\n"
        "Reason briefly. Then write one last line: `answer:` and one number in digits, without unit or thousands separator, "
        "for example `answer: 42`.\n"
        "[]"
    )


def test_direct__asks_free_text_for_no_mark() -> None:
    assert spelt(prompts.direct("text", QUESTION)) == (
        "[You answer correctly and briefly. Write the answer itself, without a preface.]\n|What is 6 times 7?|\n[]"
    )


def test_extraction__asks_for_the_answer_alone_and_begins_it() -> None:
    assert spelt(prompts.extraction("list", "Sort 3 1 2.", "First 1.")) == (
        "[You read the final answer out of a piece of reasoning, and write nothing else.]\n"
        "Question:\n|Sort 3 1 2.|\n\nReasoning:\n|First 1.|\n\n"
        "Write the final answer alone: the numbers in their order, in digits, with a blank between two, "
        "for example `answer: 3 1 2`.\n"
        "[answer:]"
    )


def test_extraction__shows_the_end_of_a_long_reasoning() -> None:
    reasoning = "x" * 10_000 + "so it is 42"
    assert prompts.extraction("number", QUESTION, reasoning).message[3] == reasoning[-prompts.REASONING_CHARS_MAX :]


def test_forms__are_there_for_every_type_of_answer_that_a_beacon_may_name() -> None:
    refusal = Beacon.RULES["answer"]("no such type")
    assert refusal is not None
    assert set(refusal.removeprefix("is not one of ").split(", ")) == {*prompts.FORMS, "text"}


@pytest.mark.parametrize("kind", sorted(prompts.FORMS))
def test_forms__examples_are_answers_of_their_type(kind: str) -> None:
    example = prompts.FORMS[kind].example
    assert answer_of(kind, f"answer: {example}") == example


@pytest.mark.parametrize(
    ("kind", "output", "line"),
    [
        ("number", "6 * 7 = 42\nAnswer: 42\n\nI hope this helps!", "answer: 42"),
        ("number", "**Answer:** 42", "answer: 42"),
        ("number", "**Answer: 42.**", "answer: 42"),
        ("number", "answer: $42$", "answer: 42"),
        ("number", r"answer: $\boxed{42}$", "answer: 42"),
        ("number", "answer:\n\n`1,234,567`", "answer: 1234567"),
        ("number", "answer: \u22121,234", "answer: -1234"),
        ("list", "answer: 3, \u22121", "answer: 3 -1"),
        ("number", "answer: 1,2", None),
        ("number", "answer: 42 apples", None),
        ("number", "answer: 41 or 42", None),
        ("number", "answer: 42\nNo. answer: forty", None),
        ("number", "the number is 42", None),
        ("number", "answer:", None),
        ("number", "", None),
        ("number", "\u0130answer: 42\n.", "answer: 42"),
        ("list", "answer: [3, 1, 2]\nDone.", "answer: 3 1 2"),
        ("word", 'The word is cab.\nAnswer: "cab".', "answer: cab"),
        ("word", "answer: the word cab", None),
        ("choice", "**Answer: Yes.**\nBecause it is.", "answer: yes"),
    ],
)
def test_readable__takes_off_what_models_put_around_an_answer(kind: str, output: str, line: str | None) -> None:
    assert prompts.readable(kind, output) == line


@given(st.sampled_from(sorted(prompts.FORMS)), st.text(max_size=40).map(lambda text: f"answer: {text}"))
def test_readable__gives_only_what_the_vote_can_read(kind: str, output: str) -> None:
    line = prompts.readable(kind, output)
    assert line is None or answer_of(kind, line) == line.removeprefix("answer: ")


# --- The stages


def test_answer__our_own_models_get_the_bare_question() -> None:
    engine = FakeEngine(["no answer"], instruct=False)
    assert asked(engine, tokens_max=200).text == "no answer"
    assert engine.calls == [(QUESTION, 200, 60_000, Sampling(700, 3))]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("12+30", "12 + 30"),
        ("What is 7 *8?", "What is 7 * 8?"),
        ("9 - 5", "9 - 5"),
        ("3 -5", "3 - 5"),
        ("co-op, -3", "co-op, -3"),
    ],
)
def test_bare__a_sign_between_numbers_stands_alone(typed: str, read: str) -> None:
    assert prompts.bare(typed) == read


def test_answer__one_stage_is_enough_when_the_form_is_right() -> None:
    engine = FakeEngine(["6 * 7 = 42\nanswer: 42"])
    assert asked(engine) == Completion("6 * 7 = 42\nanswer: 42", 100, 21, 5)
    assert engine.calls == [(prompts.direct("number", QUESTION), 256 - EXTRACTION_TOKENS_MAX, 60_000, Sampling(700, 3))]


def test_answer__a_readable_one_costs_no_second_stage() -> None:
    engine = FakeEngine(["**Answer: 42**\nI hope this helps!"])
    assert answer_of("number", asked(engine).text) == "42"
    assert len(engine.calls) == 1


def test_answer__is_extracted_where_the_form_is_wrong_and_all_tokens_count() -> None:
    engine = FakeEngine(["It is forty-two.", " 42\nbecause"])
    completion = asked(engine)
    assert completion == Completion("It is forty-two.\nanswer: 42", 200, 16 + 11, 10)
    prompt, tokens, deadline_ms, sampling = engine.calls[1]
    assert prompt == prompts.extraction("number", QUESTION, "It is forty-two.")
    assert tokens == EXTRACTION_TOKENS_MAX
    assert deadline_ms <= 60_000
    assert sampling == Sampling(700, 3)


@pytest.mark.parametrize(("second", "spent"), [(None, 1), ("who knows", 2)])
def test_answer__without_one_the_reasoning_goes_out_as_an_abstention(second: str | None, spent: int) -> None:
    completion = asked(FakeEngine(["It is forty-two.", second]))
    assert (completion.text, completion.prompt_tokens) == ("It is forty-two.", 100 * spent)
    assert answer_of("number", completion.text) is None


def test_answer__a_next_question_that_the_model_makes_up_is_not_answered() -> None:
    engine = FakeEngine(
        ["6 * 7 = 42\nanswer: 42\n\nQuestion:\nWhat is 1 + 1?\nanswer: 2", "Sure!\nQuestion: 6 * 7\nanswer: 42"]
    )
    assert answer_of("number", asked(engine).text) == "42"
    # One that only says again what it was asked is heard to its end.
    assert answer_of("number", asked(engine).text) == "42"
    assert len(engine.calls) == 2


def test_answer__free_text_has_one_stage() -> None:
    engine = FakeEngine(["Paris."])
    assert asked(engine, "text").text == "Paris."
    assert engine.calls[0][:2] == (prompts.direct("text", QUESTION), 256)


def test_answer__a_first_stage_that_fails_is_a_failure() -> None:
    with pytest.raises(EngineError, match="it failed"):
        asked(FakeEngine([None]))


def test_answer__a_slow_model_is_asked_for_what_it_can_write_in_time() -> None:
    engine = FakeEngine(["answer: 42"] * 2, tokens_per_s=4)
    asked(engine)
    asked(engine, deadline_ms=1_000)
    assert [call[1] for call in engine.calls] == [4 * 60 // answering.PACE_SHARE, TOKENS_MIN]


@given(st.integers(1, 4_096), st.text(max_size=300))
def test_answer__both_stages_keep_to_the_tokens_of_the_beacon(tokens_max: int, text: str) -> None:
    engine = FakeEngine([text, text])
    assert asked(engine, tokens_max=tokens_max).completion_tokens <= tokens_max
    assert all(call[1] >= 1 for call in engine.calls)
    assert sum(call[1] for call in engine.calls) <= tokens_max + EXTRACTION_TOKENS_MAX


def test_answer__no_second_stage_begins_after_the_deadline() -> None:
    engine = FakeEngine(["It is forty-two."])
    assert asked(engine, deadline_ms=0).text == "It is forty-two."
    assert len(engine.calls) == 1


# --- Others' answers


def test_revised__shows_what_others_answered_as_data() -> None:
    assert spelt(prompts.revised("number", QUESTION, ["41", "42"])) == (
        "[You answer questions exactly and briefly. Others' answers may be wrong: check them, reason in a few short steps, "
        "then give your own answer.]\n"
        "Question:\n|What is 6 times 7?|\n\nAnswers of others:\n|41\n42|\n\n"
        "Reason briefly. Then write one last line: `answer:` and one number in digits, without unit or thousands separator, "
        "for example `answer: 42`.\n"
        "[]"
    )
    long = prompts.revised("text", QUESTION, ["x" * 10_000])
    assert long.message[3] == "x" * prompts.OTHER_CHARS_MAX


@pytest.mark.parametrize("instruct", [True, False])
def test_revision__asks_with_the_others_answers_or_the_bare_question_again(instruct: bool) -> None:  # noqa: FBT001 - pytest's
    engine = FakeEngine(["so\nanswer: 42"], instruct=instruct)
    asyncio.run(answer(engine, QUESTION, "number", 256, 60_000, others=["41"]))
    ((prompt, *_),) = engine.calls
    assert prompt == (prompts.revised("number", QUESTION, ["41"]) if instruct else prompts.bare(QUESTION))


def test_judging__shows_both_texts_as_data_and_begins_the_answer() -> None:
    assert spelt(prompts.judging(QUESTION, "It is 42.", "x" * 10_000)) == (
        "[You compare two answers to a question, and write nothing but `first` or `second`.]\n"
        f"Question:\n|What is 6 times 7?|\n\nFirst answer:\n|It is 42.|\n\nSecond answer:\n|{'x' * prompts.JUDGED_CHARS_MAX}|"
        "\n\nWhich answer is more correct and more useful? Write `first` or `second`.\n"
        "[answer:]"
    )


@pytest.mark.parametrize(
    ("said", "better"),
    [
        ([" first", " second"], "first"),
        ([" Second.", " **first**"], "second"),
        ([" first", " first"], "none"),
        ([" the first one", " second"], "none"),
        (["", " second"], "none"),
    ],
)
def test_judgement__that_goes_with_the_place_of_a_text_is_none(said: list[str | None], better: str) -> None:
    engine = FakeEngine(list(said))
    completion = judged(engine)
    assert answer_of("choice", completion.text) == better
    assert [prompt.message[3] for prompt, *_ in engine.calls if isinstance(prompt, Prompt)] == ["It is 42.", "It is 41."]
    assert sum(tokens for _, tokens, *_ in engine.calls) == 16
    assert (completion.prompt_tokens, completion.elapsed_ms) == (200, 10)


def test_judgement__is_not_asked_of_a_model_that_was_not_taught_to_follow() -> None:
    engine = FakeEngine([], instruct=False)
    assert judged(engine) == Completion("answer: none", 0, 0, 0)
    assert engine.calls == []


def test_judgement__of_a_model_that_fails_is_an_error() -> None:
    with pytest.raises(EngineError):
        judged(FakeEngine([" first", None]))
