"""The call log: one record for each call that reached the simulator, in the order of arrival.

A call is recorded before its answer leaves. So the record is complete even if the client has disconnected.
"""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. Moments ending in `_s` are seconds since the simulator started; None: not applicable."""

    number: int
    """Counted from 1."""
    t_s: float
    """When the call arrived, and counted."""
    key: str
    """A short hash of the key; `-` if none was sent."""
    method: str
    path: str
    """As it was sent, still encoded."""
    query: Mapping[str, str]
    """Decoded; the last value of a parameter that was sent twice."""
    query_string: str
    """As it was sent."""
    url_bytes: int
    """The length of path and query string."""
    body_bytes: int
    """The announced length of the body."""
    user_agent: str
    status: int | None
    """The answer's status; None if the connection was dropped without one."""
    limited: bool = False
    """Refused by the limit (429)."""
    retry_after: str | None = None
    """The Retry-After header of the answer."""
    fault: str | None = None
    """The fault rule that applied."""
    answer_after_s: float = 0.0
    """Seconds from the arrival until the answer left."""
    model_id: str | None = None
    connection_id: str | None = None
    branch_id: str | None = None
    accepted: bool = False
    """A refresh was started, even if the answer says otherwise."""
    job_id: str | None = None
    """The job that was started or checked."""
    job_status: str | None = None
    """The job's status in the answer."""
    tells_end: bool = False
    """The answer holds the final status of the job."""
    started_s: float | None = None
    """When the job started."""
    finished_s: float | None = None
    """When the job ends; None for one that never does."""
    duration_s: float | None = None
    """How long the job takes."""


@functools.lru_cache(maxsize=1024)
def key_label(key: str | None) -> str:
    """Return a short hash that stands for a key in the log; `-` for no key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:8] if key else "-"


_NAMES = tuple(field.name for field in fields(Call))


def as_json_line(call: Call) -> str:
    """Return the call as a line of JSON with a line feed, without values that are None or False."""
    values = ((name, getattr(call, name)) for name in _NAMES)
    data = {name: value for name, value in values if value is not None and value is not False}
    return json.dumps(data, ensure_ascii=True, separators=(",", ":")) + "\n"


def read_calls(path: Path) -> list[Call]:
    """Return the calls in a log file, without a last line that a kill has cut short."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Call(**{"status": None, **json.loads(line)}) for line in lines if line.endswith("\n")]


class CallLog:
    """All calls so far; with a path also as JSON lines, each written at once."""

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
