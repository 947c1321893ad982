"""Resolves names to ids with the results of look-ups: an entry's model, and its branch or the branches of a pattern. Pure."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.manifest.manifest import Entry, Manifest, is_id
from orchestrator.omni.answers import ModelRecord
from orchestrator.planning.inventory import Inventory, by_name, canonical, same_named
from orchestrator.planning.plan import Expansion, Skip
from orchestrator.text import near_words

# The most searches for near names. Each takes a while among thousands of names, and a few hints are enough.
MOST_SEARCHES = 50
_LONGEST_NAME = 200

Branches = Sequence[tuple[str, str]]
"""The (id, name) pairs of a model's branches."""


class UnresolvedError(Exception):
    """A name does not resolve to exactly one thing. `message` says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Resolver:
    """Resolves the entries of one instance by its inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._by_name: Mapping[str, tuple[ModelRecord, ...]] | None = None
        self._searches = 0

    def resolve(self, entry: Entry) -> tuple[str, str | None]:
        """Return the ids of an entry's model and branch (None: it has none). Raises UnresolvedError."""
        model_id = self.model(entry)
        if entry.branch is None or is_id(entry.branch):
            return model_id, entry.branch and entry.branch.lower()
        branches = self.branches(entry, model_id)
        found = branches_named(branches, entry.branch)
        if not found:
            hint = self._near(entry.branch, (name for _, name in branches))
            message = f"the model has no branch named {entry.branch!r}"
            raise UnresolvedError(message, hint or "check the branch's name in Omni, or write its id")
        if len(found) > 1:
            message = f"the model has {len(found)} branches named {entry.branch!r}"
            raise UnresolvedError(message, f"write the id of the one that is meant: {', '.join(found[:5])}")
        return model_id, found[0]

    def model(self, entry: Entry) -> str:
        """Return the id of an entry's model. An id in the manifest is always accepted: the server decides whether it exists.

        Raises UnresolvedError.
        """
        if entry.model_id is not None:
            return entry.model_id
        name = entry.model_name or entry.name
        found = self.named(name)
        if len(found) < 2 and not self._inventory.is_settled(name, found):
            why = self._inventory.why(name) or ": the list of models was not read to its end"
            hint = "write the model's id, or run again when the instance answers"
            raise UnresolvedError(f"the model {name!r} could not be looked up{why}", hint)
        if not found:
            hint = self._near(name, self._by_name or ()) or "check the model's name in Omni, or write its id"
            raise UnresolvedError(f"no model is named {name!r}", hint)
        if len(found) > 1:
            ids = ", ".join(record.id for record in found[:5])
            raise UnresolvedError(
                f"{len(found)} models are named {name!r}", f"write the id of the one that is meant: {ids}"
            )
        return found[0].id

    def branches(self, entry: Entry, model_id: str) -> Branches:
        """Return a model's branches. Raises UnresolvedError if they could not be read."""
        branches = self._inventory.branches.get(model_id)
        if branches is None:
            why = self._inventory.why(model_id, entry.model_name)
            hint = "write the branch's id instead of its name, or run again when the instance answers"
            raise UnresolvedError(f"the branches of model {model_id} could not be read{why}", hint)
        return branches

    def named(self, name: str) -> tuple[ModelRecord, ...]:
        """Return the models of this name, of the first kind that has any."""
        if self._by_name is None:
            self._by_name = by_name(self._inventory.records.values())
        return same_named(self._by_name, name)

    def _near(self, name: str, known: Iterable[str]) -> str:
        """Return the similar known names, as a question; empty if none is similar."""
        self._searches += 1
        if self._searches > MOST_SEARCHES or len(name) > _LONGEST_NAME:
            return ""
        near = near_words(name, (k for k in known if len(k) <= _LONGEST_NAME), most=3, cutoff=0.5)
        return f"did you mean {', '.join(map(repr, near))}?" if near else ""


def branches_named(branches: Branches, name: str) -> list[str]:
    """Return the ids of the branches with exactly this name, else of those whose name differs only in its Unicode form."""
    exact = [branch_id for branch_id, known in branches if known == name]
    return exact or [branch_id for branch_id, known in branches if canonical(known) == canonical(name)]


def matches(pattern: str, branch: str) -> bool:
    """Return whether a branch's name matches a pattern: `*` any characters (also `/`), `?` one, `[ab]` one of these."""
    return fnmatch.fnmatchcase(canonical(branch), canonical(pattern))


def label_prefix(entry: Entry) -> str:
    """Return the prefix of the names of a pattern's targets: `NAME@` of `NAME@branch`."""
    return f"{entry.name.removesuffix(f'@{entry.branch}')}@"


class BranchExpander:
    """Makes an entry for each branch that a pattern matches.

    A branch with an entry of its own in the manifest, selected or not, belongs to that entry. A branch that two patterns match
    belongs to the first one. `picks(entry, pattern)` returns whether the entry of a branch is selected.
    """

    def __init__(
        self, manifest: Manifest, resolvers: Mapping[str, Resolver], picks: Callable[[Entry, Entry], bool] | None
    ) -> None:
        self._manifest = manifest
        self._resolvers = resolvers
        self._picks = picks
        self._taken = {entry.name for entry in manifest.entries}
        self._on_branches: dict[str, dict[str, list[Entry]]] = {}

    def expand(self, entry: Entry) -> Expansion | Skip | tuple[str, str | None]:
        """Return the targets of an entry with a pattern, or a skip if it has none. Raises UnresolvedError.

        If a branch has exactly the written name, the text is not a pattern. Then returns the ids of the model and the branch.
        """
        resolver, pattern = self._resolvers[entry.instance], entry.branch or ""
        model_id = resolver.model(entry)
        branches = resolver.branches(entry, model_id)
        if branches_named(branches, pattern):
            return resolver.resolve(entry)
        found = sorted((name, branch_id) for branch_id, name in branches if matches(pattern, name))
        if not found:
            count = f"{len(branches)} branches" if len(branches) != 1 else "1 branch"
            return Skip(entry=entry, reason=f"no branch matches {pattern!r}; the model has {count}")
        claimed = self._claimed(entry, model_id, branches)
        named = [(_on_branch(entry, name), branch_id) for name, branch_id in found if branch_id not in claimed]
        if not named:
            return Skip(entry=entry, reason=f"every branch that matches {pattern!r} belongs to another entry")
        picked = [(one, branch_id) for one, branch_id in named if self._picks is None or self._picks(one, entry)]
        if not picked:
            return Skip(entry=entry, reason=f"no branch that matches {pattern!r} is selected")
        if len(picked) > entry.max_branches:
            message = f"{len(picked)} branches match {pattern!r}, and `max_branches` is {entry.max_branches}"
            raise UnresolvedError(message, f"write `max_branches: {len(picked)}` or more, or a narrower pattern")
        numbered = [(replace(one, index=entry.index + n), branch_id) for n, (one, branch_id) in enumerate(picked, 1)]
        return Expansion(
            pattern=entry,
            resolved=tuple((self._labelled(one, branch_id), model_id, branch_id) for one, branch_id in numbered),
        )

    def _labelled(self, entry: Entry, branch_id: str) -> Entry:
        """Return the entry with a unique name: with the branch's id if another entry has the same name."""
        if entry.name in self._taken:
            entry = replace(entry, name=f"{entry.name} ({branch_id})")
        self._taken.add(entry.name)
        return entry

    def _claimed(self, entry: Entry, model_id: str, branches: Branches) -> set[str]:
        """Return the ids of the model's branches that belong to other entries."""
        claimed: set[str] = set()
        for other in self._entries_of(entry.instance).get(model_id, ()):
            text = other.branch or ""
            if is_id(text):
                claimed.add(text.lower())
            elif named := branches_named(branches, text):
                claimed.update(named)
            elif other.has_branch_pattern and other.index < entry.index:
                claimed.update(branch_id for branch_id, name in branches if matches(text, name))
        return claimed

    def _entries_of(self, instance: str) -> Mapping[str, Sequence[Entry]]:
        """Return the entries of an instance with a branch, by the ids of their models. Entries of unknown models are left out."""
        if instance not in self._on_branches:
            found: dict[str, list[Entry]] = defaultdict(list)
            resolver = self._resolvers[instance]
            for other in self._manifest.entries:
                if other.branch is None or other.instance != instance:
                    continue
                named = () if other.model_id else resolver.named(other.model_name or other.name)
                if other.model_id or len(named) == 1:
                    found[other.model_id or named[0].id].append(other)
            self._on_branches[instance] = found
        return self._on_branches[instance]


def _on_branch(entry: Entry, branch: str) -> Entry:
    model_name = None if entry.model_id else entry.model_name or entry.name
    return replace(entry, branch=branch, name=f"{label_prefix(entry)}{branch}", model_name=model_name)
