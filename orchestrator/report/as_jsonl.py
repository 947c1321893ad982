"""JSON lines: one outcome a line. The file grows while the run goes on, and holds whole lines at every moment."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.engine.outcome import Outcome, make_row
from orchestrator.report.as_json import dump
from orchestrator.report.writer import ReportError, write_report


def render_jsonl(outcomes: Iterable[Outcome], *, simulated: bool = False) -> str:
    """One line of JSON for each outcome, in the order given; a rehearsal's lines say `"simulated": true`."""
    mark = {"simulated": True} if simulated else {}
    return "".join(dump({**make_row(outcome), **mark}) + "\n" for outcome in outcomes)


class JsonLines:
    """A `.jsonl` report that grows: `append` each outcome as its target ends, `close` when the run is over.

    Opening replaces the file whole: it then holds the outcomes that are known already (`earlier`, of a resumed run). Each
    line leaves in one write; where the disk is full, what was written of a line is taken back. Raises ReportError.
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
        """Write one outcome's line; a target that has its line already is passed over."""
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
        """Write the lines of those `outcomes` that have none yet (targets that never began) and close the file."""
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
