"""What a check finds: each thing with its place in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestrator import __version__
from orchestrator.manifest.manifest import Entry, Manifest, Place

SCHEMA_VERSION = 1


class Severity(StrEnum):
    """An error will keep a target from its refresh, or already says something that is not so; a warning may."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found. `entry` is the name of the entry that it is about, or of the first one of several."""

    severity: Severity
    place: Place
    message: str
    entry: str | None = None
    hint: str = ""

    def line(self, path: str) -> str:
        """As one line for a person: FILE:LINE:COLUMN, what it is, what to do."""
        who = f"{self.entry}: " if self.entry is not None else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{path}:{self.place.line}:{self.place.column}: {self.severity.value}: {who}{self.message}{hint}"


def found_in(entry: Entry, severity: Severity, message: str, hint: str = "") -> Finding:
    """A finding about one entry."""
    return Finding(severity=severity, place=entry.place, message=message, entry=entry.name, hint=hint)


def found_in_manifest(manifest: Manifest) -> tuple[Finding, ...]:
    """What is odd in a manifest without asking anybody."""
    return tuple(
        Finding(severity=Severity.WARNING, place=w.place, message=w.message, entry=w.entry) for w in manifest.warnings
    )


def make_check_document(
    manifest: Manifest, findings: Sequence[Finding], *, calls: int, redact: Callable[[str], str]
) -> Mapping[str, Any]:
    """What `check --json` prints. Its `schema_version` grows when a field changes or goes."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "omni-refresh", "version": __version__},
        "manifest": {"path": manifest.path, "sha256": manifest.sha256},
        "summary": {
            "models": len(manifest.entries),
            "instances": len(manifest.instances),
            "errors": sum(f.severity is Severity.ERROR for f in findings),
            "warnings": sum(f.severity is Severity.WARNING for f in findings),
            "calls": calls,
        },
        "findings": [
            {
                "severity": f.severity.value,
                "line": f.place.line,
                "column": f.place.column,
                "name": f.entry,
                "message": redact(f.message),
                "hint": redact(f.hint),
            }
            for f in findings
        ],
    }
