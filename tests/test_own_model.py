"""A node with a model of its owner's: what it says of it in its record, and what asking it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node.answering import EXTRACTION_TOKENS_MAX
from node.config import Config
from node.daemon import Running, running
from node.dev.client import NodeClient
from node.errors import UserError
from node.home import locate
from node.models import sha256_of
from protocol.events import EffectDone, Infer, Input
from protocol.parameters import preset
from tests.tiny_gguf import write_endless

PATIENCE_S = 60
CONTEXT = 400


def with_node(
    tmp_path: Path, file: Path | str, scene: Callable[[Running, NodeClient], Awaitable[None]], **keys: object
) -> None:
    """Run a scene with a node of the network dev that has this model."""
    place = locate(str(tmp_path / "home"), {}).network("dev")
    config = Config.model_validate({"network": "dev", "model": str(file), "context": CONTEXT, "threads": 1} | keys)

    async def run() -> None:
        client = NodeClient()
        async with asyncio.timeout(PATIENCE_S), running(place, config) as node:
            client.open(place.api_file)
            try:
                await scene(node, client)
            finally:
                await client.close()

    asyncio.run(run())


def test_record__says_what_the_file_says_and_offers_every_skill_of_the_network(tmp_path: Path) -> None:
    file = write_endless(tmp_path / "own.gguf", general__name="Own 1B Instruct")

    async def scene(node: Running, _: NodeClient) -> None:
        own = node.executor.core.own_record
        assert (own.model, own.quantisation, own.context) == ("Own 1B Instruct", "F32", CONTEXT)
        assert own.weights_hash == sha256_of(file)
        assert own.parameters > 0 < own.tokens_per_s
        assert own.skills == dict.fromkeys(preset("dev").skills, 500)

    with_node(tmp_path, file, scene)


def test_record__offers_only_the_skills_that_the_owner_names(tmp_path: Path) -> None:
    async def scene(node: Running, _: NodeClient) -> None:
        assert node.executor.core.own_record.skills == {"lists": 500}

    with_node(tmp_path, write_endless(tmp_path / "own.gguf"), scene, skills=["lists"])


def test_file_without_chat_template__is_served_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(_node: Running, client: NodeClient) -> None:
        assert (await client.post("/v1/infer", {"question": "hello"}))["tokens"] > 0

    with caplog.at_level(logging.WARNING):
        with_node(tmp_path, write_endless(tmp_path / "base.gguf", tokenizer__chat_template=""), scene)
    assert [record.getMessage() for record in caplog.records if "no chat template" in record.getMessage()]


def test_infer__has_both_stages_within_the_tokens_of_the_skill(tmp_path: Path) -> None:
    async def scene(_: Running, client: NodeClient) -> None:
        body = {"question": "What is 2 + 2?", "skill": "arith"}
        greedy = await client.post("/v1/infer", body)
        # Noise holds no number, so both prompts were read; what was written is at most what a beacon allows.
        assert greedy["answer"] is None
        prompts = greedy["tokens"] - preset("dev").skills["arith"].tokens_max
        assert prompts > 2 * len("Question:\nWhat is 2 + 2?")

    with_node(tmp_path, write_endless(tmp_path / "own.gguf", llama__context_length=4_000), scene, context=4_000)


def test_infer__the_second_stage_finds_an_answer_that_the_first_did_not_mark(tmp_path: Path) -> None:
    file = write_endless(tmp_path / "own.gguf", always="4")

    async def scene(_: Running, client: NodeClient) -> None:
        # It writes one digit without end: no mark in the first stage, and a number behind the mark that the second begins.
        said = await client.post("/v1/infer", {"question": "What is 2 + 2?", "skill": "arith"})
        assert said["answer"] == "4" * EXTRACTION_TOKENS_MAX

    with_node(tmp_path, file, scene, context=2_000)


def test_award__of_a_question_over_the_context_ends_as_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(node: Running, _: NodeClient) -> None:
        ended: asyncio.Queue[Input] = asyncio.Queue()
        monkeypatch.setattr(node.executor, "feed", ended.put_nowait)
        node.executor._carry_out(Infer(7, "x" * CONTEXT, "number", 64, PATIENCE_S * 1_000))
        done = await ended.get()
        while not isinstance(done, EffectDone):
            done = await ended.get()
        assert (done.effect, done.result, done.too_long) == (7, None, True)

    with_node(tmp_path, write_endless(tmp_path / "own.gguf"), scene)


def test_infer__takes_a_temperature_and_a_seed(tmp_path: Path) -> None:
    async def scene(_: Running, client: NodeClient) -> None:
        async def tokens(**sampling: int) -> int:
            body = {"question": "What is 345 + 678?", "skill": "arith", **sampling}
            return int((await client.post("/v1/infer", body))["tokens"])

        hot = [await tokens(temperature_milli=3_000, seed=seed) for seed in range(4)]
        # The certain model writes the same greedily whatever the seed; noise ends at a length that its seed decides.
        assert await tokens() == await tokens(seed=9)
        assert hot == [await tokens(temperature_milli=3_000, seed=seed) for seed in range(4)]
        assert len(set(hot)) > 1

    with_node(tmp_path, "arith", scene)


@pytest.mark.parametrize(
    ("key", "value"), [("temperature_milli", -1), ("temperature_milli", 5_001), ("seed", -1), ("seed", 2**32), ("seed", "1")]
)
def test_infer__refuses_a_sampling_out_of_range(tmp_path: Path, key: str, value: object) -> None:
    async def scene(_: Running, client: NodeClient) -> None:
        with pytest.raises(UserError, match=f"{key}: "):
            await client.post("/v1/infer", {"question": "hello", key: value})

    with_node(tmp_path, write_endless(tmp_path / "own.gguf"), scene)


def test_infer__a_question_over_the_context_is_told(tmp_path: Path) -> None:
    async def scene(_: Running, client: NodeClient) -> None:
        with pytest.raises(UserError, match=f"this model holds 1 to {CONTEXT - 1}"):
            await client.post("/v1/infer", {"question": "x" * CONTEXT})

    with_node(tmp_path, write_endless(tmp_path / "own.gguf"), scene)
