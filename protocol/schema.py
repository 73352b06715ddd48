"""Message bodies as frozen dataclasses whose fields are described by a table.

A subclass of `Message` names its type and a rule for each field. The constructor refuses a value that breaks a rule, so an
illegal message cannot exist; `parse` refuses unknown and missing keys as well, and raises the peer's error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import ClassVar, Self, TypeAlias, cast

from protocol.canonical import Value
from protocol.errors import LocalProtocolError, RemoteProtocolError

# A rule gives the reason why a value is refused, or None.
Rule: TypeAlias = Callable[[object], str | None]


def raw(size: int) -> Rule:
    """Bytes of exactly `size`."""
    return lambda value: None if type(value) is bytes and len(value) == size else f"is not {size} bytes"


def blob(size_max: int, size_min: int = 0) -> Rule:
    """Bytes of `size_min` to `size_max`."""
    reason = f"is not {size_min}..{size_max} bytes"
    return lambda value: None if type(value) is bytes and size_min <= len(value) <= size_max else reason


def integer(low: int, high: int) -> Rule:
    """An integer from `low` to `high`, both included."""
    return lambda value: None if type(value) is int and low <= value <= high else f"is not an integer in {low}..{high}"


def string(size_max: int, size_min: int = 0) -> Rule:
    """A string of `size_min` to `size_max` bytes of UTF-8."""

    def rule(value: object) -> str | None:
        # A character has one byte at least, so the first comparison bounds the work of the second.
        if type(value) is str and len(value) <= size_max and size_min <= _utf8_size(value) <= size_max:
            return None
        return f"is not a string of {size_min}..{size_max} bytes of UTF-8"

    return rule


def _utf8_size(text: str) -> int:
    """Size in UTF-8; -1 for text with a lone surrogate, which has no UTF-8 and which no envelope could carry."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def boolean(value: object) -> str | None:
    """True or false."""
    return None if type(value) is bool else "is not a boolean"


def one_of(*choices: str) -> Rule:
    """One of the given strings."""
    return lambda value: None if type(value) is str and value in choices else f"is not one of {', '.join(choices)}"


def items(rule: Rule, count_max: int) -> Rule:
    """A tuple (a list on the wire) of at most `count_max` items that keep `rule`."""

    def check(value: object) -> str | None:
        if type(value) is not tuple or len(value) > count_max:
            return f"is not a list of at most {count_max} items"
        return next((f"item {reason}" for reason in map(rule, value) if reason), None)

    return check


def row(*rules: Rule) -> Rule:
    """A tuple (a list on the wire) with one item for each rule."""

    def check(value: object) -> str | None:
        if type(value) is not tuple or len(value) != len(rules):
            return f"is not a list of {len(rules)} items"
        reasons = (rule(item) for rule, item in zip(rules, value, strict=True))
        return next((f"item {reason}" for reason in reasons if reason), None)

    return check


def optional(rule: Rule) -> Rule:
    """Null, or what keeps `rule`."""

    def check(value: object) -> str | None:
        reason = None if value is None else rule(value)
        return f"{reason} or null" if reason else None

    return check


def mapping(key_rule: Rule, value_rule: Rule, count_max: int) -> Rule:
    """A map of at most `count_max` entries whose keys and values keep their rules."""

    def check(value: object) -> str | None:
        if type(value) is not dict or len(value) > count_max:
            return f"is not a map of at most {count_max} entries"
        for key, item in value.items():
            reason = key_rule(key) or value_rule(item)
            if reason:
                return f"entry {reason}"
        return None

    return check


class Message:
    """Base of message bodies: `TYPE` names the envelope type, `RULES` has one rule a field."""

    __slots__ = ()
    TYPE: ClassVar[str]
    RULES: ClassVar[Mapping[str, Rule]]

    def __post_init__(self) -> None:
        for name, rule in self.RULES.items():
            reason = rule(getattr(self, name))
            if reason:
                raise LocalProtocolError(f"{self.TYPE}: {name} {reason}")

    def body(self) -> dict[str, Value]:
        """The body for the wire."""
        return {name: _to_wire(getattr(self, name)) for name in self.RULES}

    @classmethod
    def parse(cls, body: Mapping[str, Value]) -> Self:
        """The message in `body`; raises `RemoteProtocolError` that names the field."""
        if len(body) != len(cls.RULES) or any(name not in body for name in cls.RULES):
            raise RemoteProtocolError("fields", f"{cls.TYPE}: not its fields")
        try:
            return cls(**{name: _from_wire(body[name]) for name in cls.RULES})
        except LocalProtocolError as error:
            raise RemoteProtocolError("field", str(error)) from error

    @classmethod
    def check_table(cls) -> None:
        """Raise unless `RULES` and the dataclass have the same fields: a slip here would let a field pass unchecked."""
        names = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]
        if names != tuple(cls.RULES):
            raise LocalProtocolError(f"{cls.TYPE}: rules {tuple(cls.RULES)} are not the fields {names}")


def _to_wire(value: object) -> Value:
    return [_to_wire(item) for item in value] if isinstance(value, tuple) else cast("Value", value)


def _from_wire(value: Value) -> object:
    return tuple(_from_wire(item) for item in value) if type(value) is list else value
