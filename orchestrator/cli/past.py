"""What `history` tells: runs, targets' outcomes in them, and durations."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from orchestrator.cli.console import Console
from orchestrator.cli.state import State
from orchestrator.journal.stored import RunRecord, StoredTarget
from orchestrator.report.document import format_stamp
from orchestrator.report.took import took
from orchestrator.text import clean


def make_history(state: State, *, model: str | None, limit: int) -> dict[str, Any]:
    """The history as JSON data: `runs`, the latest first, and `models`, the slowest first; of one target where it is named.

    A run's `state` is `running`, `unfinished` (to be resumed) or `finished`.
    """
    runs: list[dict[str, Any]] = []
    models: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in state.journal.runs():
        if len(runs) == limit:
            break
        targets = state.journal.targets(record.root)
        row = _run_row(state, record)
        if model is not None:
            mine = [t for t in targets if model in (t.name, t.model_id)]
            if not mine:
                continue
            row["outcomes"] = [_outcome_row(t) for t in mine]
            targets = tuple(mine)
        runs.append(row)
        for target in targets:
            if record.root == record.id and target.outcome is not None:
                models[target.name].append(target.outcome)
    rows = [_model_row(name, outcomes) for name, outcomes in models.items()]
    return {"runs": runs, "models": sorted(rows, key=lambda row: -(row["median_s"] or 0.0))}


def _run_row(state: State, record: RunRecord) -> dict[str, Any]:
    holder = state.is_at_work(record.root) if record.unfinished else None
    ended_at = record.ended_at
    return {
        "id": record.id,
        "trigger": record.trigger,
        "manifest": record.manifest_path,
        "started_at": format_stamp(record.began_at),
        "finished_at": None if ended_at is None else format_stamp(ended_at),
        "duration_s": None if ended_at is None else round(max(0.0, (ended_at - record.began_at).total_seconds()), 3),
        "state": "running" if holder is not None else "unfinished" if record.unfinished else "finished",
        "exit_code": record.exit_code,
        "resumed_from": record.root if record.root != record.id else None,
        "origin": record.origin,
        "targets": record.targets,
        "statuses": dict(record.counts),
    }


def _outcome_row(target: StoredTarget) -> dict[str, Any]:
    outcome = target.outcome or {}
    return {
        "name": target.name,
        "status": outcome.get("status"),
        "duration_s": outcome.get("duration_s"),
        "covered_by": outcome.get("covered_by"),
    }


def _model_row(name: str, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How long a target's own refreshes take, from those that succeeded; `outcomes` are the latest first."""
    durations = [
        float(o["duration_s"])
        for o in outcomes
        if o.get("status") == "succeeded" and o.get("covered_by") is None and o.get("duration_s") is not None
    ]
    return {
        "name": name,
        "runs": len(outcomes),
        "last_status": outcomes[0].get("status"),
        "median_s": round(median(durations), 3) if durations else None,
        "shortest_s": min(durations, default=None),
        "longest_s": max(durations, default=None),
    }


def render_history(history: Mapping[str, Any], console: Console) -> str:
    """Two tables as text, runs and models; plain where the console has no colours."""
    from rich.console import Console as Rich
    from rich.table import Table

    out = io.StringIO()
    rich = Rich(file=out, width=max(console.width, 40), force_terminal=console.color, markup=False, highlight=False)
    if not history["runs"]:
        return "No runs.\n"
    runs = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("RUN", "STARTED", "TOOK", "STATE", "EXIT", "TARGETS", "MANIFEST"):
        runs.add_column(title, overflow="fold", no_wrap=title in ("RUN", "STATE"))
    for row in history["runs"]:
        runs.add_row(*_cells(row))
    rich.print(runs)
    models = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("MODEL", "RUNS", "LAST", "MEDIAN", "SHORTEST", "LONGEST"):
        models.add_column(title, overflow="fold")
    for row in history["models"]:
        spans = (row[key] for key in ("median_s", "shortest_s", "longest_s"))
        models.add_row(clean(row["name"]), str(row["runs"]), _word(row["last_status"]), *map(_took, spans))
    if history["models"]:
        rich.print()
        rich.print(models)
    return "\n".join(line if console.color else line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    told = row.get("outcomes")
    statuses = (
        ", ".join(f"{o['name']} {_word(o['status'])} ({_took(o['duration_s'])})" for o in told)
        if told is not None
        else ", ".join(f"{count} {_word(status)}" for status, count in row["statuses"].items()) or str(row["targets"])
    )
    code = "" if row["exit_code"] is None else str(row["exit_code"])
    started = row["started_at"].replace("T", " ")[:19]
    return [row["id"], started, _took(row["duration_s"]), row["state"], code, clean(statuses), clean(row["manifest"])]


def _word(status: str | None) -> str:
    return "-" if status is None else status.replace("_", " ")


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else took(seconds)
