"""What a run's live display says: a moment of the run as a value, and its lines at any width. Pure; draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.engine.events import ActiveLane
from orchestrator.engine.outcome import Status
from orchestrator.quota.rate_limiter import StopReason
from orchestrator.report.wording import STATUS_STYLES, took
from orchestrator.terminal.log_lines import say_left
from orchestrator.text import clean, counted

if TYPE_CHECKING:
    from rich.text import Text

NARROWEST: Final = 20

_GOOD: Final = "green"
_BAD: Final = "red"
_RUNNING: Final = "cyan"
_QUIET: Final = "dim"
_LANES_SHOWN: Final = 5
_BUDGETS_SHOWN: Final = 4
_NAME_MOST: Final = 40
_BAR_LEAST, _BAR_MOST = 10, 60
_FULL, _EMPTY = "█", "░"
_FULL_ASCII, _EMPTY_ASCII = "#", "."
_SLOW: Final = 1.5
_NO_MORE: Final = ": nothing more is submitted"
_ENDED: Final = {
    StopReason.STOPPED.value: "stopping",
    StopReason.FAIL_FAST.value: "too many failed",
    StopReason.DEADLINE.value: "deadline",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """What an instance's keys have used of their windows: `used` of `calls` in `per_s` seconds. `held_s` is how long all
    of its keys still pause after a 429; None if one may send. `queued` calls wait for a free one. `is_silent`: the
    instance does not answer, and calls are held back.
    """

    instance: str
    used: int
    calls: int
    per_s: float
    held_s: float | None = None
    queued: int = 0
    is_silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of a run. `total` is 0 until look-ups are done; `selected` is how many targets there are to look up.
    `failed` names the targets that did not succeed, in the order in which they ended.
    """

    title: str
    elapsed_s: float
    selected: int
    total: int = 0
    settled: Mapping[Status, int] = field(default_factory=dict)
    failed: Sequence[str] = ()
    left_s: float | None = None
    budgets: Sequence[BudgetUse] = ()
    lanes: Sequence[ActiveLane] = ()
    ended: str | None = None

    @property
    def done(self) -> int:
        """Targets that have their outcome."""
        return sum(self.settled.values())

    @property
    def running(self) -> int:
        """Targets whose refresh is running."""
        return min(sum(lane.serves for lane in self.lanes), max(0, self.total - self.done))


def render_progress(moment: Progress, width: int, *, height: int = 24, ascii_only: bool = False) -> list[Text]:
    """The display's lines, each narrower than `width` columns and at most `height` of them, most important first.

    `ascii_only` is for terminals that cannot show a block or a dot in the middle.
    """
    width = max(width, NARROWEST)
    lines = [_headline(moment, width), _bar(moment, width, ascii_only=ascii_only), *_counts(moment, width)]
    lines += _failed(moment.failed, width)
    lines += _budgets(moment.budgets, width, ascii_only=ascii_only)
    room = height - len(lines) - 1
    if moment.lanes and room > 0:
        lines += _lanes(moment.lanes, width, min(_LANES_SHOWN, room))
    lines = lines[: max(1, height)]
    for line in lines:
        line.truncate(width - 1, overflow="crop" if ascii_only else "ellipsis")
    return lines


def _whole(seconds: float) -> str:
    """Seconds as a clock shows them."""
    return f"{int(seconds)}s" if seconds < 60 else took(int(seconds))


def _headline(moment: Progress, width: int) -> Text:
    from rich.text import Text

    elapsed = _whole(moment.elapsed_s)
    right = elapsed if moment.left_s is None or moment.ended else f"{elapsed}, {say_left(moment.left_s)}"
    if moment.ended is not None:
        right = f"{elapsed}, {_ENDED.get(moment.ended, 'ending')}"
        right += _NO_MORE if len(right) + len(_NO_MORE) < width else ""
    title = _cut(moment.title, max(0, width - len(right) - 3))
    if width < 50 and len(right) + len(title) + 3 > width:
        title = ""
    gap = max(1, width - 1 - len(title) - len(right)) if title else 0
    return Text.assemble((title, "bold"), " " * gap, right)


def _bar(moment: Progress, width: int, *, ascii_only: bool) -> Text:
    from rich.text import Text

    if not moment.total:
        return Text(f"looking up {counted(moment.selected, 'target')}{_awaited(moment.budgets)}", style=_QUIET)
    words = f" {moment.done:,} of {moment.total:,}"
    columns = max(4, min(width - 1 - len(words), 100))
    good = sum(count for status, count in moment.settled.items() if status.is_good)
    parts = [good, moment.done - good, moment.running]
    shares = _shares(parts, moment.total, columns)
    full, empty = (_FULL_ASCII, _EMPTY_ASCII) if ascii_only else (_FULL, _EMPTY)
    bar = Text()
    for share, style, char in zip(
        shares, (_GOOD, _BAD, _RUNNING), (full, "x" if ascii_only else full, "-" if ascii_only else "▒"), strict=True
    ):
        bar.append(char * share, style=style)
    bar.append(empty * (columns - sum(shares)), style=_QUIET)
    return bar.append(words)


def _awaited(budgets: Sequence[BudgetUse]) -> str:
    """What look-ups wait for, the worst obstacle first."""
    for budget in budgets:
        name = _cut(budget.instance, _NAME_MOST)
        if budget.is_silent:
            return f": {name} does not answer"
        if budget.held_s is not None:
            return f": {name} asked for a pause of {_whole(budget.held_s + 1)}"
        if budget.queued and budget.used >= budget.calls:
            return f": {counted(budget.queued, 'call')} to {name} must wait for the budget"
    names = ", ".join(_cut(budget.instance, _NAME_MOST) for budget in budgets[:_BUDGETS_SHOWN])
    return f": waiting for {names} to answer" if names else ""


def _failed(names: Sequence[str], width: int) -> list[Text]:
    """The targets that did not succeed on one line, the latest first, and how many more there are."""
    from rich.cells import cell_len
    from rich.text import Text

    if not names:
        return []
    line = "not good: "
    for position, name in enumerate(reversed(names)):
        left = len(names) - position
        shown = _cut(name, _NAME_MOST)
        more = f" and {left - 1:,} more" if left > 1 else ""
        if position and cell_len(line) + len(shown) + len(more) + 2 >= width:
            return [Text(f"{line} and {left:,} more", style=_BAD)]
        line += (", " if position else "") + shown
    return [Text(line, style=_BAD)]


def _shares(parts: Sequence[int], total: int, columns: int) -> list[int]:
    """Columns for each part: a part above 0 is visible, and the bar is full only if the whole is."""
    shares = []
    room = columns
    for part in parts:
        share = min(room, max(1, part * columns // total)) if part else 0
        shares.append(share)
        room -= share
    return shares


def _counts(moment: Progress, width: int) -> list[Text]:
    """The targets by status, bad ones first, then running and waiting ones, on as many lines as needed."""
    from rich.text import Text

    if not moment.total:
        return []
    words = [
        (f"{moment.settled[status]:,} {status.words}", STATUS_STYLES[status])
        for status in Status
        if moment.settled.get(status)
    ]
    waiting = moment.total - moment.done - moment.running
    words += [(f"{moment.running:,} running", _RUNNING)] * bool(moment.running)
    words += [(f"{waiting:,} waiting", _QUIET)] * bool(waiting)
    lines = [Text()]
    for word, style in words:
        if lines[-1] and lines[-1].cell_len + 2 + len(word) > width - 1:
            lines.append(Text())
        lines[-1].append(", " if lines[-1] else "").append(word, style=style)
    return lines


def _budgets(budgets: Sequence[BudgetUse], width: int, *, ascii_only: bool) -> list[Text]:
    """Where the budget is scarcest, in the order in which the instances are named."""
    from rich.text import Text

    scarce = sorted(budgets, key=lambda b: (b.held_s is None, -b.used / max(1, b.calls)))[:_BUDGETS_SHOWN]
    lines = [_budget(budget, width, ascii_only=ascii_only) for budget in budgets if budget in scarce]
    hidden = len(budgets) - len(lines)
    return [*lines, Text(f"and {hidden} more instances", style=_QUIET)] if hidden else lines


def _budget(budget: BudgetUse, width: int, *, ascii_only: bool) -> Text:
    from rich.text import Text

    used = min(budget.used, budget.calls)
    words = f" {used:,} of {budget.calls:,} calls in {budget.per_s:g}s"
    name = _cut(budget.instance, max(4, width // 4))
    held = "" if budget.held_s is None else f", pauses {_whole(budget.held_s + 1)}"
    held += " after a 429" if held and len(name) + len(words) + len(held) + 13 < width else ""
    columns = max(0, min(20, width - 1 - len(name) - 1 - len(words) - len(held)))
    full, empty = (_FULL_ASCII, _EMPTY_ASCII) if ascii_only else ("▰", "▱")
    text = Text.assemble((name, "bold"))
    if columns >= _BAR_LEAST // 2:
        share = min(columns, -(-used * columns // budget.calls)) if budget.calls else 0
        text.append(" ").append(full * share, style=_RUNNING).append(empty * (columns - share), style=_QUIET)
    return text.append(words).append(held, style="yellow")


def _lanes(lanes: Sequence[ActiveLane], width: int, most: int) -> list[Text]:
    """The jobs that run longest, each with its usual time and what waits behind it."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    slowest = sorted(lanes, key=lambda lane: -(lane.age_s or 0.0))[:most]
    names = [_cut(lane.target, min(_NAME_MOST, max(8, width // 2 - 4))) for lane in slowest]
    column = max(map(cell_len, names))
    lines = [Text("longest running", style=_QUIET)]
    for lane, name in zip(slowest, names, strict=True):
        slow = lane.usual_s is not None and lane.age_s is not None and lane.age_s > _SLOW * lane.usual_s
        age = "sending" if lane.age_s is None else _whole(lane.age_s)
        line = Text.assemble("  ", set_cell_size(name, column), "  ", (f"{age:>7}", "yellow" if slow else ""))
        for detail in _details(lane):
            if line.cell_len + 2 + len(detail) < width:
                line.append(f"  {detail}", style=_QUIET)
        lines.append(line)
    return lines


def _details(lane: ActiveLane) -> Iterator[str]:
    if lane.usual_s is not None:
        yield f"usually {took(lane.usual_s)}"
    if lane.behind:
        yield f"then {lane.behind:,} more"


def _cut(text: str, columns: int) -> str:
    """Foreign text on one line, at most `columns` wide."""
    from rich.cells import cell_len, set_cell_size

    shown = " ".join(clean(text[: 4 * columns + 8]).split())
    if cell_len(shown) <= columns:
        return shown
    return set_cell_size(shown, max(0, columns - 3)).rstrip() + "..." if columns > 3 else ""
