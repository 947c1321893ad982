"""JSON text that is safe to print: nothing in it steers a terminal, and every strict parser reads it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from orchestrator.report.document import make_document
from orchestrator.report.report import Report

# DEL, C1 controls, marks that turn or hide text, line separators, noncharacters: legal in JSON, not on a terminal.
_RISKY: Final = re.compile(
    "[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\U000e0000-\U000e007f]"
)
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def render_json(report: Report, *, ascii_only: bool = False) -> str:
    """The report document, indented, with a final newline. `ascii_only` is for a stdout that cannot hold more."""
    return dump(make_document(report), ascii_only=ascii_only, indent=2) + "\n"


def dump(value: Any, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """JSON text of a value; characters that could steer a terminal are written as escapes and read back as they were.

    A lone surrogate, which UTF-8 cannot hold, becomes the six characters of its escape.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, check_circular=False)
    text = _LONE_SURROGATE.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text)
    return re.sub(r"[^\x00-\x7e]", _escape, text) if ascii_only else _RISKY.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
