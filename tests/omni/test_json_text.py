"""JSON as it really comes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.fields import load_json


def test_a_byte_order_mark_and_broken_utf8_are_tolerated() -> None:
    """A mark at the start is no part of the text; a broken byte costs one character."""
    assert load_json(b'\xef\xbb\xbf{"a": "x\xffy"}') == {"a": "x�y"}


def test_numbers_that_json_does_not_know() -> None:
    """NaN, infinities and giants do no harm; an integer of a million digits stays text, and takes no time."""
    value = load_json(b'{"a": NaN, "b": 1e999, "c": %s, "d": -12}' % (b"9" * 1_000_000))
    assert isinstance(value, dict)
    assert math.isnan(value["a"])
    assert value["b"] == math.inf
    assert value["c"] == "9" * 1_000_000
    assert value["d"] == -12


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"{'a': 1}", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{\x00"]
)
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    """Nesting without end is no JSON either, and never a crash."""
    with pytest.raises(ValueError, match=r"."):
        load_json(body)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(body: bytes) -> None:
    """Any bytes are a value or a ValueError."""
    try:
        load_json(body)
    except ValueError:
        return
