"""The change that a run follows: what was read from files, and which schemas it may have created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.changes.change_set import Change, ChangeSet, Effect, NotRefreshed, NotUnderstood, ObjectName, merge


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedChange:
    """A change. `may_be_new` are the schemas, in lower case, that it may have created. No instance lists them yet."""

    changes: ChangeSet
    may_be_new: frozenset[str] = frozenset()

    @property
    def is_nothing(self) -> bool:
        """Whether the change is empty."""
        return not self.changes.changes and not self.changes.not_understood


def make_followed_change(*, ddl: ChangeSet, dbt: ChangeSet, listed: ChangeSet) -> FollowedChange:
    """Return the change that migrations, dbt and a list of names describe together.

    Migrations may create the schemas that they name, and dbt those of its models. A list of names creates none.
    """
    created = {c.name.schema for c in ddl.changes if c.name.table is None and c.effect is Effect.ADDITIVE}
    built_in = {c.name.schema for c in dbt.changes}
    return FollowedChange(
        changes=merge(ddl, dbt, listed), may_be_new=frozenset(s.lower() for s in created | built_in if s is not None)
    )


def change_as_data(followed: FollowedChange) -> dict[str, Any]:
    """Return a change as JSON data for the journal."""
    changes = followed.changes
    return {
        "changes": [[*c.name, c.effect.value, c.source, c.line, c.reason, list(c.columns)] for c in changes.changes],
        "not_understood": [[n.source, n.line, n.text, n.reason] for n in changes.not_understood],
        "not_refreshed": [[n.node, n.reason] for n in changes.not_refreshed],
        "warnings": list(changes.warnings),
        "may_be_new": sorted(followed.may_be_new),
    }


def change_from_data(data: Mapping[str, Any]) -> FollowedChange:
    """Return the change that `change_as_data` wrote."""
    return FollowedChange(
        changes=ChangeSet(
            changes=tuple(
                Change(
                    name=ObjectName(*row[:3]),
                    effect=Effect(row[3]),
                    source=row[4],
                    line=row[5],
                    reason=row[6],
                    # rows of earlier versions hold no columns
                    columns=tuple(row[7]) if len(row) > 7 else (),
                )
                for row in data["changes"]
            ),
            not_understood=tuple(
                NotUnderstood(source=source, line=line, text=text, reason=reason)
                for source, line, text, reason in data["not_understood"]
            ),
            not_refreshed=tuple(NotRefreshed(node=node, reason=reason) for node, reason in data["not_refreshed"]),
            warnings=tuple(data["warnings"]),
        ),
        may_be_new=frozenset(data["may_be_new"]),
    )
