"""The log: what people read while a run goes on; and the one place where secrets are taken out of text.

Set up once, by the command line, on stderr. Until then nothing is logged anywhere: whoever uses the package as a
library decides for themselves. structlog is loaded with the set-up, not with this package.
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
