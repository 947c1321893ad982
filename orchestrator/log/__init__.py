"""The log of a run, and the one place that removes secrets from texts.

Set up once, by the command line, on stderr. Until then nothing is logged: a program that imports the package sets up its own logging. structlog is loaded with the set-up, not with this package.
"""

from orchestrator.log.events import Event, Logger, bound, get_logger
from orchestrator.log.redaction import REDACTED, Redactor, Revealing
from orchestrator.log.setup import LogFormat, LogStream, set_up_logging

__all__ = [
    "REDACTED",
    "Event",
    "LogFormat",
    "LogStream",
    "Logger",
    "Redactor",
    "Revealing",
    "bound",
    "get_logger",
    "set_up_logging",
]
