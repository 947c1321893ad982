"""What a check finds: each thing with its place in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestrator import __version__
from orchestrator.manifest.manifest import Entry, Manifest, Place
from orchestrator.omni.answers import ApiDocument, RefreshSchedule
from orchestrator.values import format_stamp

if TYPE_CHECKING:
    from orchestrator.manifest.diagnostics import ManifestError

SCHEMA_VERSION = 1


class Severity(StrEnum):
    """An error will keep a target from its refresh, or already says something that is not so; a warning may. A note only informs."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found. `entry` is the name of the entry that it is about, or of the first one of several."""

    severity: Severity
    place: Place
    code: str
    message: str
    entry: str | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSchedule:
    """A native schedule of a connection, the next moments at which it runs, and the entries on the connection by name."""

    connection_id: str
    schedule: RefreshSchedule
    next_at: tuple[datetime, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """What an instance says of itself. `api_document` is None if it could not be read."""

    name: str
    api_document: ApiDocument | None
    schedules: tuple[ConnectionSchedule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCheck:
    """What a check against the instances found, in the file's order, and what they said of themselves."""

    findings: tuple[Finding, ...]
    instances: tuple[InstanceFacts, ...]


def found_in(entry: Entry, severity: Severity, message: str, hint: str = "", *, code: str) -> Finding:
    """A finding about one entry."""
    return Finding(severity=severity, place=entry.place, code=code, message=message, entry=entry.name, hint=hint)


def found_in_manifest(manifest: Manifest) -> tuple[Finding, ...]:
    """What is odd in a manifest without asking anybody."""
    return tuple(
        Finding(severity=Severity.WARNING, place=w.place, code=w.code, message=w.message, entry=w.entry, hint=w.hint)
        for w in manifest.warnings
    )


def found_by_reader(error: ManifestError) -> tuple[Finding, ...]:
    """The errors of a manifest that could not be loaded, as findings."""
    return tuple(
        Finding(severity=Severity.ERROR, place=d.place, code=d.code, message=d.message, hint=d.hint)
        for d in error.diagnostics
    )


def make_check_document(
    manifest: Manifest | str,
    findings: Sequence[Finding],
    *,
    calls: int,
    redact: Callable[[str], str],
    instances: Sequence[InstanceFacts] = (),
) -> Mapping[str, Any]:
    """What `check --json` prints. Its `schema_version` grows when a field changes or goes.

    `manifest` is the path of one that could not be loaded; its checksum and counts are null. `instances` is what they said of
    themselves, with `--online`.
    """
    loaded = None if isinstance(manifest, str) else manifest
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "omni-refresh", "version": __version__},
        "manifest": {
            "path": manifest if isinstance(manifest, str) else manifest.path,
            "sha256": loaded and loaded.sha256,
        },
        "summary": {
            "models": loaded and len(loaded.entries),
            "instances": loaded and len(loaded.instances),
            "errors": sum(f.severity is Severity.ERROR for f in findings),
            "warnings": sum(f.severity is Severity.WARNING for f in findings),
            "notes": sum(f.severity is Severity.NOTE for f in findings),
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
        "instances": [_instance(facts, redact) for facts in instances],
    }


def _instance(facts: InstanceFacts, redact: Callable[[str], str]) -> dict[str, object]:
    document = facts.api_document
    return {
        "name": facts.name,
        "refresh_parameters": document and [redact(name) for name in document.refresh_parameters],
        "knows_dbt_sync": document and document.knows_dbt_sync,
        "schedules": [
            {
                "connection_id": redact(one.connection_id),
                "schedule": one.schedule.cron and redact(one.schedule.cron),
                "timezone": one.schedule.timezone and redact(one.schedule.timezone),
                "hard": one.schedule.hard,
                "disabled": one.schedule.disabled,
                "next": [format_stamp(moment) for moment in one.next_at],
                "names": list(one.names),
            }
            for one in facts.schedules
        ],
    }


def make_sarif(path: str, findings: Sequence[Finding], *, redact: Callable[[str], str]) -> Mapping[str, Any]:
    """The findings as SARIF 2.1.0, for code-scanning tools. `path` is the manifest's, as it was given."""
    location = {"uri": quote(path)} if not path.startswith("/") else {"uri": f"file://{quote(path)}"}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "omni-refresh",
                        "version": __version__,
                        "rules": [{"id": code} for code in sorted({f.code for f in findings})],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    {
                        "ruleId": f.code,
                        "level": f.severity.value,
                        "message": {"text": redact(_text(f))},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": location,
                                    "region": {"startLine": f.place.line, "startColumn": f.place.column},
                                }
                            }
                        ],
                    }
                    for f in findings
                ],
            }
        ],
    }


def _text(finding: Finding) -> str:
    message = f"{finding.entry}: {finding.message}" if finding.entry is not None else finding.message
    return f"{message}\n{finding.hint}" if finding.hint else message
