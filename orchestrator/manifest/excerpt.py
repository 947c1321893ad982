"""The line of a file that an error is about, without anything that may be a secret.

If the line or a key above it may hold an API key, an address or a password, all behind the line's own key is masked. This is
decided by the text, because a file that is not valid YAML has no structure. In doubt a line is masked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.manifest.manifest import Place
from orchestrator.text import clean

_MASK: Final = "…"
_LONGEST_LINE: Final = 160
_SHORTEST_SECRET: Final = 4
_SENSITIVE: Final = re.compile(
    r"instances|notify|key|token|secret|passw|auth|bearer|credential|hook|apprise|url|://|@.*:|:.*@", re.IGNORECASE
)
_API_KEY: Final = re.compile(r"omni_[a-z]+_", re.IGNORECASE)
# At the top of a manifest and of a scenario, other keys may hold anything.
_KNOWN_TOP: Final = re.compile(
    r"(?:version|name|workers|defaults|models|default_model|only|connections|"
    r"generate|environments|faults|outages|latency|limit|answers|seed)['\"]?\s*:"
)
_HEAD: Final = re.compile(r"\s*(?:-\s+)*(?:['\"]?[\w.<-]{1,40}['\"]?\s*:(?=\s|$))?")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\s,\[\]{}:#](?:[^\s,\[\]{}:]|:(?=\S))*|.')


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """One line of a file. The marked part begins at `start` (from 0) and has `width` characters."""

    line: str
    start: int
    width: int


def make_excerpt(lines: Sequence[str], place: Place, secrets: Sequence[str]) -> Excerpt | None:
    """Return the line at `place`, or None if there is nothing to show. `lines` are all lines of the file."""
    if not 0 < place.line <= len(lines) or not lines[place.line - 1].strip():
        return None
    line, start = lines[place.line - 1], place.column - 1
    if len(line) > _LONGEST_LINE or start > len(line):
        return None
    token = _TOKEN.match(line, start)
    end = token.end() if token else start + 1
    if _is_sensitive(lines, place.line - 1, secrets):
        head = _HEAD.match(line)
        kept = head.end() if head and not _is_secret(head[0], secrets) else 0
        if line[kept:].strip():
            line = f"{line[:kept].rstrip()} {_MASK}" if kept else _MASK
        start, end = (start, min(end, kept)) if start < kept else (len(line) - 1, len(line))
    shown = clean(line[:start].replace("\t", " ")), clean(line[start:end].replace("\t", " ")), clean(line[end:])
    return Excerpt(line="".join(shown).rstrip(), start=len(shown[0]), width=max(1, len(shown[1])))


def _is_secret(text: str, secrets: Sequence[str]) -> bool:
    return _API_KEY.search(text) is not None or any(
        secret in text for secret in secrets if len(secret) >= _SHORTEST_SECRET
    )


def _is_sensitive(lines: Sequence[str], index: int, secrets: Sequence[str]) -> bool:
    """Return whether the line, or a line above it with less indentation, may hold a secret."""
    line = lines[index]
    if _SENSITIVE.search(line) or _is_secret(line, secrets):
        return True
    depth = _depth(line)
    for other in reversed(lines[:index]):
        if depth == 0:
            break
        if other.strip() and _depth(other) < depth:
            depth, line = _depth(other), other
            if _SENSITIVE.search(other):
                return True
    return depth > 0 or not _KNOWN_TOP.match(line)


def _depth(line: str) -> int:
    """Return the column of the line's first key, after any `- `; 0 at the top."""
    match = re.match(r"\s*(?:-\s+)*", line)
    return match.end() if match else 0
