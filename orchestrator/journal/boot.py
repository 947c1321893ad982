"""Which start of the machine this is: moments of its monotonic clock mean nothing after the next."""

from __future__ import annotations

from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


def boot_id(path: Path = _LINUX) -> str:
    """A text that changes with each start of the machine; empty where the machine does not tell."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
