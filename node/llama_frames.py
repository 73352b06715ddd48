"""What the daemon and a model worker say to each other: MessagePack lists behind a four-byte length.

To the worker:  [INFER, number, texts, max_tokens, deadline_ms, temperature_milli, seed, grammar]   [CANCEL, number]
From it:        [BEAT]   [READY, tokens_per_s]   [REFUSED, message]
                [DONE, number, text, prompt_tokens, completion_tokens, elapsed_ms]   [FAILED, number, message, too_long]
`texts` are a prompt's system text, its opening, and the parts of its message. The worker ends when its standard input
does. It imports this file, so nothing heavy may be imported here.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import msgpack

INFER, CANCEL, BEAT, READY, REFUSED, DONE, FAILED = range(7)

FRAME_BYTES_MAX = 4 << 20
"""A frame holds one prompt or one answer. More is a worker that lost its way, and no reason to allocate."""
PROMPT_BYTES_MAX = 256 << 10
"""What may reach the tokeniser, whose time other answers wait for. Far above any context that is allowed."""
HEADER = struct.Struct(">I")

Message = list[Any]

assert PROMPT_BYTES_MAX * 2 < FRAME_BYTES_MAX


def encode(message: Message) -> bytes:
    """The frame of one message."""
    body = bytes(msgpack.packb(message))
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message of one frame's body. ValueError if it is none."""
    message = msgpack.unpackb(body)
    if not isinstance(message, list) or not message:
        raise ValueError("a message is a list")
    return message


def read(file: BinaryIO) -> Message | None:
    """The next message of a blocking file, None at its end."""
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = file.read(length)
    return decode(body) if len(body) == length else None
