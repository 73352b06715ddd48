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

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

SENTINEL = "DATA-7c1f0e"
"""Stands for data while the template runs; plain characters, which templates leave as they are."""

Messages = list[dict[str, str]]
Renderer = Callable[[Messages], str | None]
"""Messages as one text; None where it cannot."""


class UnusableTemplateError(Exception):
    """The template neither runs nor is known to llama.cpp, or it does not hold the user's message exactly once."""


class ChatTemplate:
    """The template of one file; an empty `source` stands for a file without one, whose prompts are plain paragraphs.

    `guess` renders where Jinja cannot run the template.
    """

    def __init__(self, source: str, bos: str, eos: str, guess: Renderer) -> None:
        runs = _jinja(source, bos, eos) if source else _paragraphs
        # One of them for all messages: what a template refuses must not be written after the guess of another's form.
        self._render = runs if _times(runs, "") == 1 else guess
        if _times(self._render, "") != 1:
            raise UnusableTemplateError
        # Many models have no system role: their templates refuse it, or leave it out in silence.
        self._has_system = _times(self._render, SENTINEL) == len((SENTINEL, SENTINEL))

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


def _messages(system: str, user: str) -> Messages:
    messages = [{"role": "user", "content": user}]
    return [{"role": "system", "content": system}, *messages] if system else messages


def _times(render: Renderer, system: str) -> int:
    rendered = render(_messages(system, SENTINEL))
    return 0 if rendered is None else rendered.count(SENTINEL)


def _paragraphs(messages: Messages) -> str:
    # A bare question is gone on with; behind instructions a model that knows no roles begins a paragraph.
    behind = "\n\n" if len(messages) > 1 else ""
    return "\n\n".join(message["content"] for message in messages) + behind


def _jinja(source: str, bos: str, eos: str) -> Renderer:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    # Templates in the wild call both.
    environment.globals["strftime_now"] = time.strftime
    environment.globals["raise_exception"] = _refuse
    # Of the models that can think at length some do so unless they are told not to: a network's answer has a budget of a
    # few hundred tokens.
    given = {"add_generation_prompt": True, "enable_thinking": False, "bos_token": bos, "eos_token": eos}
    try:
        program = environment.from_string(source)
    except TemplateError:
        return lambda _: None

    def render(messages: Messages) -> str | None:
        try:
            return program.render(messages=messages, **given)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
            # Beside its own errors Jinja passes on what the template's expressions raise.
            return None

    return render


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
