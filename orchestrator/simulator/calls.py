"""The call log: one record for each call that reached the simulator, in the order of their arrival.

A record is made when the call's fate is decided, before the answer leaves; so it is there, and complete, even
if the client has long gone.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. Moments ending in `_s` are seconds since the simulator started; None: there is nothing to tell."""

    number: int
    """Counted from 1."""
    t_s: float
    """When the call arrived, and counted."""
    key: str
    """A short hash of the key, `-` where none was sent."""
    method: str
    path: str
    """As it was sent, still encoded."""
    query: Mapping[str, str]
    """Decoded; of a parameter that was sent twice the last value."""
    query_string: str
    """As it was sent."""
    url_bytes: int
    """The length of path and query string."""
    body_bytes: int
    """The length of the body that was announced."""
    user_agent: str
    status: int | None
    """The answer's status; None if the connection was dropped without one."""
    limited: bool = False
    """Refused by the limit (429)."""
    retry_after: str | None = None
    """The Retry-After header of the answer."""
    fault: str | None = None
    """The rule that made something go wrong."""
    answer_after_s: float = 0.0
    """Seconds from the arrival until the answer left."""
    model_id: str | None = None
    connection_id: str | None = None
    branch_id: str | None = None
    accepted: bool = False
    """A refresh was started, whatever the answer said."""
    job_id: str | None = None
    """The job that was started or asked about."""
    job_status: str | None = None
    """The job's status, as the answer told it."""
    tells_end: bool = False
    """The answer told how the job ended."""
    started_s: float | None = None
    """When the job started."""
    finished_s: float | None = None
    """When the job ends; None for one that never does."""
    duration_s: float | None = None
    """How long the job takes."""


class KeyLabels:
    """Short hashes that stand for keys in a log: the same for the same key, and no way back."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def label(self, key: str | None) -> str:
        """The label of a key; `-` for none."""
        if not key:
            return "-"
        label = self._labels.get(key)
        if label is None:
            label = self._labels[key] = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return label


_NAMES = tuple(field.name for field in fields(Call))


def as_json_line(call: Call) -> str:
    """The call as one line of JSON with a line feed; what is None or False is left out."""
    told = ((name, getattr(call, name)) for name in _NAMES)
    data = {name: value for name, value in told if value is not None and value is not False}
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")) + "\n"


def read_calls(path: Path) -> list[Call]:
    """The calls in a log file; a line that was cut by a kill, which can only be the last one, is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Call(**{"status": None, **json.loads(line)}) for line in lines if line.endswith("\n")]


class CallLog:
    """All calls so far; with a path also as JSON lines, each written as it comes."""

    def __init__(self, path: Path | None = None) -> None:
        self._calls: list[Call] = []
        self._file: IO[str] | None = None if path is None else path.open("a", encoding="utf-8", buffering=1)

    @property
    def calls(self) -> Sequence[Call]:
        """The calls, oldest first; grows while the simulator runs."""
        return self._calls

    def record(self, call: Call) -> None:
        """Add a call."""
        self._calls.append(call)
        if self._file is not None:
            self._file.write(as_json_line(call))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
