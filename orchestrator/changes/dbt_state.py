"""Which nodes of a dbt project changed since an earlier invocation, its state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.changes.change_set import shorten
from orchestrator.changes.dbt_artifacts import DbtManifest, Node

_MAX_NAMED: Final = 5


class Doubt(StrEnum):
    """Why a state cannot prove that a node is what it was."""

    KNOWN_BY_PATH = "dbt compares a seed that is larger than 1 MiB only by its path"
    NOT_BUILT = "the invocation of the state did not build it"
    COMPILED_OTHERWISE = "its compiled code differs, although its definition does not"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateComparison:
    """What changed since the state was made."""

    changed: frozenset[str]
    """The nodes whose own definition, or that of a node, source or macro upstream, changed, or may have changed."""
    certain: frozenset[str]
    """Those of them whose change the definitions show."""
    doubts: Mapping[str, Doubt]
    """The nodes that the state proves nothing about."""
    children: Mapping[str, tuple[str, ...]]

    def doubts_about(self, destructive: Collection[str]) -> list[str]:
        """Return a warning for each doubt that alone makes any of these nodes destructive, with the nodes that it is about."""
        unsure = frozenset(destructive) - self.certain
        warnings = []
        for doubt in Doubt:
            named = [
                key for key, each in self.doubts.items() if each is doubt and _reached([key], self.children) & unsure
            ]
            if named:
                more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
                nodes = shorten(", ".join(named[:_MAX_NAMED])) + more
                warnings.append(f"{nodes}: not proven unchanged by the state, counts as changed: {doubt}")
        return warnings


def compare_with_state(
    manifest: DbtManifest, state: DbtManifest, *, built: frozenset[str], built_before: frozenset[str] | None
) -> StateComparison:
    """Compare a manifest with an earlier one.

    A node that is new since then has not changed, unless a node of another id had its table: nothing that it built before can be gone.
    The macros of dbt itself and of its adapter are not looked at: they change with each upgrade. `built` are the nodes that this
    invocation built, `built_before` those that the state's built (None if that is not known).
    """
    children = _children(manifest)
    own = [key for key, node in manifest.nodes.items() if _differs(key, node, state, manifest.adapter)]
    doubts = {}
    for key in sorted(built & state.nodes.keys() & manifest.nodes.keys()):
        doubt = _doubt(manifest.nodes[key], state.nodes[key], was_built=built_before is None or key in built_before)
        if doubt is not None:
            doubts[key] = doubt
    taken = {node.relation for node in state.nodes.values() if node.relation}

    def downstream(roots: Iterable[str]) -> frozenset[str]:
        reached = _reached(roots, children)
        return frozenset(key for key in reached if key in state.nodes or manifest.nodes[key].relation in taken)

    return StateComparison(
        changed=downstream([*own, *doubts]), certain=downstream(own), doubts=doubts, children=children
    )


def _children(manifest: DbtManifest) -> Mapping[str, tuple[str, ...]]:
    children: dict[str, list[str]] = defaultdict(list)
    for key, node in manifest.nodes.items():
        for parent in node.parents:
            children[parent].append(key)
    return {key: tuple(each) for key, each in children.items()}


def _reached(roots: Iterable[str], children: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The roots and all that is downstream of them."""
    waiting = list(roots)
    reached = set(waiting)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in reached:
                reached.add(child)
                waiting.append(child)
    return reached


def _differs(key: str, node: Node, state: DbtManifest, adapter: str) -> bool:
    if node.kind == "macro" and key.split(".")[1:2] in (["dbt"], [f"dbt_{adapter}"]):
        return False
    before = state.nodes.get(key)
    return before is None or before.fingerprint != node.fingerprint


def _doubt(node: Node, before: Node, *, was_built: bool) -> Doubt | None:
    if node.is_known_by_path or before.is_known_by_path:
        return Doubt.KNOWN_BY_PATH
    if not was_built and node.materialized != "ephemeral":
        return Doubt.NOT_BUILT
    if node.compiled is not None and before.compiled is not None and node.compiled != before.compiled:
        return Doubt.COMPILED_OTHERWISE
    return None
