"""Branch patterns: an entry whose `branch` has wildcards stands for the branches that match it. Pure."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.planning.inventory import canonical, is_id
from orchestrator.planning.plan import Expansion, Skip, Unresolved
from orchestrator.planning.resolve import Resolver, branches_named


def matches(pattern: str, branch: str) -> bool:
    """Return whether a branch's name matches a pattern: `*` any characters (also `/`), `?` one, `[ab]` one of these."""
    return fnmatch.fnmatchcase(canonical(branch), canonical(pattern))


def label_prefix(entry: Entry) -> str:
    """Return what the names of a pattern's targets begin with: NAME@ of NAME@branch."""
    return f"{entry.name.removesuffix(f'@{entry.branch}')}@"


class BranchExpander:
    """Makes an entry for each branch that a pattern matches.

    A branch that has an entry of its own in the manifest, selected or not, belongs to that entry; a branch that two patterns
    match belongs to the first one. `picks(entry, pattern)` returns whether the entry of a branch is selected.
    """

    def __init__(
        self, manifest: Manifest, resolvers: Mapping[str, Resolver], picks: Callable[[Entry, Entry], bool] | None
    ) -> None:
        self._manifest = manifest
        self._resolvers = resolvers
        self._picks = picks
        self._taken: set[str] | None = None
        self._on_branches: dict[str, dict[str, list[Entry]]] = {}

    def expand(self, entry: Entry) -> Expansion | Skip | Unresolved | tuple[str, str | None]:
        """Return the targets of an entry with a pattern, or why it has none.

        If a branch has exactly the written name, the text is no pattern: returns the ids of the model and the branch.
        """
        resolver, pattern = self._resolvers[entry.instance], entry.branch or ""
        model_id = resolver.model(entry)
        if isinstance(model_id, Unresolved):
            return model_id
        branches = resolver.branches(entry, model_id)
        if isinstance(branches, Unresolved) or branches_named(branches, pattern):
            return branches if isinstance(branches, Unresolved) else resolver.resolve(entry)
        found = sorted((name, branch_id) for branch_id, name in branches if matches(pattern, name))
        if not found:
            count = f"{len(branches)} branches" if len(branches) != 1 else "1 branch"
            return Skip(entry=entry, reason=f"no branch matches {pattern!r}; the model has {count}")
        claimed = self._claimed(entry, model_id, branches)
        own = [(name, branch_id) for name, branch_id in found if branch_id not in claimed]
        if not own:
            return Skip(entry=entry, reason=f"every branch that matches {pattern!r} belongs to another entry")
        named = [(self._one(entry, name), branch_id) for name, branch_id in own]
        picked = [(one, branch_id) for one, branch_id in named if self._picks is None or self._picks(one, entry)]
        if not picked:
            return Skip(entry=entry, reason=f"no branch that matches {pattern!r} is selected")
        if len(picked) > entry.max_branches:
            return Unresolved(
                entry=entry,
                message=f"{len(picked)} branches match {pattern!r}, and `max_branches` is {entry.max_branches}",
                hint=f"write `max_branches: {len(picked)}` or more, or a narrower pattern",
            )
        return Expansion(
            pattern=entry,
            model_id=model_id,
            entries=tuple(
                self._labelled(replace(one, index=entry.index + n), branch_id)
                for n, (one, branch_id) in enumerate(picked, start=1)
            ),
            branch_ids=tuple(branch_id for _, branch_id in picked),
        )

    def _one(self, entry: Entry, branch: str) -> Entry:
        model_name = None if entry.model_id else entry.model_name or entry.name
        return replace(entry, branch=branch, name=f"{label_prefix(entry)}{branch}", model_name=model_name)

    def _labelled(self, entry: Entry, branch_id: str) -> Entry:
        """Return the entry with a name that no other has: with the branch's id if another entry is called the same."""
        if self._taken is None:
            self._taken = {one.name for one in self._manifest.entries}
        if entry.name in self._taken:
            entry = replace(entry, name=f"{entry.name} ({branch_id})")
        self._taken.add(entry.name)
        return entry

    def _claimed(self, entry: Entry, model_id: str, branches: Sequence[tuple[str, str]]) -> set[str]:
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
        """Return the entries of an instance that have a branch, by the ids of their models as far as those are known."""
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
