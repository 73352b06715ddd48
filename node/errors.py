"""What a person gets when something is wrong: one line with the thing and the remedy, and a documented exit code."""

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of `tutti`; scripts rely on them, so a number is never reused."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_DAEMON = 3


class UserError(Exception):
    """An error for the person at the command line; printed as it is, without a traceback.

    The message is one line whatever it quotes: line breaks and control characters become spaces.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        readable = "".join(letter if letter.isprintable() else " " for letter in message)
        super().__init__(readable.strip())
        self.code = code
