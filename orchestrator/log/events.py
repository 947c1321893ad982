"""The log events: stable names, and the logger that writes them with their values."""

from __future__ import annotations

import sys
from enum import StrEnum


class Event(StrEnum):
    """The names of all log events, in the past tense. They do not change."""

    RUN_CONTINUED = "run_continued"
    RUN_STARTED = "run_started"
    CHANGE_NOTED = "change_noted"
    RUN_PLANNED = "run_planned"
    RUN_PROGRESSED = "run_progressed"
    RUN_STOPPED = "run_stopped"
    RUN_FINISHED = "run_finished"
    SUBMITS_ENDED = "submits_ended"
    TARGET_SETTLED = "target_settled"
    PROXY_EXCEPTION_IGNORED = "proxy_exception_ignored"
    CALL_ENDED = "call_ended"
    KEY_HELD = "key_held"
    KEY_REFUSED = "key_refused"
    INSTANCE_LOST = "instance_lost"
    LIMIT_LEARNED = "limit_learned"
    INSTANCE_GIVEN_UP = "instance_given_up"
    LANE_BROKE = "lane_broke"
    INSTANCE_FOUND = "instance_found"
    LANE_CLOSED = "lane_closed"
    LANE_WAITED = "lane_waited"
    RUN_WAITED = "run_waited"
    STATE_AWAITED = "state_awaited"
    JOURNAL_BROKE = "journal_broke"
    BUDGET_BROKE = "budget_broke"
    MANIFEST_CHANGED = "manifest_changed"
    REPORT_WRITTEN = "report_written"
    REPORT_FAILED = "report_failed"
    NOTIFICATION_SENT = "notification_sent"
    NOTIFICATION_FAILED = "notification_failed"


class Logger:
    """Logs events by name, with their values. It logs nothing until the log is set up."""

    def debug(self, event: Event, **values: object) -> None:
        """Log details for debugging: each call, each decision."""
        _emit("debug", event, values)

    def info(self, event: Event, **values: object) -> None:
        """Log what a run did."""
        _emit("info", event, values)

    def warning(self, event: Event, **values: object) -> None:
        """Log what a person should know although the run continues."""
        _emit("warning", event, values)

    def error(self, event: Event, **values: object) -> None:
        """Log what ended a target or the run."""
        _emit("error", event, values)


def _emit(level: str, event: Event, values: dict[str, object]) -> None:
    # a process that never loaded structlog did not set the log up
    structlog = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        getattr(structlog.get_logger(), level)(event.value, **values)
