"""JSON as servers really send it: with a byte order mark, broken UTF-8, NaN, giant numbers or a million brackets."""

from __future__ import annotations

import codecs
import json

_INTEGER_DIGITS = 20


def load_json(body: bytes) -> object:
    """The value in `body`. Raises ValueError for what is no JSON or is nested too deep; nothing else.

    Bytes that are no UTF-8 become U+FFFD. An integer of more than 20 digits stays text: nobody counts with it, and
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
