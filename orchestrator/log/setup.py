"""Setting the log up: one stream, one way of rendering, one redaction; for our events and for other libraries' alike."""

from __future__ import annotations

import json
import logging
import math
import traceback
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, TextIO

from orchestrator.log.redaction import Redactor, walk
from orchestrator.text import clean

Processor = Callable[[Any, str, Any], Any]

_DEPTH = 40


class LogFormat(StrEnum):
    """How lines look: for people, for machines, or whichever the stream is for."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


def set_up_logging(
    *,
    stream: TextIO,
    utcnow: Callable[[], datetime],
    redactor: Redactor,
    log_format: LogFormat = LogFormat.AUTO,
    level: int = logging.INFO,
    color: bool = False,
) -> LogStream:
    """Log to `stream` from now on, as lines for people (a terminal) or as one JSON object a line (anything else).

    `level` is a level of the standard library's. What other libraries log goes the same way, from WARNING (INFO where
    ours is DEBUG), and so do Python's own warnings. Each line is redacted. A stream that breaks is no error: the run is
    worth more than its log. Calling it again replaces what was set up before. Other code that writes to the
    stream borrows it from the returned `LogStream`.
    """
    import structlog

    for_people = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and _is_terminal(stream))
    render: Sequence[Processor] = [_render_json]
    if for_people:
        plain = structlog.dev.plain_traceback
        render = [
            _harmless,
            structlog.dev.ConsoleRenderer(colors=color, exception_formatter=plain, sort_keys=False, pad_event_to=0),
        ]
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_head(utcnow),
        _with_traceback,
        lambda _, __, event: redactor.redact(event),
        *render,
    ]
    sink = _Sink(stream)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    log = LogStream(sink, level)
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, _Bridge)]
    root.addHandler(_Bridge(processors, sink))
    root.setLevel(logging.INFO if level <= logging.DEBUG else max(level, logging.WARNING))
    return log


class LogStream:
    """The log that was set up. Other code can borrow its stream."""

    def __init__(self, sink: _Sink, level: int) -> None:
        self._sink = sink
        self._level = level

    @contextmanager
    def borrowed(self, write: Callable[[str], None]) -> Iterator[None]:
        """Within the block each line (without its end) goes to `write`; a broken stream behind it is no error."""
        self._sink.borrower = write
        try:
            yield
        finally:
            self._sink.borrower = None

    @contextmanager
    def quieter(self, level: int) -> Iterator[None]:
        """Within the block only our own lines from `level` on are written, where that is higher than what was set up."""
        import structlog

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(max(level, self._level)))
        try:
            yield
        finally:
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(self._level))


class _Sink:
    """Writes whole lines, each at once; what the stream cannot encode is spelled out, a broken stream is left alone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.borrower: Callable[[str], None] | None = None

    def write(self, line: str) -> None:
        """One line, without its end."""
        try:
            if self.borrower is not None:
                self.borrower(line)
                return
            try:
                self._stream.write(line + "\n")
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # A closed pipe or terminal, or a full disk: the log has no reader.
            return

    debug = info = warning = error = critical = write


class _Bridge(logging.Handler):
    """Sends the standard library's log records the way of our own events."""

    def __init__(self, processors: Sequence[Processor], sink: _Sink) -> None:
        super().__init__()
        self._processors = processors
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Render one record; one that cannot be formatted is logged by its raw text."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        event: Any = {"event": message, "logger": record.name, "exc_info": record.exc_info}
        for processor in self._processors:
            event = processor(None, record.levelname.lower(), event)
        self._sink.write(event)


def _with_head(utcnow: Callable[[], datetime]) -> Processor:
    """What every line begins with: when, how loud, what; then the rest in the order in which it was given."""

    def head(_: Any, level: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        at = utcnow().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"timestamp": at, "level": level, "event": event.pop("event", ""), **event}

    return head


def _with_traceback(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """An exception under `exc_info` becomes text: no values of variables, no contexts that were suppressed."""
    error: BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | None
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def _harmless(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Whatever a server or a file says steers neither the terminal nor a CI system; only a traceback keeps its lines. What
    is not there (None, an empty list) is left to the JSON lines: people read what is.
    """
    event = {name: value for name, value in event.items() if value is not None and value != []}
    exception = event.pop("exception", None)
    event = walk(event, clean, _DEPTH)
    if isinstance(exception, str):
        event["exception"] = clean(exception, keep_newlines=True)
    return event


def _render_json(_: Any, __: str, event: dict[str, Any]) -> str:
    """One line of ASCII; `##[` and `##vso[`, which CI systems obey anywhere in a line, are written differently."""
    try:
        text = json.dumps(event, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(event), default=str)
    return text.replace("##", "#\\u0023")


def _finite(value: Any) -> Any:
    """The value with numbers that JSON does not know, NaN and the infinities, as text wherever they stand."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False
