"""The log: events with stable names, written to one or more outputs, and the one place that removes secrets from text.

The command line sets it up. Until then nothing is logged: a program that uses this package as a library configures its own
logging. structlog is loaded with the set-up, not with this package.
"""

from orchestrator.log.events import Event, Logger
from orchestrator.log.redaction import REDACTED, Redactor, Revealing
from orchestrator.log.setup import LogOutput, LogRecordValues, level_of, render_json, set_up_logging

__all__ = [
    "REDACTED",
    "Event",
    "LogOutput",
    "LogRecordValues",
    "Logger",
    "Redactor",
    "Revealing",
    "level_of",
    "render_json",
    "set_up_logging",
]
