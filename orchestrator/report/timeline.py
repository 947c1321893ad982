"""The timeline of the HTML report: when each refresh was sent and when its end was seen.

Horizontal places are in thousandths of the line's length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from orchestrator.engine.outcome import ANSWERED, CallKind, Outcome, Status
from orchestrator.engine.run_stats import BudgetSample
from orchestrator.report.report import Report
from orchestrator.report.wording import took
from orchestrator.text import plural

EXPANDED_UP_TO: Final = 60
"""The most refreshes that have a row each. With more, a lane has one row."""

TITLED_UP_TO: Final = 600
"""The most bars that are drawn alone, with a title. With more, only failures are; with more failures, none."""

LANES_SHOWN: Final = 120
LEVEL_HEIGHT: Final = 14

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SCALE: Final = 1000
_THINNEST: Final = 5.0
_GAP: Final = 1.5
_STACKED_AT_MOST: Final = 4
_TICKS_AT_MOST: Final = 6
_STEPS_S: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_POINTS_AT_MOST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One refresh: sent at `x`, its end seen `width` later. `number` is its outcome's place in the report.

    `sending` is how long the refresh call took to be accepted. `usual` is where the refresh would have ended after its usual
    time. Both are 0 if they are unknown or too short to see.
    """

    x: float
    width: float
    sending: float
    usual: float
    level: int
    status: Status
    number: int
    name: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mass:
    """All bars of one status that are not drawn alone, as one SVG path."""

    status: Status
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineLane:
    """Refreshes of one connection. Bars that overlap have different levels. `words` describes it for screen readers.

    If each refresh has a row, a connection with failures has two lanes: one of the failures, one of the others.
    """

    label: str
    words: str
    is_failing: bool
    levels: int
    bars: tuple[Bar, ...]
    masses: tuple[Mass, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on the time axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The lanes: those with failures first, then by their end, latest first.

    `hidden` lanes, and `earlier` refreshes of a resumed run, are counted and not drawn.
    """

    lanes: tuple[TimelineLane, ...]
    ticks: tuple[Tick, ...]
    hidden: int
    earlier: int
    length_s: float
    is_expanded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChart:
    """The budget's use over time: `area` is an SVG path, 100 high. The budget of `top` calls ends at the height `limit`.

    `held` are the pauses as (x, width).
    """

    area: str
    limit: float
    top: int
    held: tuple[tuple[float, float], ...]
    words: str


@dataclass(frozen=True, slots=True)
class _Span:
    number: int
    outcome: Outcome
    begin_s: float
    end_s: float

    @property
    def sending_s(self) -> float:
        """How long it took until the refresh call was accepted; 0 if it was not, or if that is unknown."""
        for call in self.outcome.calls:
            if call.what is CallKind.REFRESH and call.end == ANSWERED and self.outcome.submitted_at is not None:
                waited_s = (call.left_at - self.outcome.submitted_at).total_seconds()
                return max(0.0, waited_s + (call.took_s or 0.0))
        return 0.0


def make_timeline(report: Report) -> Timeline | None:
    """Return the run's refreshes by lane; None if nothing was sent. Targets that another refresh covers are not drawn again."""
    spans, earlier = _spans(report)
    if not spans:
        return None
    length_s = max(report.run.duration_s, *(span.end_s for span in spans), 0.001)
    several = len({span.outcome.instance for span in spans}) > 1
    groups: dict[tuple[str, str | int], list[_Span]] = {}
    for span in spans:
        # a target with an unknown connection has its own lane
        groups.setdefault((span.outcome.instance, span.outcome.connection or span.number), []).append(span)
    bad = sum(not span.outcome.status.is_good for span in spans)
    alone = set(Status) if len(spans) <= TITLED_UP_TO else {status for status in Status if not status.is_good}
    alone = alone if bad <= TITLED_UP_TO else set()
    is_expanded = len(spans) <= EXPANDED_UP_TO
    parts: list[tuple[str, list[_Span]]] = []
    for (instance, _), group in groups.items():
        label = lane_label(group[0].outcome.connection, [span.outcome.name for span in group])
        label = f"{instance} / {label}" if several else label
        failing = [span for span in group if not span.outcome.status.is_good]
        others = [span for span in group if span.outcome.status.is_good]
        parts += [(label, part) for part in ((failing, others) if is_expanded else (group,)) if part]
    ranked = sorted(parts, key=lambda part: (not _is_failing(part[1]), -max(span.end_s for span in part[1])))
    lanes = [_lane(label, group, length_s, alone) for label, group in ranked[:LANES_SHOWN]]
    return Timeline(
        lanes=tuple(lanes),
        ticks=_ticks(length_s),
        hidden=max(0, len(ranked) - LANES_SHOWN),
        earlier=earlier,
        length_s=length_s,
        is_expanded=is_expanded,
    )


def lane_label(connection: str | None, names: Sequence[str]) -> str:
    """Return the connection's name, or its first model if only its id, or nothing, is known."""
    if connection is not None and not _ID.fullmatch(connection):
        return connection
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _is_failing(spans: Iterable[_Span]) -> bool:
    return any(not span.outcome.status.is_good for span in spans)


def make_budget_chart(samples: Sequence[BudgetSample], length_s: float) -> BudgetChart | None:
    """Return the chart of the budget's use, reduced to fewer points without losing a peak; None without samples."""
    if not samples:
        return None
    ceiling = max(1, *(max(sample.requests, sample.used) for sample in samples))
    scale = _SCALE / max(length_s, samples[-1].t_s, 0.001)
    size = math.ceil(len(samples) / _POINTS_AT_MOST)
    parts = (samples[start : start + size] for start in range(0, len(samples), size))
    points = [max(part, key=lambda sample: sample.used) for part in parts]
    steps = "".join(f"H{_short(p.t_s * scale)}V{_short(100 - 100 * p.used / ceiling)}" for p in points)
    held = _held(samples, scale)
    pauses = f", with {len(held)} {plural('pause', len(held))} after a 429" if held else ""
    words = budget_words(samples) + pauses
    most = max(sample.requests for sample in samples)
    limit = round(100 - 100 * most / ceiling, 1)
    return BudgetChart(area=f"M0 100{steps}V100Z", limit=limit, top=most, held=held, words=words)


def budget_words(samples: Sequence[BudgetSample]) -> str:
    """Return how much of the budget was used, on average and at most; empty without samples."""
    if not samples:
        return ""
    share = sum(sample.used for sample in samples) / max(1, sum(sample.requests for sample in samples))
    top = max(samples, key=lambda sample: sample.used)
    return f"{share:.0%} average, peak {top.used:,} of {top.requests:,} calls per window"


def _spans(report: Report) -> tuple[list[_Span], int]:
    """Return the refreshes that were sent, and how many others had ended before this run began."""
    spans, earlier = [], 0
    for number, outcome in enumerate(report.outcomes):
        if outcome.submitted_at is None or outcome.covered_by is not None:
            continue
        begin_s = (outcome.submitted_at - report.run.started_at).total_seconds()
        end_s = report.run.duration_s if outcome.duration_s is None else begin_s + outcome.duration_s
        if end_s < 0:
            earlier += 1
        else:
            spans.append(_Span(number, outcome, max(0.0, begin_s), max(0.0, begin_s, end_s)))
    return spans, earlier


def _lane(label: str, group: Iterable[_Span], length_s: float, alone: set[Status]) -> TimelineLane:
    bars: list[Bar] = []
    ends: list[float] = []
    spans = sorted(group, key=lambda span: span.begin_s)
    for span in spans:
        level = next((level for level, end_s in enumerate(ends) if end_s <= span.begin_s), len(ends))
        level = min(level, _STACKED_AT_MOST - 1)
        ends[level : level + 1] = [span.end_s]
        x = _SCALE * span.begin_s / length_s
        width = max(_THINNEST, _SCALE * (span.end_s - span.begin_s) / length_s - _GAP)
        title = f"{span.outcome.name}: {span.outcome.status.words}"
        title += f", sent at {took(span.begin_s)}, took {took(span.end_s - span.begin_s)}"
        usual_s = span.outcome.usual_s
        if usual_s is not None:
            title += f", usually {took(usual_s)}"
        usual = _SCALE * (span.begin_s + usual_s) / length_s if usual_s is not None else 0.0
        sending = _SCALE * span.sending_s / length_s
        bars.append(
            Bar(
                x=round(min(x, _SCALE - _THINNEST), 1),
                width=round(width, 1),
                sending=round(min(sending, width), 1) if sending >= _THINNEST else 0.0,
                usual=round(usual, 1) if 0 < usual < _SCALE else 0.0,
                level=level,
                status=span.outcome.status,
                number=span.number,
                name=span.outcome.name,
                title=title,
            )
        )
    bad = sum(not span.outcome.status.is_good for span in spans)
    words = f"{label}: {len(spans)} refreshes from {took(spans[0].begin_s)} to {took(max(s.end_s for s in spans))}"
    return TimelineLane(
        label=label,
        words=words + (f", {bad} not good" if bad else ""),
        is_failing=bad > 0,
        levels=len(ends),
        bars=tuple(bar for bar in bars if bar.status in alone),
        masses=_masses(bars, alone),
    )


def _masses(bars: Sequence[Bar], alone: set[Status]) -> tuple[Mass, ...]:
    paths: dict[Status, list[str]] = {}
    for bar in bars:
        if bar.status not in alone:
            y = LEVEL_HEIGHT * bar.level + 1
            paths.setdefault(bar.status, []).append(f"M{bar.x} {y}h{bar.width}v{LEVEL_HEIGHT - 2}h-{bar.width}z")
    return tuple(Mass(status=status, path="".join(parts)) for status, parts in paths.items())


def _ticks(length_s: float) -> tuple[Tick, ...]:
    step_s = next(
        (step for step in _STEPS_S if length_s / step <= _TICKS_AT_MOST), math.ceil(length_s / _TICKS_AT_MOST)
    )
    count = int(length_s / step_s)
    return tuple(Tick(x=round(_SCALE * n * step_s / length_s, 1), label=_clock(n * step_s)) for n in range(count + 1))


def _clock(moment_s: float) -> str:
    """Return a moment of the run as `0`, `0.5s`, `40s`, `5m`, `1m30s` or `2h30m`."""
    if moment_s == 0 or moment_s < 60:
        return f"{moment_s:g}s" if moment_s else "0"
    hours, minutes, seconds = int(moment_s) // 3600, int(moment_s) % 3600 // 60, int(moment_s) % 60
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def _held(samples: Sequence[BudgetSample], scale: float) -> tuple[tuple[float, float], ...]:
    """Return the pauses: each lasts from the first held sample of a series to the next one that is not held, or to the end."""
    starts = [(is_held, next(group).t_s) for is_held, group in groupby(samples, key=lambda sample: sample.held)]
    ends = [start_s for _, start_s in starts[1:]] + [samples[-1].t_s]
    return tuple(
        (round(start_s * scale, 1), round(max(1.0, (end_s - start_s) * scale), 1))
        for (is_held, start_s), end_s in zip(starts, ends, strict=True)
        if is_held
    )


def _short(place: float) -> str:
    return f"{place:.1f}".rstrip("0").rstrip(".")
