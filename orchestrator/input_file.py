"""Read a file that a user named: completely, up to a size limit, and never a device or a pipe that blocks."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

ReadFile: TypeAlias = Callable[[Path], bytes]
"""Reads a small file; raises OSError, or ValueError for a text that cannot be a path."""

MAX_SMALL_FILE: Final = 8 * 1024 * 1024
"""A bundle of every public authority is a quarter of a megabyte."""

# A shell's `<(command)` and /dev/stdin: a pipe that this process was given, so another process writes to it.
_INHERITED: Final = re.compile(r"/dev/(?:stdin|fd/[0-9]+)|/proc/(?:self|[0-9]+)/fd/[0-9]+")
_PIECE: Final = 1 << 20
_KINDS: Final = (
    (stat.S_ISFIFO, "it is a named pipe: give a regular file"),
    (stat.S_ISSOCK, "it is a socket: give a regular file"),
    (stat.S_ISCHR, "it is a device: give a regular file"),
    (stat.S_ISBLK, "it is a device: give a regular file"),
)


def read_input(path: str | Path, limit: int) -> bytes:
    """Return the content of a regular file, or of a pipe that this process inherited; `limit` is in bytes.

    Raises OSError, whose `strerror` says why it cannot be read: a folder, a named pipe, a device, a socket, larger than
    `limit`; and ValueError for a text that cannot be a path.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _refused(Path(path).stat().st_mode) from None
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) and _INHERITED.fullmatch(os.fspath(path)):
            os.set_blocking(descriptor, True)
        elif not stat.S_ISREG(mode):
            raise _refused(mode)
        pieces, room = [], limit + 1
        while room > 0 and (piece := os.read(descriptor, min(room, _PIECE))):
            pieces.append(piece)
            room -= len(piece)
    finally:
        os.close(descriptor)
    if room <= 0:
        size = f"{limit // 1024 // 1024} MiB" if limit >= 1024 * 1024 else f"{limit} bytes"
        raise OSError(errno.EFBIG, f"it is larger than {size}")
    return b"".join(pieces)


def read_small_file(path: Path) -> bytes:
    """Return the content of a key's or certificate's file, up to `MAX_SMALL_FILE`. Raises what `read_input` raises."""
    return read_input(path, MAX_SMALL_FILE)


def reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be read, in few words that do not repeat its path."""
    if not isinstance(error, OSError):
        return "this text cannot be a path"
    words = error.strerror or "no reason given"
    return words[:1].lower() + words[1:]


def _refused(mode: int) -> OSError:
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, "it is a folder: give a file")
    words = next((words for is_kind, words in _KINDS if is_kind(mode)), "it is not a regular file")
    return OSError(errno.EINVAL, words)
