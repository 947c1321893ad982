"""Sets up the log: outputs with their own format and level, and one redaction for all events and other libraries' lines."""

from __future__ import annotations

import json
import logging
import math
import traceback
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, TextIO

from orchestrator.log.redaction import Redactor

LogRecordValues = dict[str, Any]
"""What an output renders: `timestamp`, `level`, `event`, then the event's values, without secrets."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogOutput:
    """One stream of the log: `render` turns an event into its lines, `level` is the lowest level that it writes.

    A broken stream is not an error, since a run is worth more than its log. Characters that the stream cannot encode are
    spelled out.
    """

    def __init__(
        self,
        stream: TextIO,
        render: Callable[[LogRecordValues], Iterable[str]],
        *,
        level: int = logging.INFO,
    ) -> None:
        self.level = level
        self._stream = stream
        self._render = render
        self._borrower: Callable[[str], None] | None = None

    def write(self, event: LogRecordValues) -> None:
        """Write one event, if its level is high enough."""
        if level_of(event) >= self.level:
            for line in self._render(event):
                self.write_line(line)

    def write_line(self, line: str) -> None:
        """Write one line, given without its end, in one write."""
        try:
            if self._borrower is not None:
                self._borrower(line)
                return
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # a closed pipe or terminal, or a full disk
            return

    @contextmanager
    def borrowed(self, write: Callable[[str], None]) -> Iterator[None]:
        """Within the block, pass each line (without its end) to `write`."""
        self._borrower = write
        try:
            yield
        finally:
            self._borrower = None


def set_up_logging(outputs: Sequence[LogOutput], *, utcnow: Callable[[], datetime], redactor: Redactor) -> None:
    """Log to `outputs` from now on. Another call replaces the earlier set-up.

    Log lines of other libraries from WARNING (INFO if an output writes DEBUG) and Python's warnings are written, too. Each
    value is redacted.
    """
    import structlog

    level = min((output.level for output in outputs), default=logging.CRITICAL)
    pipeline = _Pipeline(outputs, utcnow, redactor)
    structlog.configure(
        processors=[pipeline.prepare],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: pipeline,
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _Bridge)]
    root.addHandler(_Bridge(pipeline))
    root.setLevel(logging.INFO if level <= logging.DEBUG else max(level, logging.WARNING))


def level_of(event: LogRecordValues) -> int:
    """Return an event's level as the standard library's number."""
    return _LEVELS.get(event["level"], logging.ERROR)


def render_json(event: LogRecordValues) -> Iterator[str]:
    """Yield one line of ASCII. `##[` and `##vso[`, which CI systems interpret anywhere in a line, are escaped."""
    try:
        text = json.dumps(event, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(event), default=str)
    yield text.replace("##", "#\\u0023")


class _Pipeline:
    """Processes each event: adds a head, turns a traceback into text, removes secrets, and writes it to every output."""

    def __init__(self, outputs: Sequence[LogOutput], utcnow: Callable[[], datetime], redactor: Redactor) -> None:
        self._outputs = tuple(outputs)
        self._utcnow = utcnow
        self._redactor = redactor

    def prepare(
        self, _: Any, level: str, event: MutableMapping[str, Any]
    ) -> tuple[tuple[LogRecordValues], dict[str, Any]]:
        """Return the processed event as the arguments of `write`."""
        at = self._utcnow().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = _with_traceback({"timestamp": at, "level": level, "event": event.pop("event", ""), **event})
        return (self._redactor.redact(values),), {}

    def write(self, event: LogRecordValues) -> None:
        """Write an event to each output."""
        for output in self._outputs:
            output.write(event)

    debug = info = warning = error = critical = write


class _Bridge(logging.Handler):
    """Passes the standard library's log records through the same pipeline."""

    def __init__(self, pipeline: _Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record. If it cannot be formatted, log its raw text."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        event: Any = {"event": message, "logger": record.name, "exc_info": record.exc_info}
        (prepared,), _ = self._pipeline.prepare(None, record.levelname.lower(), event)
        self._pipeline.write(prepared)


def _with_traceback(event: LogRecordValues) -> LogRecordValues:
    """Replace an exception under `exc_info` by its text, without values of variables and suppressed contexts."""
    error: BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | None
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def _finite(value: Any) -> Any:
    """Return the value with NaN and the infinities as text, since JSON has no such numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
