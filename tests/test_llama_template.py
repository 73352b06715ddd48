"""Chat templates as models in the wild carry them: what stands around the data, whoever wrote the template."""

from __future__ import annotations

import pytest

from node.llama_template import SENTINEL, ChatTemplate, Messages, UnusableTemplateError

SYSTEM = "Be brief."
FIXED = ["Q:\n", "\n\nEnd."]

# The essential form of each family, in our own words: what it puts where, and how it treats the system's text.
CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nYou are M.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_3 = (
    "{{- bos_token }}{%- if not date_string is defined %}{% set date_string = strftime_now('%Y') %}{% endif %}"
    "{%- if messages[0]['role'] == 'system' %}{% set said = messages[0]['content'] | trim %}{% set messages = messages[1:] %}"
    "{%- else %}{% set said = '' %}{% endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}{{- said }}{{- '<|eot_id|>' }}"
    "{%- for m in messages %}{%- if not (tools is defined and m.role == 'tool') %}"
    "{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{% endif %}{% endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ m['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
PHI_3 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|user|>\n' + m['content'] + '<|end|>\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ '<|assistant|>\n' + m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}\n{% if m['role'] == 'user' %}\n{{ '<|user|>\n' + m['content'] + eos_token }}\n"
    "{% elif m['role'] == 'system' %}\n{{ '<|system|>\n' + m['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
THINKING = CHATML + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
TWO = f"{SYSTEM}\n\nQ:\n"


def head(role: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


def no_guess(_messages: Messages) -> str | None:
    return None


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, "<s>", "</s>", no_guess)


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        (CHATML, f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nQ:\n", "<|im_end|>\n<|im_start|>assistant\n"),
        (
            LLAMA_3,
            f"<s>{head('system')}{SYSTEM}<|eot_id|>{head('user')}Q:\n",
            f"<|eot_id|>{head('assistant')}",
        ),
        (GEMMA, f"<s><start_of_turn>user\n{TWO}", "<end_of_turn>\n<start_of_turn>model\n"),
        (MISTRAL, f"<s>[INST] {TWO}", " [/INST]"),
        (PHI_3, f"<|user|>\n{TWO}", "<|end|>\n<|assistant|>\n"),
        (ZEPHYR, f"<|system|>\n{SYSTEM}</s>\n<|user|>\nQ:\n", "</s>\n<|assistant|>\n"),
        (
            THINKING,
            f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nQ:\n",
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        ("", TWO, "\n\n"),
    ],
    ids=["chatml", "llama3", "gemma", "mistral", "phi3", "zephyr", "thinking", "none"],
)
def test_template__holds_the_systems_text_once_and_the_data_in_its_place(source: str, before: str, after: str) -> None:
    assert template(source).around(SYSTEM, FIXED) == [before, f"\n\nEnd.{after}"]


@pytest.mark.parametrize("source", [CHATML, LLAMA_3, GEMMA, MISTRAL, PHI_3, ZEPHYR, ""])
def test_template__a_second_piece_of_data_has_its_place_too(source: str) -> None:
    taken_apart = template(source)
    first, second, third = taken_apart.around(SYSTEM, ["Q:\n", "\n\nR:\n", "\n\nEnd."])
    assert [first, third] == taken_apart.around(SYSTEM, FIXED)
    assert second == "\n\nR:\n"


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("<|user|>{{ messages[0]['content'] }}<|assistant|>", ["<|user|>", "<|assistant|>"]),
        ("{{ bos_token }}{{ messages[-1].content | trim }}\n{% if add_generation_prompt %}A:{% endif %}", ["<s>", "\nA:"]),
        ("{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}", ["[user]", "</s>"]),
        ("", ["", ""]),
    ],
)
def test_template__a_bare_question_stands_alone(source: str, parts: list[str]) -> None:
    assert template(source).around("", ["", ""]) == parts


@pytest.mark.parametrize("source", ["{{ raise_exception('x') }}", "{% generation %}", "{{ 1 / 0 }}"])
def test_template__what_jinja_cannot_run_is_left_to_llama_cpp(source: str) -> None:
    def guess(messages: Messages) -> str:
        return "".join(f"<{message['role']}>{message['content']}" for message in messages)

    guessed = ChatTemplate(source, "", "", guess)
    assert guessed.around("", ["", ""]) == ["<user>", ""]
    assert guessed.around(SYSTEM, FIXED) == [f"<system>{SYSTEM}<user>Q:\n", "\n\nEnd."]


@pytest.mark.parametrize(
    "source",
    [
        "nothing",
        "{{ messages[0].content }}{{ messages[0].content }}",
        "{{ messages[0].content | upper }}",
        "{{ 1 / 0 }}",
        "{% for",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}" + SENTINEL,
    ],
)
def test_template__one_that_does_not_hold_the_message_once_is_refused(source: str) -> None:
    with pytest.raises(UnusableTemplateError):
        template(source)
