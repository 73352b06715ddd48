"""A model's chat template: what it puts around and between the parts of a prompt.

Data - a peer's question, a model's own reasoning - never goes through the template. A sentinel stands for it, and the
data itself is tokenised alone, as text: whatever control tokens are written in it stay plain letters.
Templates are Jinja programs from a stranger's file, so they run in Jinja's sandbox and only in the worker process.
llama.cpp's own `llama_chat_apply_template` guesses the family from words in the template and takes a short one that
uses <|user|> and <|end|> for another's, so it only has the second word here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

SENTINEL = "DATA-7c1f0e"
"""Stands for data while the template runs; plain characters, which templates leave as they are."""

Messages = list[dict[str, str]]


class UnusableTemplateError(Exception):
    """The template neither runs nor is known to llama.cpp, or it does not hold the user's message exactly once."""


class ChatTemplate:
    """The template of one file; an empty `source` stands for a file without one, whose prompts are plain paragraphs.

    `guess` renders messages where Jinja fails; None if it cannot.
    """

    def __init__(self, source: str, bos: str, eos: str, guess: Callable[[Messages], str | None]) -> None:
        self._source = source
        self._program = _compiled(source)
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._guess = guess
        # Many models have no system role: their templates refuse it, or leave it out in silence.
        self._has_system = _times(self._render(_messages(SENTINEL, SENTINEL))) == len((SENTINEL, SENTINEL))
        if _times(self._render(_messages("", SENTINEL))) != 1:
            raise UnusableTemplateError

    def around(self, system: str, fixed: Sequence[str]) -> list[str]:
        """The texts before, between and behind the data of a user's message whose own words are `fixed`.

        One text for each of `fixed`. What a model without a system role should be told stands first in the message.
        """
        user = SENTINEL.join(fixed)
        if system and not self._has_system:
            system, user = "", f"{system}\n\n{user}"
        texts = (self._render(_messages(system, user)) or "").split(SENTINEL)
        if len(texts) != len(fixed):
            raise UnusableTemplateError
        return texts

    def _render(self, messages: Messages) -> str | None:
        if not self._source:
            # A bare question is gone on with; behind instructions a model that knows no roles begins a paragraph.
            behind = "\n\n" if len(messages) > 1 else ""
            return "\n\n".join(message["content"] for message in messages) + behind
        try:
            if self._program is not None:
                return self._program.render(
                    messages=messages,
                    add_generation_prompt=True,
                    # Of the models that can think at length some think only where they are not told to leave it: a network's
                    # answer has a budget of a few hundred tokens.
                    enable_thinking=False,
                    **self._tokens,
                )
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
            # Beside its own errors Jinja passes on what the template's expressions raise.
            pass
        return self._guess(messages)


def _messages(system: str, user: str) -> Messages:
    messages = [{"role": "user", "content": user}]
    return [{"role": "system", "content": system}, *messages] if system else messages


def _times(rendered: str | None) -> int:
    return 0 if rendered is None else rendered.count(SENTINEL)


def _compiled(source: str) -> Template | None:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    # Templates in the wild call both.
    environment.globals["strftime_now"] = time.strftime
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(source)
    except TemplateError:
        return None


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
