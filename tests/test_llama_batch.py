"""Continuous batching against a model that is a pure function."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.engine import Sampling
from node.llama_batch import BATCH_TOKENS_MAX, Batcher, Inference, Piece

END = 0
NEVER = 1 << 62


def following(tokens: list[int], seed: int) -> int:
    return (sum(tokens) * 31 + seed) % 17


class PureModel:
    """Answers from all tokens that it was fed, and insists that none is missing. Some steps are interrupted."""

    def __init__(self, slots: int, interrupted: list[bool], *, recurrent: bool) -> None:
        self.fed: list[list[int]] = [[] for _ in range(slots)]
        self._seeds = [-1] * slots
        self._interrupted = interrupted
        self._recurrent = recurrent

    def begin(self, slot: int, sampling: Sampling) -> None:
        assert not self.fed[slot]
        self._seeds[slot] = sampling.seed

    def decode(self, pieces: list[Piece]) -> list[int | None] | None:
        assert len({piece.slot for piece in pieces}) == len(pieces)
        assert 0 < sum(len(piece.tokens) for piece in pieces) <= BATCH_TOKENS_MAX
        for piece in pieces:
            assert piece.position == len(self.fed[piece.slot])
            self.fed[piece.slot] += piece.tokens
        if self._interrupted and self._interrupted.pop():
            return None
        return [following(self.fed[piece.slot], self._seeds[piece.slot]) if piece.sample else None for piece in pieces]

    def truncate(self, slot: int, length: int) -> int:
        kept = 0 if self._recurrent else length
        del self.fed[slot][kept:]
        return kept

    def is_end(self, token: int) -> bool:
        return token == END


def alone(prompt: list[int], room: int, seed: int) -> list[int]:
    tokens = list(prompt)
    while len(tokens) < room:
        token = following(tokens, seed)
        if token == END:
            break
        tokens.append(token)
    return tokens


prompts = st.lists(st.integers(1, 500), min_size=1, max_size=2 * BATCH_TOKENS_MAX)


@given(
    requests=st.lists(st.tuples(prompts, st.integers(1, 20)), max_size=7),
    slots=st.integers(1, 4),
    interrupted=st.lists(st.booleans(), max_size=20),
    recurrent=st.booleans(),
    cancelled=st.sets(st.integers(0, 6)),
)
def test_batch__each_answer_is_the_one_given_alone(
    *, requests: list[tuple[list[int], int]], slots: int, interrupted: list[bool], recurrent: bool, cancelled: set[int]
) -> None:
    model = PureModel(slots, interrupted, recurrent=recurrent)
    batcher = Batcher(model, slots)
    for number, (prompt, more) in enumerate(requests):
        batcher.add(Inference(number, list(prompt), len(prompt) + more, 0, NEVER, Sampling(700, number)))
    answers = {each.number: each.tokens for each in batcher.step()}
    for number in cancelled - answers.keys():
        batcher.cancel(number)
    while batcher:
        answers |= {each.number: each.tokens for each in batcher.step()}
    for number, (prompt, more) in enumerate(requests):
        assert number in answers or number in cancelled
        if number in answers:
            assert answers[number] == alone(prompt, len(prompt) + more, number)
    assert model.fed == [[] for _ in range(slots)]


def test_batch__a_running_answer_goes_on_while_a_long_prompt_is_read() -> None:
    batcher = Batcher(PureModel(2, [], recurrent=False), 2)
    short = Inference(1, [1], 100, 0, NEVER)
    batcher.add(short)
    batcher.step()
    before = len(short.tokens)
    batcher.add(Inference(2, [1] * 3 * BATCH_TOKENS_MAX, 3 * BATCH_TOKENS_MAX + 5, 0, NEVER))
    batcher.step()
    batcher.step()
    assert len(short.tokens) == before + 2


def test_batch__expires_the_running_and_the_waiting() -> None:
    batcher = Batcher(PureModel(1, [], recurrent=False), 1)
    for number, deadline in enumerate((10, 20, 5)):
        batcher.add(Inference(number, [1], 9, 0, deadline))
    batcher.step()
    assert sorted(each.number for each in batcher.expire(10)) == [0, 2]
    assert [each.number for each in batcher.expire(20)] == [1]
    assert not batcher
