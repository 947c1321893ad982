"""JSON: the document as text that is safe to print, and JSON lines that grow during the run."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from orchestrator.engine.outcome import Outcome, make_row
from orchestrator.report.document import make_document
from orchestrator.report.files import ReportError, write_report
from orchestrator.report.report import Report

# DEL, C1 controls, marks that turn or hide text, line separators, noncharacters: legal in JSON, not on a terminal.
_RISKY: Final = re.compile(
    "[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\U000e0000-\U000e007f]"
)
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def render_json(report: Report, *, ascii_only: bool = False) -> str:
    """Return the report document, indented, with a final newline. `ascii_only` is for a stdout that can encode only ASCII."""
    return dump(make_document(report), ascii_only=ascii_only, indent=2) + "\n"


def dump(value: Any, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """Return the JSON text of a value. Characters that could steer a terminal are written as JSON escapes.

    A lone surrogate, which UTF-8 cannot encode, becomes the six characters of its escape.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, check_circular=False)
    text = _LONE_SURROGATE.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text)
    return re.sub(r"[^\x00-\x7e]", _escape, text) if ascii_only else _RISKY.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def render_jsonl(outcomes: Iterable[Outcome], *, simulated: bool = False) -> str:
    """Return one line of JSON for each outcome, in the order given. A rehearsal's lines have `"simulated": true`."""
    mark = {"simulated": True} if simulated else {}
    return "".join(dump({**make_row(outcome), **mark}) + "\n" for outcome in outcomes)


class JsonLines:
    """A `.jsonl` report that grows: `append` each outcome when its target ends, `close` at the end of the run.

    Opening replaces the file. It then has the outcomes that are already known (`earlier`, of a resumed run). Each line is
    one write; if the disk is full, a part of a line is removed again. Raises ReportError.
    """

    def __init__(self, path: str | Path, earlier: Iterable[Outcome] = (), *, simulated: bool = False) -> None:
        known = tuple(earlier)
        write_report(path, render_jsonl(known, simulated=simulated))
        self.path = path
        self._simulated = simulated
        self._written = {outcome.name for outcome in known}
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise self._error(error) from None

    def append(self, outcome: Outcome) -> None:
        """Write one outcome's line, unless its target already has one."""
        if outcome.name in self._written:
            return
        line = render_jsonl([outcome], simulated=self._simulated).encode()
        try:
            size = os.fstat(self._descriptor).st_size
            if os.write(self._descriptor, line) < len(line):
                os.ftruncate(self._descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._error(error) from None
        self._written.add(outcome.name)

    def close(self, outcomes: Iterable[Outcome] = ()) -> None:
        """Write the lines of those `outcomes` that have none yet (targets that did not start) and close the file."""
        try:
            for outcome in outcomes:
                self.append(outcome)
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._error(error) from None
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _error(self, error: OSError) -> ReportError:
        return ReportError(f"the report {self.path} was not written: {error.strerror or error}")
