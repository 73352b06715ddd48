"""A model's chat template, taken apart once into what it puts before and after a question.

So the question itself is tokenised alone, as text: whatever control tokens a peer writes in it stay plain letters.
Templates are Jinja programs from a stranger's file, so they run in Jinja's sandbox and only in the worker process.
llama.cpp's own `llama_chat_apply_template` guesses the family from words in the template and takes a short one that
uses <|user|> and <|end|> for another's, so it only has the second word here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

SENTINEL = "QUESTION-7c1f0e"
"""Stands for the question while the template is taken apart; plain characters, which templates leave as they are."""


class UnusableTemplateError(Exception):
    """The template neither runs nor is known to llama.cpp, or it does not hold the question exactly once."""


def split(template: str, bos: str, eos: str, guess: Callable[[str], str | None]) -> tuple[str, str]:
    """(text before, text after) a user's question. `guess` renders SENTINEL where Jinja fails; None if it cannot."""
    rendered = _render(template, bos, eos)
    if rendered is None:
        rendered = guess(SENTINEL)
    if rendered is None or rendered.count(SENTINEL) != 1:
        raise UnusableTemplateError
    before, _, after = rendered.partition(SENTINEL)
    return before, after


def _render(template: str, bos: str, eos: str) -> str | None:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    # Templates in the wild call it; the date is the one on which the worker started.
    environment.globals["strftime_now"] = time.strftime
    try:
        return environment.from_string(template).render(
            messages=[{"role": "user", "content": SENTINEL}], add_generation_prompt=True, bos_token=bos, eos_token=eos
        )
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
        # Beside its own errors Jinja passes on what the template's expressions raise.
        return None
