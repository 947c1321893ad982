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
    code: str
    message: str
    entry: str | None = None
    hint: str = ""


def found_in(entry: Entry, severity: Severity, message: str, hint: str = "", *, code: str) -> Finding:
    """A finding about one entry."""
    return Finding(severity=severity, place=entry.place, code=code, message=message, entry=entry.name, hint=hint)


def found_in_manifest(manifest: Manifest) -> tuple[Finding, ...]:
    """What is odd in a manifest without asking anybody."""
    return tuple(
        Finding(severity=Severity.WARNING, place=w.place, code=w.code, message=w.message, entry=w.entry, hint=w.hint)
        for w in manifest.warnings
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
                "code": f.code,
                "line": f.place.line,
                "column": f.place.column,
                "name": f.entry,
                "message": redact(f.message),
                "hint": redact(f.hint),
            }
            for f in findings
        ],
    }
