"""Resolves what an entry names to the ids of its model and its branch, by what look-ups showed. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from orchestrator.manifest.manifest import Entry
from orchestrator.omni.answers import ModelRecord
from orchestrator.planning.inventory import Inventory, by_name, canonical, is_id, same_named
from orchestrator.planning.plan import Unresolved

# Near names are looked for this often: among thousands of names each search takes a while, and one typo is soon seen.
MOST_SEARCHES = 50
_LONGEST_NAME = 200

_NOT_WHOLE = ": the list of models was not read to its end"


class Resolver:
    """Resolves the entries of one instance by its inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._by_name: Mapping[str, tuple[ModelRecord, ...]] | None = None
        self._searches = 0

    def resolve(self, entry: Entry) -> tuple[str, str | None] | Unresolved:
        """Return the ids of an entry's model and branch (None: it has none)."""
        model_id = self.model(entry)
        if isinstance(model_id, Unresolved) or entry.branch is None:
            return model_id if isinstance(model_id, Unresolved) else (model_id, None)
        if is_id(entry.branch):
            return model_id, entry.branch.lower()
        branch_id = self._branch(entry, entry.branch, model_id)
        return branch_id if isinstance(branch_id, Unresolved) else (model_id, branch_id)

    def model(self, entry: Entry) -> str | Unresolved:
        """Return the id of an entry's model. An id in the manifest always resolves: the server decides whether it exists."""
        model_id = entry.model_id
        if model_id is None:
            name = entry.model_name or entry.name
            found = self.named(name)
            if len(found) < 2 and not self._inventory.is_settled(name, found):
                return Unresolved(
                    entry=entry,
                    message=f"the model {name!r} could not be looked up{self._inventory.why(name) or _NOT_WHOLE}",
                    hint="write the model's id, or run again when the instance answers",
                )
            if len(found) != 1:
                return self._no_model(entry, name, found)
            model_id = found[0].id
        return model_id

    def _branch(self, entry: Entry, branch: str, model_id: str) -> str | Unresolved:
        branches = self.branches(entry, model_id)
        if isinstance(branches, Unresolved):
            return branches
        matches = branches_named(branches, branch)
        if len(matches) == 1:
            return matches[0]
        if matches:
            return Unresolved(
                entry=entry,
                message=f"the model has {len(matches)} branches named {branch!r}",
                hint=f"write the id of the one that is meant: {', '.join(matches[:5])}",
            )
        return Unresolved(
            entry=entry,
            message=f"the model has no branch named {branch!r}",
            hint=self.near(branch, (name for _, name in branches))
            or "check the branch's name in Omni, or write its id",
        )

    def branches(self, entry: Entry, model_id: str) -> tuple[tuple[str, str], ...] | Unresolved:
        """Return the (id, name) pairs of a model's branches."""
        branches = self._inventory.branches.get(model_id)
        if branches is not None:
            return branches
        return Unresolved(
            entry=entry,
            message=f"the branches of model {model_id} could not be read{self._inventory.why(model_id, entry.model_name)}",
            hint="write the branch's id instead of its name, or run again when the instance answers",
        )

    def named(self, name: str) -> tuple[ModelRecord, ...]:
        """Return the models of this name, of the first kind that has any."""
        if self._by_name is None:
            self._by_name = by_name(self._inventory.records.values())
        return same_named(self._by_name, name)

    def near(self, name: str, known: Iterable[str]) -> str:
        """Return the similar known names, as a question; empty if none is similar."""
        self._searches += 1
        if self._searches > MOST_SEARCHES or len(name) > _LONGEST_NAME:
            return ""
        folded = {k.lower(): k for k in known if len(k) <= _LONGEST_NAME}
        near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)
        return f"did you mean {', '.join(repr(folded[n]) for n in near)}?" if near else ""

    def _no_model(self, entry: Entry, name: str, found: tuple[ModelRecord, ...]) -> Unresolved:
        if found:
            ids = ", ".join(record.id for record in found[:5])
            return Unresolved(
                entry=entry,
                message=f"{len(found)} models are named {name!r}",
                hint=f"write the id of the one that is meant: {ids}",
            )
        return Unresolved(
            entry=entry,
            message=f"no model is named {name!r}",
            hint=self.near(name, self._by_name or ()) or "check the model's name in Omni, or write its id",
        )


def branches_named(branches: Iterable[tuple[str, str]], name: str) -> list[str]:
    """Return the ids of the branches that have exactly this name; if none has, of those that differ in its Unicode form alone."""
    pairs = tuple(branches)
    exact = [branch_id for branch_id, known in pairs if known == name]
    return exact or [branch_id for branch_id, known in pairs if canonical(known) == canonical(name)]
