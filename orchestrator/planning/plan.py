"""The plan of a run: lanes of targets, and the entries that get no refresh, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.changes.change_set import Change
from orchestrator.manifest.manifest import Entry, Manifest, RefreshKind
from orchestrator.omni.answers import RefreshRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An entry resolved to ids. `connection` is the connection's id, name or label; None if it is not known. Targets with
    the same `lane` never refresh at the same time.
    """

    entry: Entry
    model_id: str
    branch_id: str | None
    connection: str | None
    lane: str


def how_refreshed(entry: Entry) -> str:
    """Return how an entry is refreshed, in one or two words: hard, soft or dbt sync."""
    return "dbt sync" if entry.refresh is RefreshKind.DBT_SYNC else entry.mode.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """A refresh of one or more targets. The calls are for `sender`; the refresh also serves the targets `covered`.

    `requests` are sent one after another: more than one if the scope is too long for one URL. `timeout_s` is the longest of
    all targets. `wait` is whether any of them waits for the end.
    """

    sender: Target
    covered: tuple[Target, ...]
    requests: tuple[RefreshRequest, ...]
    timeout_s: float
    wait: bool

    @property
    def served(self) -> tuple[Target, ...]:
        """The sender and the targets that it covers."""
        return (self.sender, *self.covered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Targets of one connection in manifest order; their refreshes follow one another."""

    instance: str
    key: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """An entry that is deliberately not refreshed."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """An entry whose model or branch does not resolve to exactly one thing. Nothing is sent for it."""

    entry: Entry
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What replaces an entry with a branch pattern: an entry for each branch that matches, with a name of its own.

    `resolved` are these entries, each with the ids of its model and its branch.
    """

    pattern: Entry
    resolved: tuple[tuple[Entry, str, str], ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries that replace the pattern."""
        return tuple(entry for entry, _, _ in self.resolved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What a change means for one entry.

    `entry` is the entry as it will be refreshed (unchanged if `is_skipped`). `why` explains it to people. `changes` affect the
    entry.
    """

    entry: Entry
    why: str
    is_skipped: bool = False
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPlan:
    """Everything that was selected; each part is in manifest order. `warnings` are by an entry's index.

    If the run follows a change, `impacts` say what it means for each entry, and `remarks` are about the whole change.
    `expansions` are the branch patterns that became targets.
    """

    manifest: Manifest
    lanes: tuple[Lane, ...]
    skips: tuple[Skip, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    warnings: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    impacts: tuple[Impact, ...] = ()
    remarks: tuple[str, ...] = ()
    expansions: tuple[Expansion, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every selected entry, in manifest order."""
        targets = [t.entry for lane in self.lanes for t in lane.targets]
        others = [s.entry for s in self.skips] + [u.entry for u in self.unresolved]
        return tuple(sorted(targets + others, key=lambda e: e.index))
