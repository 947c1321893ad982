"""A report as plain JSON data and back, and its JSON Schema: the versioned document that other programs read.

The types of `Outcome` and `RunFacts` decide what it holds. The schema version changes only if a field is removed or changes its
meaning. New optional fields do not change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator import __version__
from orchestrator.engine.outcome import CallMade, Failure, Outcome, Status, make_row
from orchestrator.errors import UsageError
from orchestrator.report.findings import SIGNAL_BASE, against_before, count_statuses
from orchestrator.report.report import Report, RunFacts
from orchestrator.values import DataError, as_data, from_data, object_schema

SCHEMA_VERSION: Final = 1

_MANIFEST: Final = {"path": "manifest_path", "sha256": "manifest_sha256", "identity": "manifest_identity"}
_COUNTED: Final = ("requests", "polls", "throttled")
_ELSEWHERE: Final = {"signal", *_MANIFEST.values(), *_COUNTED}
"""Fields of `RunFacts` that have another name or place in the document."""

_NAMES: Final = {Status: "status", Outcome: "outcome", Failure: "error", CallMade: "call"}


def make_document(report: Report) -> dict[str, Any]:
    """Return the report as JSON data (docs/reference/report.md): durations in seconds to the millisecond, times in UTC."""
    return {**make_head(report), "outcomes": [make_row(outcome) for outcome in report.outcomes]}


def make_head(report: Report) -> dict[str, Any]:
    """Return the report as JSON data without its outcomes."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "omni-refresh", "version": __version__},
        "run": _make_run(report.run),
        "summary": _make_summary(report),
    }


def _make_run(run: RunFacts) -> dict[str, Any]:
    data = as_data(run, decimals=3)
    manifest = {name: data[field] for name, field in _MANIFEST.items()}
    manifest["identity"] = manifest["identity"] or run.manifest_path
    return {
        "id": run.id,
        "trigger": run.trigger.value,
        "manifest": manifest,
        "interrupted": run.signal is not None,
        **{name: value for name, value in data.items() if name not in _ELSEWHERE},
    }


def _make_summary(report: Report) -> dict[str, Any]:
    """Return the counts.

    `throttled` is a status and a number of calls: at the top it counts calls. `by_status` has the statuses without that clash.
    """
    counts = {status.value: count for status, count in count_statuses(report.outcomes).items()}
    calls = {name: getattr(report.run, name) for name in _COUNTED}
    summary: dict[str, Any] = {"total": len(report.outcomes), **counts, **calls, "by_status": counts}
    against = against_before(report.outcomes)
    if against is not None:
        summary["new_failures"] = len(against.new)
        summary["still_failing"] = len(against.still)
        summary["recovered"] = len(against.recovered)
    summary["exit_code"] = report.exit_code
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    schema_version: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    requests: int = 0
    polls: int = 0
    throttled: int = 0
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ManifestPart:
    path: str
    sha256: str
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunPart:
    manifest: _ManifestPart
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    run: Mapping[str, object]
    summary: _Counts
    outcomes: tuple[Outcome, ...]


def parse_document(document: object) -> Report:
    """Return the report that a document of schema version 1 holds. Raises UsageError with the place if it is not one."""
    try:
        version = from_data(_Version, document, path="").schema_version
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"the report has schema version {version:g}, this program reads {SCHEMA_VERSION}",
                code="unreadable-report",
                hint="read it with the omni-refresh that wrote it",
            )
        whole = from_data(_Document, document)
        counts, part = whole.summary, from_data(_RunPart, whole.run, path="run")
        is_stopped = part.interrupted and counts.exit_code > SIGNAL_BASE
        run = from_data(
            RunFacts,
            {
                **whole.run,
                **{field: getattr(part.manifest, name) for name, field in _MANIFEST.items()},
                **{name: getattr(counts, name) for name in _COUNTED},
                "signal": counts.exit_code - SIGNAL_BASE if is_stopped else None,
            },
            path="run",
        )
    except DataError as error:
        raise UsageError(
            f"not a report of schema version {SCHEMA_VERSION}: {error}", code="unreadable-report"
        ) from None
    return Report(run=run, outcomes=whole.outcomes, exit_code=counts.exit_code)


def report_json_schema() -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of the report. It allows unknown fields: new ones come without a new version."""
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:omni-refresh:report:{SCHEMA_VERSION}",
        "title": "omni-refresh report",
        "description": "The outcome of each target of one run.",
        **_object(
            {
                "schema_version": {"const": SCHEMA_VERSION},
                "tool": _object({"name": {"const": "omni-refresh"}, "version": text}),
                "run": _run_schema(),
                "summary": _summary_schema(count),
                "outcomes": {
                    "type": "array",
                    "items": {"$ref": "#/$defs/outcome"},
                    "description": "One for each selected target, in the manifest's order.",
                },
            }
        ),
        "$defs": {
            "status": {"enum": [status.value for status in Status]},
            **{name: object_schema(kind, _NAMES) for kind, name in _NAMES.items() if kind is not Status},
        },
    }


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _run_schema() -> dict[str, Any]:
    schema = object_schema(RunFacts, _NAMES)
    own = {
        "manifest": {
            **_object(
                {"path": {"type": "string", "description": "As it was given."}, "sha256": {"type": "string"}},
                {"identity": {"type": "string", "description": "The manifest's name, or its absolute path."}},
            ),
        },
        "interrupted": {"type": "boolean", "description": "Whether a signal stopped the run."},
    }
    schema["properties"] = {
        **{name: part for name, part in schema["properties"].items() if name not in _ELSEWHERE},
        **own,
    }
    schema["required"] = [name for name in schema["required"] if name not in _ELSEWHERE] + list(own)
    return schema


def _summary_schema(count: dict[str, Any]) -> dict[str, Any]:
    by_status = {status.value: count for status in Status}
    return _object(
        {
            "total": count,
            **{name: count for name in by_status if name != Status.THROTTLED},
            "requests": {**count, "description": "Every call, including polls."},
            "polls": count,
            "throttled": {**count, "description": "Calls answered 429. Outcomes of that status: by_status.throttled."},
            "by_status": _object(by_status),
            "exit_code": count,
        },
        {
            "new_failures": {
                **count,
                "description": "Not good now, good or unknown in the previous run, if there was one.",
            },
            "still_failing": {**count, "description": "Not good now nor in the previous run, if there was one."},
            "recovered": {**count, "description": "Not good in the previous run, refreshed now, if there was one."},
        },
    )
