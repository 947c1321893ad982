"""Durations as people write them: `500ms`, `30s`, `5m`, `1h30m`, `1d`, or a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Final

LONGEST_S: Final = 30 * 86_400.0
"""Nothing in this program may last longer: a larger number is a mistake."""

DURATION_PATTERN: Final = (
    r"^(?=.)([0-9.]+d)?([0-9.]+h)?([0-9.]+m)?([0-9.]+s)?([0-9.]+ms)?$|^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"
)
"""A regular expression for the JSON Schema. It accepts slightly more than `parse_duration`."""

_UNITS_S: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = r"(?:([0-9]+(?:\.[0-9]+)?){})?"
_PARTS: Final = re.compile("".join(_PART.format(unit) for unit in _UNITS_S))
_SECONDS: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_LONGEST_TEXT: Final = 64


def parse_duration(text: str) -> float:
    """Return the seconds that `text` says, above 0 and at most `LONGEST_S`.

    Units stand from the largest to the smallest, each once. Raises ValueError, whose text says what is wrong and
    what to write, and does not repeat `text`.
    """
    stripped = text.strip(" \t")
    if len(stripped) > _LONGEST_TEXT:
        raise ValueError("is too long for a duration")
    if _SECONDS.fullmatch(stripped):
        seconds = float(stripped)
    elif stripped and (parts := _PARTS.fullmatch(stripped)):
        seconds = math.fsum(
            float(number) * unit_s for number, unit_s in zip(parts.groups(), _UNITS_S.values(), strict=True) if number
        )
    else:
        raise ValueError("is not a duration: write 500ms, 30s, 5m, 1h30m, or a number of seconds")
    if seconds <= 0:
        raise ValueError("must be above 0")
    if seconds > LONGEST_S:
        raise ValueError(f"is longer than {render_duration(LONGEST_S)}, which is the most")
    return seconds


def render_duration(seconds: float) -> str:
    """Return `seconds` (finite, 0 or more) as `parse_duration` reads it, to the millisecond: `1h30m`, `2.5s`, `0s`."""
    rest_ms = round(seconds * 1000)
    parts = []
    for unit, unit_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    if rest_ms >= 1000 or (parts and rest_ms):
        parts.append(f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s")
    elif rest_ms:
        parts.append(f"{rest_ms}ms")
    return "".join(parts) or "0s"
