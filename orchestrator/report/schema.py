"""The JSON Schema of the report document, for those who read it with a program."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.engine.outcome import CallKind, Status
from orchestrator.manifest.manifest import Mode
from orchestrator.report.document import MESSAGE_LIMIT, SCHEMA_VERSION
from orchestrator.report.report import Trigger

_STAMP: Final = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
}
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_FLAG: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SECONDS: Final = {"type": "number", "minimum": 0}


def report_json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the report. Unknown fields are allowed everywhere: new ones come without a new version."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:omni-refresh:report:{SCHEMA_VERSION}",
        "title": "omni-refresh report",
        "description": "What became of each target of one run.",
        **_object(
            {
                "schema_version": {"const": SCHEMA_VERSION},
                "tool": _object({"name": {"const": "omni-refresh"}, "version": _TEXT}),
                "run": _run(),
                "summary": _summary(),
                "outcomes": {
                    "type": "array",
                    "items": {"$ref": "#/$defs/outcome"},
                    "description": "One for each selected target, in the manifest's order.",
                },
            }
        ),
        "$defs": {
            "status": {"enum": [status.value for status in Status]},
            "outcome": _outcome(),
            "error": _error(),
            "call": _call(),
        },
    }


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _nullable(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}], "description": description}


def _told(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


def _run() -> dict[str, Any]:
    sample = _object({"t_s": _SECONDS, "used": _COUNT, "requests": _COUNT, "held": _FLAG})
    return _object(
        {
            "id": _TEXT,
            "trigger": {"enum": [trigger.value for trigger in Trigger]},
            "manifest": _object(
                {"path": _told(_TEXT, "As it was given."), "sha256": _TEXT},
                {"identity": _told(_TEXT, "The manifest's name, or its absolute path: what tells it from others.")},
            ),
            "started_at": _STAMP,
            "finished_at": _STAMP,
            "duration_s": _told(_SECONDS, "From a monotonic clock."),
            "interrupted": _told(_FLAG, "Whether a signal stopped the run."),
            "resumed_from": _nullable(_TEXT, "The id of the first run that this one goes on with."),
        },
        {
            "simulated": _told(_FLAG, "Whether the run was a rehearsal against the simulator."),
            "new_issues_fail": _told(
                _FLAG, "Whether new validation issues made the exit code 1 (`--fail-on-new-issues`); left out if not."
            ),
            "retried_from": _nullable(
                _TEXT, "The id of the run whose targets this one, or the run it resumed, retried."
            ),
            "quota": {
                "type": "object",
                "additionalProperties": {"type": "object"},
                "description": "What was learned about each instance's real limit; left out where it gave what it promised.",
            },
            "refused_instances": _told(_TEXTS, "Instances that refused all their keys; left out where there are none."),
            "warnings": _told(_TEXTS, "What concerns the whole run; left out where there are none."),
            "budget": {
                "type": "array",
                "items": sample,
                "description": "Calls used of the window's budget over time; left out where nobody kept it.",
            },
        },
    )


def _summary() -> dict[str, Any]:
    statuses = {status.value: _COUNT for status in Status if status is not Status.THROTTLED}
    return _object(
        {
            "total": _COUNT,
            **statuses,
            "requests": _told(_COUNT, "Every call, polls included."),
            "polls": _COUNT,
            "throttled": _told(_COUNT, "Calls answered 429. Outcomes of that status: by_status.throttled."),
            "by_status": _object({status.value: _COUNT for status in Status}),
            "exit_code": _COUNT,
        },
        {
            "new_failures": _told(_COUNT, "Not good now, good or unknown in the run before; with a run before only."),
            "still_failing": _told(_COUNT, "Not good now, nor in the run before; with a run before only."),
            "recovered": _told(_COUNT, "Not good in the run before, refreshed now; with a run before only."),
        },
    )


def _outcome() -> dict[str, Any]:
    return _object(
        {
            "name": _told(_TEXT, "The target's label, unique in its manifest."),
            "instance": _TEXT,
            "model_id": _nullable(_TEXT, "Null where the name was not found."),
            "branch": _nullable(_TEXT, "The branch as the manifest names it."),
            "branch_id": _nullable(_TEXT, "The branch's id as it was sent."),
            "connection": _nullable(_TEXT, "The connection's id, or the label that the manifest gives it."),
            "mode": {"enum": [mode.value for mode in Mode]},
            "schemas": _TEXTS,
            "tables": _TEXTS,
            "tags": _TEXTS,
            "status": {"$ref": "#/$defs/status"},
            "covered_by": _nullable(_TEXT, "The name of the target whose refresh served this one."),
            "job_ids": _TEXTS,
            "job_status": _nullable(_TEXT, "The job's last known word, as the server wrote it."),
            "submitted_at": _nullable(_STAMP, "When the (first) refresh call left."),
            "finished_at": _nullable(_STAMP, "When the end was seen."),
            "duration_s": _nullable(_SECONDS, "From submitted_at until the end was seen."),
            "queued_s": _nullable(_SECONDS, "From the run's start until the refresh call left."),
            "attempts": _told(_COUNT, "Refresh calls that were not answered 429."),
            "polls": _told(_COUNT, "Questions about the job that were not answered 429."),
            "throttled": _told(_COUNT, "Calls for this target that were answered 429."),
            "warnings": _TEXTS,
            "promotion_pending": _told(_FLAG, "Whether the refreshed branch must still be promoted."),
            "verified": _nullable(
                _FLAG, "Whether what was asked for was seen; null where nobody looked or could tell."
            ),
            "validation": _nullable(
                _object({"new": _TEXTS, "fixed": _TEXTS}), "The validation issues that the refresh brought and mended."
            ),
            "previous_status": _nullable({"$ref": "#/$defs/status"}, "The status in the manifest's run before."),
            "error": _nullable({"$ref": "#/$defs/error"}, "Null where the target succeeded."),
        },
        {
            "calls": {
                "type": "array",
                "items": {"$ref": "#/$defs/call"},
                "description": "This run's refresh calls and the polls that went wrong: the first few and the last.",
            },
            "usual_s": _nullable(_SECONDS, "The median of what the model's refreshes took in earlier runs."),
            "failing_since": _nullable(
                _STAMP, "When the first run began of the unbroken row in which the target did not succeed."
            ),
        },
    )


def _call() -> dict[str, Any]:
    return _object(
        {
            "number": _told(_COUNT, "Its place among all calls for the target, those that are not listed too."),
            "what": {"enum": [asked.value for asked in CallKind]},
            "left_at": _STAMP,
            "end": _told(_TEXT, "`answered`, or a kind as in an error."),
            "http_status": _nullable({"type": "integer"}, "The HTTP status of a call that went wrong."),
            "word": _nullable(_TEXT, "The job's word in the answer."),
            "took_s": _nullable(_SECONDS, "Until its end; null where it was cut off."),
            "wait_s": _nullable(_SECONDS, "From its end until the target's next call; null where there was none."),
        }
    )


def _error() -> dict[str, Any]:
    return _object(
        {
            "kind": _told(_TEXT, "One word for programs; see the reference."),
            "http_status": _nullable({"type": "integer"}, "The answer's HTTP status, where there was an answer."),
            "message": {"type": "string", "maxLength": MESSAGE_LIMIT, "description": "The server's words."},
            "hint": _told(_TEXT, "What to do."),
            "last_status": _nullable(_TEXT, "The job's last known word, where there was a job."),
        }
    )
