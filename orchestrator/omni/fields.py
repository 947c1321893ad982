"""Fields of foreign JSON: each is read as the type that it should have, and is None if it has another."""

from __future__ import annotations

import codecs
import json

_INTEGER_DIGITS = 20


def load_json(body: bytes) -> object:
    """The value in `body`. Raises ValueError for what is no JSON or is nested too deep; nothing else.

    Bytes that are no UTF-8 become U+FFFD. An integer of more than 20 digits stays text: no count is that large, and
    turning it into a number costs time that grows with the square of its length.
    """
    text = body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        pass
    else:
        return value
    raise ValueError("the JSON is nested too deep")


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else digits


_DECODER = json.JSONDecoder(parse_int=_integer)


class UnreadableAnswer(ValueError):
    """A 2xx answer without the expected content."""


def read_object(body: bytes) -> dict[str, object]:
    """The JSON object in `body`. Raises UnreadableAnswer."""
    value = _read(body)
    if not isinstance(value, dict):
        raise UnreadableAnswer("the answer is no JSON object")
    return value


def read_list(body: bytes, *names: str) -> tuple[dict[str, object], list[object]]:
    """A list and the object it came in: bare, or in the first of the fields `names` that holds one.

    Raises UnreadableAnswer if there is no list, because an empty one would mean that there is nothing.
    """
    value = _read(body)
    if isinstance(value, list):
        return {}, value
    if isinstance(value, dict):
        for name in names:
            items = value.get(name)
            if isinstance(items, list):
                return value, items
    raise UnreadableAnswer("the answer holds no list")


def _read(body: bytes) -> object:
    try:
        return load_json(body)
    except ValueError:
        pass
    raise UnreadableAnswer("the answer is no JSON")


def objects(value: object) -> list[dict[str, object]]:
    """Return the objects in a list. Anything else in it, or instead of it, is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_object(value: object) -> dict[str, object]:
    """Return an object; an empty one if the value is something else."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str | None:
    """Text that is not empty."""
    return value if isinstance(value, str) and value else None


def as_id(value: object) -> str | None:
    """An id, in lower case: the server does not tell ids apart by case. A number is an id as well."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = as_text(value)
    return text and (text.strip().lower() or None)


def as_count(value: object) -> int | None:
    """A number of things."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def as_flag(value: object) -> bool | None:
    """A boolean; older answers give it as text."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None
