"""The records of the journal."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from orchestrator.journal.database import JournalError, Reader
from orchestrator.manifest.manifest import Entry, Manifest, Mode
from orchestrator.values import as_data, from_data

Scope = tuple[tuple[str, ...], tuple[str, ...]]
"""The schemas and the tables of one call."""


class CallStatus(StrEnum):
    """What is known of a refresh call: it was to leave; it was accepted and its job may run; it is over."""

    INTENDED = "intended"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"

    @property
    def may_run(self) -> bool:
        """Return whether its refresh may still run. The job of a lost call is out of sight, and may run all its timeout."""
        return self in (CallStatus.INTENDED, CallStatus.ACCEPTED, CallStatus.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """The request of a run, enough to continue it: everything except the keys, which are read again.

    `selected` are the positions of its entries in the manifest. `settings` are those of the command line, by their names.
    `stated` is what was stated beside the manifest (`orchestrator.app.requests.StatedRequest`).
    `reports` and `metrics` are absolute paths; `named` is whether the reports were requested. `rate` is the share of each
    key's calls. `touched` is the change that it follows (`orchestrator.planning.followed_change`), None: it follows none.
    `select` and `exclude` decide which branches of a branch pattern it takes.
    """

    manifest: Manifest
    selected: tuple[int, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    reports: tuple[str, ...] = ()
    named: bool = False
    rate: int | None = None
    metrics: str | None = None
    touched: Mapping[str, object] | None = None
    stated: Mapping[str, object] = field(default_factory=dict)
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run that begins. `root` is the run whose plan it works on: its own id, or that of the first run that it continues.

    `origin` is the run that it resumes or retries. `lock` is the name under which no other process may run the same.
    `manifest_path` is as it was given, `manifest_file` absolute, `manifest_identity` is the manifest's `name`, or its path.
    `directory` is the working directory the run was started from; None if it is unknown. `key` is the name that a scheduler
    gave the run.
    """

    id: str
    root: str
    origin: str | None
    trigger: str
    manifest_path: str
    manifest_file: str
    manifest_identity: str
    manifest_sha256: str
    lock: str
    began_at: datetime
    directory: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(NewRun):
    """A stored run. `ended_at` is None while it runs, and if it was killed. `unfinished` means that something is left
    for `resume`. `counts` are its outcomes by status.
    """

    ended_at: datetime | None
    unfinished: bool
    exit_code: int | None
    counts: Mapping[str, int]
    targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A target's results in a manifest's earlier runs: the last `status` that is a result, and the start of the first run in the
    current streak of failures; None if the target succeeded in the last one.
    """

    status: str
    failing_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictedEntry:
    """What a change left of an entry. It replaces the manifest's values."""

    mode: Mode
    schemas: tuple[str, ...]
    tables: tuple[str, ...]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return the values of an entry."""
        return cls(mode=entry.mode, schemas=entry.schemas, tables=entry.tables)

    def applied_to(self, entry: Entry) -> Entry:
        """Return the entry with these values."""
        return replace(entry, mode=self.mode, schemas=self.schemas, tables=self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTarget:
    """A selected entry, by its `position` in the manifest, and what is known of its model. `lane` is None if nothing is planned
    for it. `restricted` is what a followed change left of the entry; None if the entry applies as it is.
    """

    position: int
    name: str
    model_id: str | None = None
    branch_id: str | None = None
    connection: str | None = None
    lane: str | None = None
    warnings: tuple[str, ...] = ()
    restricted: RestrictedEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTarget(NewTarget):
    """A target with its outcome as a report's row."""

    outcome: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCall:
    """A refresh call. `scopes` are the schemas and tables of all calls of its refresh and `part` says which one this is;
    `served` are the positions of its targets, the sender's first. `age_s` is how long ago it was accepted, or left if it was
    not accepted; never negative.
    """

    id: int
    root: str
    sender: int
    part: int
    attempt: int
    served: tuple[int, ...]
    scopes: tuple[Scope, ...]
    timeout_s: float
    wait: bool
    fate: CallStatus
    left_at: datetime
    queued_s: float
    job_id: str | None
    word: str | None
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedRefresh:
    """A refresh call that a run left and that may still run, on an instance's `address`, under the `names` of its connection.

    `job_id` None: only the time can show that it is over. `age_s` is how long ago its job was accepted, or its call left if no
    job is known: at least so long, for certain.
    """

    call: int
    root: str
    run: str
    sender: int
    address: str
    names: frozenset[str]
    job_id: str | None
    age_s: float
    timeout_s: float

    @property
    def closed_s(self) -> float:
        """Return how much longer it may run by its timeout, in seconds."""
        return max(0.0, self.timeout_s - self.age_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootRecord:
    """What the journal holds of one plan in a chain of retries: its targets, and the calls that were made for them."""

    root: str
    targets: tuple[StoredTarget, ...]
    calls: tuple[StoredCall, ...]


def pack(data: object) -> bytes:
    """Return JSON data in its stored, compressed form."""
    return zlib.compress(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def unpack(packed: bytes) -> Any:
    """Return stored JSON data. Raises `ValueError` or `zlib.error` if it is damaged."""
    return json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))


def pack_request(request: StoredRequest) -> bytes:
    """Return a run's request without its keys, in its stored form."""
    manifest = request.manifest
    instances = {
        name: replace(i, keys=tuple(replace(k, secret=None) for k in i.keys)) for name, i in manifest.instances.items()
    }
    return pack(as_data(replace(request, manifest=replace(manifest, instances=instances, secrets=(), state=None))))


def read_request(reader: Reader, root: str) -> StoredRequest:
    """Return the request of a run. Raises `JournalError` if this version cannot read it."""
    rows = reader.read("SELECT orders FROM runs WHERE id = ? AND orders IS NOT NULL", (root,))
    try:
        return from_data(StoredRequest, unpack(rows[0][0]))
    except (IndexError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise JournalError(
            f"what run {root} was to do cannot be read: {type(error).__name__}: {error}", code="damaged-state"
        ) from None


def with_branches(request: StoredRequest, found: Mapping[int, Sequence[Entry]]) -> StoredRequest:
    """Return a request with the entries of branches instead of branch patterns. `found` has those by the pattern's index."""
    entries = tuple(one for entry in request.manifest.entries for one in found.get(entry.index, (entry,)))
    selected = tuple(
        one for index in request.selected for one in ([e.index for e in found[index]] if index in found else [index])
    )
    return replace(request, manifest=replace(request.manifest, entries=entries), selected=selected)
