"""Sets the log up: outputs with their own format and level, one redaction, for our events and other libraries' alike."""

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
    """One stream of the log: `render` turns an event into its lines, `level` is the lowest level that it receives.

    A stream that breaks is no error: a run is worth more than its log. What the stream cannot encode is spelled out.
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
        """Write one line, without its end, as a whole."""
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
            # a closed pipe or terminal, a full disk: no reader is left
            return

    @contextmanager
    def borrowed(self, write: Callable[[str], None]) -> Iterator[None]:
        """Within the block each line (without its end) goes to `write`."""
        self._borrower = write
        try:
            yield
        finally:
            self._borrower = None


def set_up_logging(outputs: Sequence[LogOutput], *, utcnow: Callable[[], datetime], redactor: Redactor) -> None:
    """Log to `outputs` from now on; calling it again replaces what was set up before.

    What other libraries log goes the same way, from WARNING (INFO if an output writes DEBUG), and so do Python's own
    warnings. Each value is redacted.
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
    """Yield one line of ASCII; `##[` and `##vso[`, which CI systems obey anywhere in a line, are written differently."""
    try:
        text = json.dumps(event, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(event), default=str)
    yield text.replace("##", "#\\u0023")


class _Pipeline:
    """What happens to each event: a head, a traceback as text, no secrets; then every output gets it."""

    def __init__(self, outputs: Sequence[LogOutput], utcnow: Callable[[], datetime], redactor: Redactor) -> None:
        self._outputs = tuple(outputs)
        self._utcnow = utcnow
        self._redactor = redactor

    def prepare(
        self, _: Any, level: str, event: MutableMapping[str, Any]
    ) -> tuple[tuple[LogRecordValues], dict[str, Any]]:
        """Return the event as every output gets it, as the arguments of `write`."""
        at = self._utcnow().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = _with_traceback({"timestamp": at, "level": level, "event": event.pop("event", ""), **event})
        return (self._redactor.redact(values),), {}

    def write(self, event: LogRecordValues) -> None:
        """Hand an event to each output."""
        for output in self._outputs:
            output.write(event)

    debug = info = warning = error = critical = write


class _Bridge(logging.Handler):
    """Sends the standard library's log records the way of our own events."""

    def __init__(self, pipeline: _Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; one that cannot be formatted is logged by its raw text."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        event: Any = {"event": message, "logger": record.name, "exc_info": record.exc_info}
        (prepared,), _ = self._pipeline.prepare(None, record.levelname.lower(), event)
        self._pipeline.write(prepared)


def _with_traceback(event: LogRecordValues) -> LogRecordValues:
    """An exception under `exc_info` becomes text: no values of variables, no contexts that were suppressed."""
    error: BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | None
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def _finite(value: Any) -> Any:
    """The value with numbers that JSON does not know, NaN and the infinities, as text wherever they stand."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
