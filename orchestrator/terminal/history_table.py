"""The history as text: runs and models in tables, one model's course as a chart. Plain text if there are no colours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.outcome import known_status
from orchestrator.report.causes import short
from orchestrator.report.wording import STATUS_STYLES, text_console, took
from orchestrator.terminal.console import Console
from orchestrator.text import clean

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_STACKED_BELOW: Final = 100
_FEW_COLUMNS_BELOW: Final = 72
_TREND_STEPS: Final = 10
_COURSE_STEPS: Final = 30
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_NAME_LIMIT: Final = 60
_STATUS_WIDTH: Final = 11
_NEVER_BROKEN: Final = frozenset({"RUN", "STARTED", "STATE", "LAST", "TREND"})
_SHORTEST_BAR: Final = 8
_LONGEST_BAR: Final = 40
_MESSAGE_FROM: Final = 24


def render_history(history: Mapping[str, Any], console: Console, *, model: str | None, flaky: bool, drawn: bool) -> str:
    """The text, at most as wide as the console. `drawn`: stdout can hold block characters."""
    if not history["runs"]:
        return "No runs.\n" if model is None else f"No run has had a target {clean(model)!r}.\n"
    out = io.StringIO()
    width = max(console.width, 40)
    rich = text_console(out, width=width, color=console.color)
    if flaky:
        if not history["models"]:
            return f"No target's outcome alternated in the last {len(history['runs'])} runs.\n"
        rich.print(_flaky(history["models"], width))
    elif model is not None:
        for row in history["models"]:
            rich.print(_course(row, width, drawn=drawn))
    else:
        rich.print(_runs(history["runs"]) if width >= _STACKED_BELOW else _stacked_runs(history["runs"]))
        if history["models"]:
            rich.print()
            rich.print(_models(history["models"], width, drawn=drawn))
    return "\n".join(line if console.color else line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _table(*titles: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in _NEVER_BROKEN)
    return table


def _runs(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("RUN", "STARTED", "TOOK", "STATE", "EXIT", "TARGETS", "MANIFEST")
    for row in rows:
        code = "" if row["exit_code"] is None else str(row["exit_code"])
        started, spent = _minute(row["started_at"]), _took(row["duration_s"])
        table.add_row(row["id"], started, spent, row["state"], code, _statuses(row), clean(row["manifest"]))
    return table


def _stacked_runs(rows: Sequence[Mapping[str, Any]]) -> Text:
    from rich.text import Text

    text = Text()
    for row in rows:
        code = "" if row["exit_code"] is None else f", exit code {row['exit_code']}"
        text.append(f"{row['id']}  {row['state']}{code}\n")
        text.append(f"  {_minute(row['started_at'])}, {_took(row['duration_s'])}: {_statuses(row)}\n")
        text.append(f"  {clean(row['manifest'])}\n", style="dim")
    text.right_crop(1)
    return text


def _statuses(row: Mapping[str, Any]) -> str:
    told = ", ".join(f"{count} {_word(status)}" for status, count in row["statuses"].items())
    return clean(told or f"{row['targets']} targets")


def _models(rows: Sequence[Mapping[str, Any]], width: int, *, drawn: bool) -> Table:
    is_wide = width >= _FEW_COLUMNS_BELOW
    titles = ["MODEL", "RUNS", "LAST", "MEDIAN", *(("SHORTEST", "LONGEST") if is_wide else ())]
    table = _table(*titles, *(("TREND",) if drawn else ()))
    for row in rows:
        keys = ("median_s", "shortest_s", "longest_s") if is_wide else ("median_s",)
        trend = (_spark(row["durations_s"][-_TREND_STEPS:]),) if drawn else ()
        spans = (_took(row[key]) for key in keys)
        table.add_row(_name(row["name"]), str(row["runs"]), _status(row["last_status"]), *spans, *trend)
    return table


def _flaky(rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    """The oldest run's outcome first in each course: a dot is good, an x is not."""
    is_wide = width >= _FEW_COLUMNS_BELOW
    table = _table("MODEL", "FLIPS", "BAD", *(("LAST",) if is_wide else ()), "COURSE", *(("WHY",) if is_wide else ()))
    steps = _COURSE_STEPS if width >= _STACKED_BELOW else _COURSE_STEPS // 2
    for row in rows:
        bad = f"{row['bad']} of {row['runs']}"
        why = ", ".join(f"{kind} ({count})" if count > 1 else kind for kind, count in row["causes"].items())
        last, causes = ((_status(row["last_status"]),), (clean(why),)) if is_wide else ((), ())
        marks = "".join(_mark(step["status"]) for step in row["course"][:steps])[::-1]
        table.add_row(_name(row["name"]), str(row["flips"]), bad, *last, marks, *causes)
    return table


def _mark(status: str | None) -> str:
    known = known_status(status)
    if status is None or (known is not None and known.says_nothing):
        return "-"
    return "." if known is not None and known.was_refreshed else "x"


def _course(row: Mapping[str, Any], width: int, *, drawn: bool) -> Text:
    """Return one target's runs, the latest first: the time, the status, and a bar for the duration."""
    from rich.text import Text

    course = row["course"]
    text = Text(f"{_name(row['name'])}: {len(course)} {'run' if len(course) == 1 else 'runs'}", style="bold")
    if row["median_s"] is not None:
        spans = f"usually {_took(row['median_s'])}, {_took(row['shortest_s'])} to {_took(row['longest_s'])}"
        text.append(f"; {spans}", style="not bold")
    longest = max((step["duration_s"] or 0.0 for step in course), default=0.0)
    fixed = len("2026-11-25 02:00 +01:00") + 2 + _STATUS_WIDTH + 2 + 2 + len("59m59s")
    room = max(_SHORTEST_BAR, min(width - fixed, _LONGEST_BAR))
    left = width - fixed - room - 2
    for step in course:
        spent = step["duration_s"]
        text.append(f"\n{_minute(step['started_at'])}  ", style="dim")
        text.append(_status(step["status"]) + Text(" " * (_STATUS_WIDTH - len(_word(step["status"])) + 2)))
        cells = 0 if not spent or not longest else max(1, round(room * spent / longest))
        bar = ("█" if drawn else "#") * cells
        text.append(bar, style=_style(step["status"]))
        text.append(f"{' ' * (room - cells)}  {_took(spent):>6}")
        why = f"by the refresh of {step['covered_by']}" if step["covered_by"] else (step["message"] or "")
        if why and left >= _MESSAGE_FROM:
            text.append(f"  {short(why, left)}", style="dim")
    return text


def _spark(durations: Sequence[float]) -> str:
    """Durations as a row of blocks, the latest last; if there is one, or all are equal, they are half as high as possible."""
    low, high = min(durations, default=0.0), max(durations, default=0.0)
    if high <= low:
        return _SPARKS[3] * len(durations)
    return "".join(_SPARKS[round((len(_SPARKS) - 1) * (d - low) / (high - low))] for d in durations)


def _status(status: str | None) -> Text:
    from rich.text import Text

    return Text(_word(status), style=_style(status))


def _style(status: str | None) -> str:
    known = known_status(status)
    return "red" if known is None else STATUS_STYLES[known]


def _word(status: str | None) -> str:
    return "-" if status is None else clean(status.replace("_", " "))


def _name(name: str) -> str:
    return short(name, _NAME_LIMIT)


def _minute(stamp: str) -> str:
    """Return a moment in local time with its offset."""
    local = datetime.fromisoformat(stamp).astimezone()
    return f"{local:%Y-%m-%d %H:%M} {local.isoformat()[-6:]}"


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else took(seconds)
