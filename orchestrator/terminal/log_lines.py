"""Log events as lines for people: time, one word, what happened to which target, and what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, tzinfo
from typing import Any, Final

from orchestrator.engine.outcome import Status
from orchestrator.log import Event, LogRecordValues, level_of
from orchestrator.report.causes import short
from orchestrator.report.wording import took
from orchestrator.text import clean, counted

Words = tuple[str, str]
"""A line's word and its text."""

SUMMARIZED: Final = frozenset(
    {
        Event.TARGET_SETTLED,
        Event.CHANGE_NOTED,
        Event.MANIFEST_CHANGED,
        Event.INSTANCE_LOST,
        Event.INSTANCE_GIVEN_UP,
        Event.JOURNAL_BROKE,
        Event.SUBMITS_ENDED,
    }
)
"""What the summary repeats, or what concerns the reader of a summary only if a target did not succeed."""

DETAILS: Final = frozenset(
    {
        Event.RUN_PLANNED,
        Event.LIMIT_LEARNED,
        Event.LANE_CLOSED,
        Event.REPORT_WRITTEN,
        Event.NOTIFICATION_SENT,
        Event.RUN_FINISHED,
    }
)
"""What is written as a line only with `-v`: the summary says it, or only the program's authors need it."""

NAMES_SHOWN: Final = 5
"""How many targets are named if one cause ends several of them at once."""

_WORD_WIDTH: Final = 6
_NAME: Final = 80
_TEXT: Final = 300
_SHORTEST_HOLD_S: Final = 10.0
_IMPLIED: Final = frozenset({Status.FAILED, Status.REJECTED, Status.ERROR})
_IN_GROUPS: Final = frozenset({Status.SKIPPED, Status.NOT_STARTED, Status.INTERRUPTED, Status.ERROR, Status.THROTTLED})
_STYLES: Final = {"ok": "32", "FAIL": "1;31", "error": "1;31", "warn": "33", "stop": "33"}
_LEVEL_WORDS: Final = {"debug": "debug", "info": "note", "warning": "warn"}


class LogLines:
    """Renders log events as lines. It is an output's `render`.

    Targets that were skipped or ended because the run or an instance ended share a line for each reason, so that a stopped
    run does not write one line for each target. They wait for the next event of another kind. `level` is the lowest level that
    has lines, `without` names events that have none. `zone` is the time zone of the times, the machine's by default.
    """

    def __init__(
        self,
        *,
        color: bool = False,
        level: int = logging.INFO,
        without: Collection[str] = (),
        zone: tzinfo | None = None,
    ) -> None:
        self._color = color
        self._level = level
        self._without = frozenset(without)
        self._zone = zone
        self._groups: dict[tuple[object, ...], list[LogRecordValues]] = {}

    def __call__(self, event: LogRecordValues) -> Iterator[str]:
        """Yield the lines that are complete with this event."""
        is_shown = level_of(event) >= self._level and event["event"] not in self._without
        cause = _cause(event)
        if cause is not None:
            if is_shown:
                self._groups.setdefault(cause, []).append(event)
            return
        for group in self._groups.values():
            yield self._line(group[0], *_not_refreshed(group))
        self._groups.clear()
        if not is_shown:
            return
        words = self._words(event)
        if words is not None:
            yield self._line(event, *words)
        if event.get("exception"):
            yield from (f"         {line}" for line in clean(str(event["exception"]), keep_newlines=True).split("\n"))

    def _words(self, event: LogRecordValues) -> Words | None:
        name = event["event"]
        if name not in _WORDS:
            logger = f"{event['logger']}: " if event.get("logger") else ""
            return _LEVEL_WORDS.get(event["level"], "error"), logger + str(name)
        return _WORDS[name](event)

    def _line(self, event: LogRecordValues, word: str, text: str) -> str:
        at = datetime.fromisoformat(event["timestamp"]).astimezone(self._zone).strftime("%H:%M:%S")
        padded = word.ljust(_WORD_WIDTH)
        if self._color:
            at = f"\x1b[2m{at}\x1b[0m"
            padded = f"\x1b[{_STYLES[word]}m{padded}\x1b[0m" if word in _STYLES else padded
        return f"{at} {padded} {clean(text)}"


def say_left(left_s: float) -> str:
    """Return the time left in words, no finer than it is known."""
    return "nearly done" if left_s < 1 else f"about {_about(left_s)} left"


def _about(seconds: float) -> str:
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    minutes = round(seconds / 600) * 10
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def _cause(event: LogRecordValues) -> tuple[object, ...] | None:
    """What targets that share a line have in common; None for an event that has a line of its own."""
    if event["event"] != Event.TARGET_SETTLED or event["status"] not in _IN_GROUPS:
        return None
    return tuple(event.get(name) for name in ("status", "kind", "http_status", "error", "hint", "reason"))


def _not_refreshed(events: list[LogRecordValues]) -> Words:
    """Targets that were skipped or did not succeed, with the reason that they share."""
    first = events[0]
    names = [short(event["target"], _NAME) for event in events]
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    who = (f"{len(names):,} targets: " if more else "") + ", ".join(names[:NAMES_SHOWN]) + more
    status = Status(first["status"])
    if status is Status.SKIPPED:
        return "skip", f"{who}: {short(first.get('reason') or 'skipped', _TEXT)}"
    if first.get("duration_s") is not None and len(names) == 1:
        who += f" {took(first['duration_s'])}"
    what = "" if status in _IMPLIED else f"{status.words}: "
    number = f"{first['http_status']} " if first.get("http_status") else ""
    reason = number + short(first.get("error") or first.get("kind") or status.value, _TEXT)
    advice = f" ({short(first['hint'], _TEXT)})" if first.get("hint") else ""
    return "FAIL", f"{who}: {what}{reason}{advice}"


def _target(event: LogRecordValues) -> Words:
    if not Status(event["status"]).is_good:
        return _not_refreshed([event])
    text = short(event["target"], _NAME)
    if event.get("duration_s") is not None:
        text += f" {took(event['duration_s'])}"
    if event.get("covered_by"):
        text += f" by the refresh of {short(event['covered_by'], _NAME)}"
    if event["status"] == Status.ACCEPTED:
        text += " accepted, its job is not followed"
    return "ok", text + (f" ({event['settled']:,} of {event['total']:,})" if event.get("total") else "")


def _started(event: LogRecordValues) -> Words:
    note = f", {event['note']}" if event.get("note") else ""
    models, instances = counted(event["targets"], "model"), counted(event["instances"], "instance")
    return "start", f"{event['manifest']}: {models} on {instances}, run {event['run_id']}{note}"


def _continued(event: LogRecordValues) -> Words:
    first = f", {counted(event['to_check'], 'running job')} to check first" if event["to_check"] else ""
    to_send = f"{event['to_send']:,} of {counted(event['targets'], 'target')} to send"
    return str(event["trigger"]), f"{event['manifest']}: continues run {event['of_run']}: {to_send}{first}"


def _planned(event: LogRecordValues) -> Words:
    lanes = counted(event["lanes"], "lane")
    rest = "".join(
        f", {event[name]:,} {word}"
        for name, word in (("skipped", "skipped"), ("unresolved", "not found"))
        if event[name]
    )
    return "plan", f"look-ups are done: {counted(event['targets'], 'target')} in {lanes}{rest}"


def _progressed(event: LogRecordValues) -> Words:
    if not event["total"]:
        return "...", f"looking up models for {took(event['elapsed_s'])}"
    bad = sum(count for status in Status if not status.is_good for count in [event.get(status.value, 0)])
    failed = f", {bad:,} failed" if bad else ""
    left = f", {say_left(event['left_s'])}" if event.get("left_s") is not None else ""
    return "...", f"{event['settled']:,} of {event['total']:,} done{failed}{left}"


def _stopped(event: LogRecordValues) -> Words:
    if event["again"]:
        return "stop", "second request: the run stops at once"
    by_keyboard = event.get("signal") == "SIGINT"
    cause = "Ctrl-C" if by_keyboard else event.get("signal") or "a stop was requested"
    running = counted(event["running"], "running refresh", "es") + (" is" if event["running"] == 1 else " are")
    follow = f"{running} followed for {took(event['grace_s'])}, then " if event["running"] else ""
    second = "press Ctrl-C again to stop at once" if by_keyboard else "a second signal stops at once"
    return "stop", f"{cause}: nothing more is sent; {follow}the report is written; {second}"


_SUBMITS_ENDED: Final = {
    "fail_fast": "too many targets did not succeed",
    "deadline": "the deadline has passed",
}


def _submits_ended(event: LogRecordValues) -> Words | None:
    if event["reason"] == "stopped":
        # the line about the stop says that
        return None
    return "stop", f"{_SUBMITS_ENDED.get(event['reason'], event['reason'])}: nothing more is sent"


def _held(event: LogRecordValues) -> Words | None:
    if event["wait_s"] < _SHORTEST_HOLD_S:
        return None
    return "wait", f"{event['instance']}: 429 Too Many Requests: {event['key']} pauses for {took(event['wait_s'])}"


def _key_refused(event: LogRecordValues) -> Words:
    left = event["keys_left"]
    rest = f"{counted(left, 'other key')} continue{'s' if left == 1 else ''}" if left else "no other key is left"
    return "warn" if left else "error", f"{event['instance']}: the server refused {event['key']}; {rest}"


def _call(event: LogRecordValues) -> Words:
    purpose = str(event["purpose"]).replace("_", "-")
    about = f" {short(event['target'], _NAME)}" if event.get("target") else ""
    return "call", f"{event['instance']}: {purpose}{about}: {event['end']} in {took(event['took_s'])}"


def _lane_waited(event: LogRecordValues) -> Words:
    most = f", {took(event['at_most_s'])} at most" if event.get("at_most_s") is not None else ""
    return "wait", f"{event['instance']}, {event['lane']}: waits for {event['holder']}{most}"


def _report_failed(event: LogRecordValues) -> Words:
    return _LEVEL_WORDS.get(event["level"], "error"), f"{event['path']} was not written: {event['error']}"


def _limit(event: LogRecordValues) -> Words:
    allowed = f"{event['learned']} calls a window, {event['burst']} at once"
    return "note", f"{event['instance']}: {event['key']} may send {allowed}; rate_limit says {event['told']}"


def _finished(event: LogRecordValues) -> Words:
    following = f"; next: {event['next']}" if event.get("next") else ""
    return "end", f"exit code {event['exit_code']} after {took(event['duration_s'])}{following}"


def _fault(event: LogRecordValues) -> Words:
    return (
        "error",
        f"{event['instance']}, {event['lane']}: a fault of omni-refresh ended its targets; the others continue",
    )


def _given_up(event: LogRecordValues) -> Words:
    return "error", f"{event['instance']} is given up: nothing more is sent to it, and its other targets end here"


_WORDS: Final[dict[str, Callable[[Any], Words | None]]] = {
    Event.RUN_STARTED: _started,
    Event.RUN_CONTINUED: _continued,
    Event.RUN_PLANNED: _planned,
    Event.CHANGE_NOTED: lambda e: ("warn", e["remark"]),
    Event.RUN_PROGRESSED: _progressed,
    Event.RUN_STOPPED: _stopped,
    Event.RUN_FINISHED: _finished,
    Event.SUBMITS_ENDED: _submits_ended,
    Event.TARGET_SETTLED: _target,
    Event.PROXY_EXCEPTION_IGNORED: lambda e: (
        "warn",
        f"NO_PROXY: not understood, so calls go through the proxy: {', '.join(map(str, e['entries']))}",
    ),
    Event.CALL_ENDED: _call,
    Event.KEY_HELD: _held,
    Event.KEY_REFUSED: _key_refused,
    Event.LIMIT_LEARNED: _limit,
    Event.INSTANCE_LOST: lambda e: (
        "warn",
        f"{e['instance']} does not answer, nothing more is sent until it does: {e['error']}",
    ),
    Event.INSTANCE_FOUND: lambda e: ("note", f"{e['instance']} answers again"),
    Event.INSTANCE_GIVEN_UP: _given_up,
    Event.LANE_CLOSED: lambda e: (
        "wait",
        f"{e['instance']}, {e['lane']}: a refresh may still run, the next one on this connection waits",
    ),
    Event.LANE_WAITED: _lane_waited,
    Event.RUN_WAITED: lambda e: ("wait", f"{e['holder']} is active with the same manifest and selection"),
    Event.MANIFEST_CHANGED: lambda e: (
        "warn",
        f"{e['manifest']} changed since this run was planned; the original plan is used",
    ),
    Event.STATE_AWAITED: lambda e: ("wait", f"the shared state cannot be reached yet: {e['error']}"),
    Event.JOURNAL_BROKE: lambda e: ("error", f"the journal cannot be used: {e['error']}"),
    Event.BUDGET_BROKE: lambda e: (
        "warn",
        f"the shared log of calls cannot be used, calls wait until it can, for up to 5 minutes: {e['error']}",
    ),
    Event.LANE_BROKE: _fault,
    Event.REPORT_WRITTEN: lambda e: ("report", str(e["path"])),
    Event.REPORT_FAILED: _report_failed,
    Event.NOTIFICATION_SENT: lambda e: ("sent", f"notification by {e['channel']}"),
    Event.NOTIFICATION_FAILED: lambda e: ("warn", f"the notification by {e['channel']} was not accepted: {e['error']}"),
}
