"""The history as data: runs, the outcomes of their targets, durations, and targets whose outcomes alternate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

from orchestrator.app.choose_run import runs_of_manifest
from orchestrator.app.context import Context
from orchestrator.app.state import State, open_state
from orchestrator.engine.outcome import Status, known_status
from orchestrator.journal.database import JournalError
from orchestrator.journal.records import RunRecord, StoredTarget
from orchestrator.report.document import parse_document
from orchestrator.report.report import Report
from orchestrator.values import format_stamp


def make_history(
    state: State,
    *,
    model: str | None,
    limit: int,
    flaky: bool = False,
    manifest: str | None = None,
    since: datetime | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the history as JSON data: `runs`, the latest first, and `models`, the slowest first.

    `model` is one target's name or model id, `manifest` a path or a name, `since` the earliest start of a run.

    A run's `state` is `running`, `unfinished` (to be resumed) or `finished`. `flaky` leaves those models whose outcomes
    alternate, most often first. For one model and for flaky ones `course` has each run's outcome, the latest first.
    """
    runs: list[dict[str, Any]] = []
    models: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    journal = state.journal
    records = journal.runs() if manifest is None else runs_of_manifest(journal, manifest, environ or {})
    for record in records:
        if len(runs) == limit or (since is not None and record.began_at < since):
            break
        targets = journal.targets(record.root, only=model)
        if model is not None and not targets:
            continue
        row = _run_row(state, record)
        if model is not None:
            row["outcomes"] = [_outcome_row(target) for target in targets]
        runs.append(row)
        for target in targets:
            if record.root == record.id and target.outcome is not None:
                step = {"run": record.id, "started_at": row["started_at"], **_outcome_row(target)}
                models[record.manifest_identity, target.name].append({**step, "manifest": record.manifest_path})
    rows = [_model_row(name, course) for (_, name), course in models.items()]
    if flaky:
        rows = sorted((row for row in rows if row["flips"] > 1), key=lambda row: (-row["flips"], row["runs"]))
    else:
        rows.sort(key=lambda row: -(row["median_s"] or 0.0))
    if not flaky and model is None:
        rows = [{key: value for key, value in row.items() if key != "course"} for row in rows]
    return {"runs": runs, "models": rows}


def _run_row(state: State, record: RunRecord) -> dict[str, Any]:
    holder = state.is_at_work(record.root) if record.unfinished else None
    ended_at = record.ended_at
    return {
        "id": record.id,
        "trigger": record.trigger,
        "manifest": record.manifest_path,
        "identity": record.manifest_identity,
        "directory": record.directory,
        "started_at": format_stamp(record.began_at),
        "finished_at": None if ended_at is None else format_stamp(ended_at),
        "duration_s": _duration_s(state, record),
        "state": "running" if holder is not None else "unfinished" if record.unfinished else "finished",
        "exit_code": record.exit_code,
        "resumed_from": record.root if record.root != record.id else None,
        "origin": record.origin,
        "targets": record.targets,
        "statuses": dict(record.counts),
    }


def _duration_s(state: State, record: RunRecord) -> float | None:
    """How long a run took by its report, which has it from a monotonic clock; without one, by the wall clock."""
    if record.ended_at is None:
        return None
    with suppress(JournalError):
        run = (state.journal.document(record.id) or {}).get("run") or {}
        if isinstance(run.get("duration_s"), int | float):
            return float(run["duration_s"])
    return round(max(0.0, (record.ended_at - record.began_at).total_seconds()), 3)


def _outcome_row(target: StoredTarget) -> dict[str, Any]:
    outcome = target.outcome or {}
    error = outcome.get("error") or {}
    return {
        "name": target.name,
        "instance": outcome.get("instance"),
        "model_id": target.model_id,
        "status": outcome.get("status"),
        "duration_s": outcome.get("duration_s"),
        "queued_s": outcome.get("queued_s"),
        "covered_by": outcome.get("covered_by"),
        "error_kind": error.get("kind"),
        "message": error.get("message"),
    }


def _model_row(name: str, course: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statistics of a target's runs, given in `course`, the latest first.

    Durations are those of its own refreshes that succeeded. `flips` is how often its outcome changed between good and bad,
    `causes` its kinds of errors, most often first.
    """
    own = [step for step in course if step["covered_by"] is None and step["duration_s"] is not None]
    durations = [float(step["duration_s"]) for step in own if step["status"] == Status.SUCCEEDED]
    results = [(known_status(step["status"]), step["error_kind"]) for step in course]
    results = [(status, kind) for status, kind in results if status is None or not status.says_nothing]
    good = [status is not None and status.was_refreshed for status, _ in results]
    kinds = Counter(kind for _, kind in results if kind)
    latest = course[0]
    return {
        "name": name,
        "manifest": latest["manifest"],
        "instance": latest["instance"],
        "model_id": latest["model_id"],
        "runs": len(course),
        "last_status": latest["status"],
        "median_s": round(median(durations), 3) if durations else None,
        "shortest_s": min(durations, default=None),
        "longest_s": max(durations, default=None),
        "bad": good.count(False),
        "flips": sum(now != before for now, before in pairwise(good)),
        "causes": dict(kinds.most_common()),
        "durations_s": durations[::-1],
        "course": [{key: value for key, value in step.items() if key != "manifest"} for step in course],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHistory:
    """The `runs` under a key, and the reports of those that ended, oldest first. `has_ended`: the latest is one of them."""

    runs: int
    reports: tuple[Report, ...]
    has_ended: bool


def history_of_key(key: str, context: Context, state: str | None = None) -> KeyHistory:
    """Return the runs under `key` and their reports. Raises `UsageError` if the state cannot be used."""
    with open_state(context, state) as opened:
        journal = opened.journal
        documents = [journal.document(record.id) for record in reversed(journal.runs_with_key(key))]
    return KeyHistory(
        runs=len(documents),
        reports=tuple(parse_document(document) for document in documents if document is not None),
        has_ended=bool(documents) and documents[-1] is not None,
    )
