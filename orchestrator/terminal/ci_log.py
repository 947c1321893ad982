"""What CI systems understand in a log: a section that can be folded, and annotations (GitHub Actions, GitLab)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Final

from orchestrator.clock import Clock
from orchestrator.engine.events import Observer, RunContinued, RunEvent, RunStarted
from orchestrator.manifest.manifest import Manifest
from orchestrator.report.causes import causes_of, short
from orchestrator.report.report import Report
from orchestrator.terminal.console import Console
from orchestrator.text import clean, some

MOST_ANNOTATIONS: Final = 10
"""How many annotations of a step GitHub shows."""

_NAMES_SHOWN: Final = 5
_TEXT: Final = 400
_SECTION: Final = "omni_refresh"


class CiLog:
    """Marks in the log on stderr for the CI system that `environ` names; none for a JSON log or outside CI."""

    def __init__(self, console: Console, environ: Mapping[str, str], clock: Clock) -> None:
        in_text = console.log_is_text
        self._is_github = in_text and environ.get("GITHUB_ACTIONS") == "true"
        is_gitlab = in_text and environ.get("GITLAB_CI") == "true"
        # a quiet log has nothing to fold
        self._has_sections = (self._is_github or is_gitlab) and not console.quiet
        self._write = console.log.write_line
        self._workspace = environ.get("GITHUB_WORKSPACE") or os.curdir
        self._clock = clock
        self._is_open = False

    def observing(self, observe: Observer) -> Observer:
        """Return an observer that opens the section when a run begins."""

        def observe_in_section(event: RunEvent) -> None:
            if isinstance(event, RunStarted | RunContinued):
                self._open(f"omni-refresh {PurePath(event.manifest).name}")
            observe(event)

        return observe_in_section

    def close(self) -> None:
        """Close the section, if it is open."""
        if self._is_open:
            self._is_open = False
            self._write("::endgroup::" if self._is_github else f"\x1b[0Ksection_end:{self._now()}:{_SECTION}\r\x1b[0K")

    def annotate(self, report: Report, manifest: Manifest) -> None:
        """Write an annotation for each cause in a report, worst first, at the manifest's line of its first target."""
        if not self._is_github:
            return
        lines = {entry.name: entry.place.line for entry in manifest.entries}
        causes = causes_of(report)
        for cause in causes[: MOST_ANNOTATIONS if len(causes) <= MOST_ANNOTATIONS else MOST_ANNOTATIONS - 1]:
            names = [short(outcome.name, 80) for outcome in cause.outcomes]
            title = f"{cause.status.words}: {some(names, at_most=_NAMES_SHOWN)}"
            words = [
                short(cause.words, _TEXT),
                *([f"-> {short(cause.failure.hint, _TEXT)}"] if cause.failure.hint else []),
            ]
            line = lines.get(cause.outcomes[0].name)
            self._write(annotation("\n".join(words), title=title, file=self._relative(manifest.path), line=line))
        if len(causes) > MOST_ANNOTATIONS:
            rest = sum(len(cause.outcomes) for cause in causes[MOST_ANNOTATIONS - 1 :])
            self._write(annotation(f"{rest} more targets did not succeed: the report names them", title="omni-refresh"))

    def _open(self, title: str) -> None:
        if not self._has_sections or self._is_open:
            return
        self._is_open = True
        shown = clean(title)
        if self._is_github:
            self._write(f"::group::{_escape(shown)}")
        else:
            self._write(f"\x1b[0Ksection_start:{self._now()}:{_SECTION}\r\x1b[0K{shown}")

    def _now(self) -> int:
        return int(self._clock.utcnow().timestamp())

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._workspace)


def annotation(
    message: str, *, title: str, file: str | None = None, line: int | None = None, level: str = "warning"
) -> str:
    """Return a workflow command that annotates a run; no text can end it or add a property.

    `level` is `error`, `warning` or `notice`. GitHub itself adds an error for a step that fails.
    """
    properties: Sequence[tuple[str, str | int | None]] = (("file", file), ("line", line), ("title", title))
    given = ",".join(f"{name}={_escape_property(clean(str(value)))}" for name, value in properties if value is not None)
    return f"::{level} {given}::{_escape(clean(message, keep_newlines=True))}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
