"""The program's stdout and stderr: results are written whole or reported as lost; the log never holds a run.

Both are below `sys.stdout` and `sys.stderr`, so that everything is printed this way, `--help` and tracebacks included. Neither
raises: a broken stream is no reason to lose a run.
"""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A pipe that is ready takes this many bytes without blocking.
_PIECE: Final = select.PIPE_BUF
_LOOK_EVERY_S: Final = 0.1

LOG_KEPT_BYTES: Final = 1 << 20
"""Keep at most this much of a log that is not read; count and drop the rest."""

LOG_WAIT_S: Final = 0.2
"""How long to wait for a full pipe behind the log, in seconds; the next wait comes after `LOG_TRY_AGAIN_S` at the earliest."""

LOG_TRY_AGAIN_S: Final = 5.0
LOG_LAST_WAIT_S: Final = 1.0
"""How long to wait for the rest of the log at the end of the program, in seconds."""


class _Stream(io.RawIOBase):
    """What both streams share: a descriptor, and writing one piece of a text to it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def _write_piece(self, data: memoryview, wait_s: float) -> int:
        """How many bytes were written, within `wait_s`; 0 if none could be. Raises OSError."""
        if not self._poll.poll(wait_s * 1000):
            return 0
        try:
            return os.write(self._descriptor, data[:_PIECE])
        except BlockingIOError:
            # a terminal or pipe with room, but not for this piece
            time.sleep(min(wait_s, _LOOK_EVERY_S / 10))
            return 0


class ResultStream(_Stream):
    """Stdout. Waits for a slow reader as long as it takes, until `gives_up` says otherwise.

    `problem` is why the result was not written whole. A reader that closed its pipe wants no more, which is no problem.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.problem: str | None = None
        self.gives_up: Callable[[], bool] = lambda: False
        self._is_over = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write the whole text; after an error, write nothing more."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left and not self._is_over:
            try:
                left = left[self._write_piece(left, _LOOK_EVERY_S) :]
            except BrokenPipeError:
                self._is_over = True
            except OSError as error:
                self._end(error.strerror or str(error))
            else:
                if left and self.gives_up():
                    self._end("nothing reads it")
        return size

    def discard(self) -> None:
        """Write nothing more."""
        self._is_over = True

    def _end(self, problem: str) -> None:
        self.problem, self._is_over = problem, True


class ErrorStream(_Stream):
    """Stderr. What cannot be written now is kept and written with what follows; what exceeds the limit is dropped and counted."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._kept: deque[memoryview] = deque()
        self._kept_bytes = 0
        self._dropped = 0
        self._is_broken = False
        self._waits_again_at = float("-inf")

    def write(self, data: ReadableBuffer, /) -> int:
        """Write it if the stream takes it."""
        copy = bytes(data)
        if self._kept_bytes + len(copy) > LOG_KEPT_BYTES:
            self._dropped += copy.count(b"\n")
        else:
            self._keep(copy)
        now = time.monotonic()
        wait_s = LOG_WAIT_S if now >= self._waits_again_at else 0.0
        if not self._write_kept(wait_s) and wait_s:
            self._waits_again_at = now + LOG_TRY_AGAIN_S
        return len(copy)

    def finish(self) -> None:
        """Write what is left, if it is read now."""
        self._write_kept(LOG_LAST_WAIT_S)

    def _keep(self, data: bytes) -> None:
        if data and not self._is_broken:
            self._kept.append(memoryview(data))
            self._kept_bytes += len(data)

    def _write_kept(self, wait_s: float) -> bool:
        """Whether nothing is left; each piece may take `wait_s`."""
        while self._kept:
            piece = self._kept[0]
            try:
                written = self._write_piece(piece, wait_s)
            except OSError:
                # a closed pipe or terminal, a full disk
                self._is_broken = True
                self._kept.clear()
                self._kept_bytes = 0
                break
            if not written:
                return False
            self._kept_bytes -= written
            if written < len(piece):
                self._kept[0] = piece[written:]
            else:
                self._kept.popleft()
            if self._dropped and not self._kept:
                self._keep(f"{self._dropped} lines of the log are missing here: stderr was not read\n".encode())
                self._dropped = 0
        return True


@contextmanager
def opened_streams() -> Iterator[tuple[ResultStream, ErrorStream]]:
    """Within the block, both streams are below `sys.stdout` and `sys.stderr`. What is written to a closed one is discarded."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_WRONLY)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))
    out, err = sys.stdout, sys.stderr
    results, log = ResultStream(out.fileno()), ErrorStream(err.fileno())
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(results), encoding=out.encoding, errors="backslashreplace")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(log), encoding=err.encoding, errors="backslashreplace", line_buffering=True
    )
    try:
        yield results, log
    finally:
        sys.stdout, sys.stderr = out, err


def end_result_when(is_impatient: Callable[[], bool]) -> None:
    """Stop waiting for a reader of stdout once `is_impatient` returns True."""
    stream = getattr(sys.stdout.buffer, "raw", None)
    if isinstance(stream, ResultStream):
        stream.gives_up = is_impatient
