"""The findings of a check, each with its place in the manifest, and the documents that show them."""

from __future__ import annotations

from collections import Counter
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
    """An error keeps a target from its refresh or contradicts the instance, a warning may. A note only informs."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding. `entry` is the name of the entry that it is about, or of the first of several."""

    severity: Severity
    place: Place
    code: str
    message: str
    entry: str | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSchedule:
    """A native schedule of a connection, the next times at which it runs, and the names of the entries on the connection."""

    connection_id: str
    schedule: RefreshSchedule
    next_at: tuple[datetime, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """Facts that an instance reports. `api_document` is None if it could not be read."""

    name: str
    api_document: ApiDocument | None
    schedules: tuple[ConnectionSchedule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCheck:
    """What a check against the instances found, in the file's order, and facts about the instances."""

    findings: tuple[Finding, ...]
    instances: tuple[InstanceFacts, ...]


def found_in(entry: Entry, severity: Severity, message: str, hint: str = "", *, code: str) -> Finding:
    """Return a finding about one entry."""
    return Finding(severity=severity, place=entry.place, code=code, message=message, entry=entry.name, hint=hint)


def found_in_manifest(manifest: Manifest) -> tuple[Finding, ...]:
    """Return the warnings of a manifest as findings."""
    return tuple(
        Finding(severity=Severity.WARNING, place=w.place, code=w.code, message=w.message, entry=w.entry, hint=w.hint)
        for w in manifest.warnings
    )


def found_by_reader(error: ManifestError) -> tuple[Finding, ...]:
    """Return the errors of a manifest that could not be loaded as findings."""
    return tuple(
        Finding(severity=Severity.ERROR, place=d.place, code=d.code, message=d.message, hint=d.hint)
        for d in error.diagnostics
    )


def make_check_document(
    manifest: Manifest | str,
    findings: Sequence[Finding],
    *,
    calls: int,
    redact: Callable[[Any], Any],
    instances: Sequence[InstanceFacts] = (),
) -> Mapping[str, Any]:
    """Return what `check --json` prints. Its `schema_version` grows when a field changes or is removed.

    If the manifest could not be loaded, `manifest` is its path, and its checksum and counts are null. `instances` are the
    facts of `--online`.
    """
    loaded = None if isinstance(manifest, str) else manifest
    counts = Counter(finding.severity for finding in findings)
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
            **{f"{severity}s": counts[severity] for severity in Severity},
            "calls": calls,
        },
        "findings": [
            {
                "severity": f.severity.value,
                "code": f.code,
                "line": f.place.line,
                "column": f.place.column,
                "name": f.entry,
                **redact({"message": f.message, "hint": f.hint}),
            }
            for f in findings
        ],
        "instances": [_instance(facts, redact) for facts in instances],
    }


def _instance(facts: InstanceFacts, redact: Callable[[Any], Any]) -> dict[str, object]:
    document = facts.api_document
    return {
        "name": facts.name,
        "refresh_parameters": document and redact(list(document.refresh_parameters)),
        "knows_dbt_sync": document and document.knows_dbt_sync,
        "schedules": [
            {
                "connection_id": redact(one.connection_id),
                **redact({"schedule": one.schedule.cron, "timezone": one.schedule.timezone}),
                "hard": one.schedule.hard,
                "disabled": one.schedule.disabled,
                "next": [format_stamp(moment) for moment in one.next_at],
                "names": list(one.names),
            }
            for one in facts.schedules
        ],
    }


def make_sarif(path: str, findings: Sequence[Finding], *, redact: Callable[[str], str]) -> Mapping[str, Any]:
    """Return the findings as SARIF 2.1.0, for code-scanning tools. `path` is the manifest's path as it was given."""
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
