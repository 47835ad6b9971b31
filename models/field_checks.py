"""Checks of one value of a JSON file, each refusing with what was seen, what is allowed and what to do."""

import enum
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from models.errors import PolicyError

Choice = TypeVar("Choice", bound=enum.StrEnum)

SHOWN_CHARACTERS_MAX = 60
PLAIN_CHARACTERS_MAX = 200


def refuse(seen: str, allowed: str, remedy: str) -> NoReturn:
    """Raise PolicyError with the three parts that every refusal has."""
    raise PolicyError(f"{seen}; {allowed}; {remedy}")


def shown(value: object) -> str:
    """Return the value for a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 3] + "..."


def plain(value: object) -> str:
    """Return somebody else's words or numbers, short and on one line, for a sentence of ours.

    A long name is cut in its middle: names of a network tell most at their end.
    """
    text = " ".join("".join(char if char.isprintable() else " " for char in str(value)).split())
    half = PLAIN_CHARACTERS_MAX // 2
    return text if len(text) <= PLAIN_CHARACTERS_MAX else f"{text[:half]}...{text[-half:]}"


def kind_of(value: object) -> str:
    """Return what JSON calls the value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "object"


def number(value: object, name: str, low: float, high: float) -> float:
    """Return a number within both ends; text that looks like a number is none, nor is true or false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(f"{name} is {shown(value)}", f"it must be a number from {low:g} to {high:g}", "correct it")
    if not low <= value <= high:
        refuse(f"{name} is {shown(value)}", f"allowed is {low:g} to {high:g}", "correct it")
    return float(value)


def whole_number(value: object, name: str, low: int, high: int) -> int:
    """Return a whole number within both ends; 3.0 is one."""
    found = number(value, name, low, high)
    if not found.is_integer():
        refuse(f"{name} is {found:g}", "it must be a whole number", "correct it")
    return int(found)


def one_of(
    fields: Mapping[str, Any], name: str, choices: type[Choice], default: Choice, prefix: str = ""
) -> Choice:
    """Return the choice that the field names, capitals and spaces around it apart."""
    if name not in fields:
        return default
    value = fields[name]
    text = value.strip().lower() if isinstance(value, str) else None
    for choice in choices:
        if text == choice.value.lower():
            return choice
    allowed = ", ".join(repr(choice.value) for choice in choices)
    refuse(f"{prefix}{name} is {shown(value)}", f"allowed are {allowed}", "correct it")


def printable_text(fields: Mapping[str, Any], name: str, default: str) -> str:
    """Return text without control characters."""
    value = fields.get(name, default)
    if not isinstance(value, str) or not value.isprintable():
        refuse(f"{name} is {shown(value)}", "it must be printable text", "correct it or leave it out")
    return value


def optional_object(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return the object, or None where the key is missing or null."""
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        refuse(f"{name} is {shown(value)}", "it must be an object", "correct it or leave it out")
    return value
