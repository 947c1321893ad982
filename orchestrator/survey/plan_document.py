"""A preview as JSON data: what `plan --json` prints. Its `schema_version` grows when a field changes or is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator import __version__
from orchestrator.manifest.manifest import Entry
from orchestrator.omni.address import UnsendableName, refresh_target
from orchestrator.omni.answers import RefreshRequest
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.survey.forecast import Step
from orchestrator.survey.preview import Preview
from orchestrator.survey.usage import Usage

SCHEMA_VERSION = 2


def make_plan_document(preview: Preview, *, redact: Callable[[Any], Any]) -> Mapping[str, Any]:
    """Return the document. `redact` removes secrets from what a server said."""
    plan, forecast = preview.plan, preview.forecast
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "omni-refresh", "version": __version__},
        "manifest": {"path": plan.manifest.path, "sha256": plan.manifest.sha256},
        "summary": {
            "targets": sum(len(lane.targets) for lane in plan.lanes),
            "refreshes": len(preview.steps),
            "lanes": len(plan.lanes),
            "skipped": len(plan.skips),
            "unresolved": len(plan.unresolved),
            "calls": {
                "look_ups": forecast.look_ups,
                "submits": forecast.submits,
                "polls": forecast.polls,
                "proofs": forecast.proofs,
                "total": forecast.calls,
            },
            "expected_s": None if forecast.time_s is None else round(forecast.time_s, 1),
            "known_durations": forecast.known,
        },
        "refreshes": [_refresh(step) for step in preview.steps],
        "branch_patterns": [
            {
                **_who(one.pattern),
                "pattern": one.pattern.branch,
                "max_branches": one.pattern.max_branches,
                "branches": [
                    {"name": entry.name, "branch": entry.branch, "branch_id": branch_id}
                    for entry, _, branch_id in one.resolved
                ],
            }
            for one in plan.expansions
        ],
        "skipped": [{**_who(skip.entry), "reason": skip.reason} for skip in plan.skips],
        "unresolved": [{**_who(u.entry), **redact({"message": u.message, "hint": u.hint})} for u in plan.unresolved],
        "warnings": [
            {"message": redact(message), "names": [entry.name for entry in entries]}
            for message, entries in (
                *((remark, ()) for remark in plan.remarks),
                *((warning.message, warning.entries) for warning in preview.warnings),
            )
        ],
        **({} if preview.followed is None else _change(preview, preview.followed, redact)),
    }


def _change(preview: Preview, followed: FollowedChange, redact: Callable[[Any], Any]) -> dict[str, object]:
    """Return the change that the plan follows, and its impact on each entry."""
    return {
        "change": followed.changes.to_dict(),
        "concerns": [
            {
                **_who(one.entry),
                "skipped": one.is_skipped,
                "why": one.why,
                "changes": [{"name": str(c.name), "source": c.source, "line": c.line} for c in one.changes],
            }
            for one in preview.plan.impacts
        ],
        **({} if preview.usage is None else {"usage": _usage(preview.usage, redact)}),
    }


def _usage(usage: Usage, redact: Callable[[Any], Any]) -> dict[str, object]:
    """Return what uses the tables and columns that the change drops or renames."""
    return {
        "reads": usage.reads,
        "uses": [
            {
                **_who(use.entry),
                "change": {
                    "name": str(use.change.name),
                    "source": use.change.source,
                    "line": use.change.line,
                    "columns": list(use.change.columns),
                },
                **redact(
                    {
                        "views": list(use.views),
                        "fields": list(use.fields),
                        "documents": [
                            {"name": one.name, "identifier": one.identifier, "folder": one.folder, "type": one.kind}
                            for one in use.documents
                        ],
                        "problem": use.problem or None,
                    }
                ),
            }
            for use in usage.uses
        ],
    }


def _who(entry: Entry) -> dict[str, object]:
    return {"name": entry.name, "instance": entry.instance, "line": entry.place.line, "column": entry.place.column}


def _refresh(step: Step) -> Mapping[str, Any]:
    refresh, sender = step.refresh, step.refresh.sender
    entry = sender.entry
    return {
        "number": step.number,
        "instance": step.lane.instance,
        "lane": step.lane.key,
        "turn": step.turn,
        "name": entry.name,
        "model_id": sender.model_id,
        "connection": sender.connection,
        "branch": entry.branch,
        "branch_id": sender.branch_id,
        "refresh": entry.refresh.value,
        "mode": entry.mode.value,
        "schemas": list(entry.schemas),
        "tables": list(entry.tables),
        "calls": [{"method": "POST", "target": _target(ask)} for ask in refresh.requests],
        "serves": [target.entry.name for target in refresh.served],
        "timeout_s": refresh.timeout_s,
    }


def _target(ask: RefreshRequest) -> str | None:
    """Return the call's path and query; None if a name cannot be sent at all."""
    try:
        return refresh_target(ask)
    except UnsendableName:
        return None
