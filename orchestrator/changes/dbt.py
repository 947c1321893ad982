"""What a dbt invocation built, and whether a column may be gone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from orchestrator.changes.change_set import (
    MAX_PLACES,
    Change,
    ChangeSet,
    Effect,
    NotRefreshed,
    NotUnderstood,
    ObjectName,
    shorten,
)
from orchestrator.changes.dbt_artifacts import (
    BUILDS,
    KNOWN_VERSIONS,
    DbtManifest,
    Node,
    Result,
    RunResults,
    load_manifest,
    load_results,
)
from orchestrator.changes.dialects import Dialect, Folding, dialect_named
from orchestrator.changes.errors import ChangesError, TemplatedError
from orchestrator.changes.names import fold, parse_name

COLUMNS_MAY_STAY: Final = "a column that dbt no longer builds may stay in its model; --dbt-state DIR, the artifacts of the run before, shows which nodes changed"
_BUILT: Final = frozenset({"success", "partial success", "warn"})
_QUIET: Final = frozenset({"no-op", "reused", "pass"})
"""Statuses of nodes that were neither built nor meant to be."""
_KINDS: Final = frozenset({"model", "seed", "snapshot"})
_TEST_ENDED: Final = frozenset({"pass", "warn", "fail"})
"""Statuses of tests that ran to their end: one that stores its failures has then built a table for them."""
_KEEP: Final = "run this step right after the build, or keep the build's artifacts with --target-path"


def read_dbt(target_dir: str | Path, *, state_dir: str | Path | None = None) -> ChangeSet:
    """Return what the invocation whose artifacts lie in `target_dir` built, each table and view as a change.

    Models, seeds and snapshots count, and the tables of tests that store their failures. Without `state_dir` all are additive, and a
    warning says what that may miss. With it (the artifacts of the run before) a node is destructive if its own definition or one
    upstream of it changed, or if the state cannot prove that it did not, and if its materialization can drop columns. Raises
    `ChangesError` if a file is missing, cut short or another one, if another command left `run_results.json`, if the two files are of
    two invocations, or if the state is the target folder itself.
    """
    folder = Path(target_dir)
    results = load_results(folder)
    warnings = _check_command(results, folder)
    manifest = load_manifest(folder)
    warnings += _check_version(manifest, folder)
    _check_invocation(results, manifest, folder)
    state = _load_state(Path(state_dir), folder, results, manifest, warnings) if state_dir is not None else None
    source = str(folder / "run_results.json")
    changes: list[Change] = []
    lost: list[NotUnderstood] = []
    failed: list[NotRefreshed] = []
    destructive: list[str] = []
    for result in results.results:
        node = manifest.nodes.get(result.node)
        if not _is_eligible(result, node, results):
            continue
        if result.status not in _BUILT and not _stores_failures(result, node, results):
            failed.append(NotRefreshed(node=result.node, reason=_reason(result)))
            continue
        if result.status == "partial success":
            failed.append(NotRefreshed(node=result.node, reason=_reason(result)))
        name = _name(node, manifest.adapter) if node is not None else None
        if node is None or name is None:
            reason = "manifest.json does not say which table this node is"
            lost.append(NotUnderstood(source=source, line=0, text=shorten(result.node), reason=reason))
            continue
        effect = _effect(result.node, node, state, full_refresh=results.full_refresh)
        changes.append(
            Change(name=name, effect=effect, source=source, line=0, reason=_why(result, node, effect, results, state))
        )
        if effect is Effect.DESTRUCTIVE:
            destructive.append(result.node)
    if changes and state is None:
        warnings.append(COLUMNS_MAY_STAY)
    if state is not None:
        warnings += state.doubts_about(destructive)
    return ChangeSet(
        changes=tuple(changes), not_understood=tuple(lost), not_refreshed=tuple(failed), warnings=tuple(warnings)
    )


def _check_command(results: RunResults, folder: Path) -> list[str]:
    path = folder / "run_results.json"
    if results.command is None:
        return [f"{path}: does not say which command left it; read as if dbt had built what it lists"]
    if results.command not in BUILDS:
        what = f"was left by dbt {results.command}, which builds nothing: dbt overwrites this file each time; {_KEEP}"
        raise ChangesError(what, source=str(path), code="dbt-artifacts")
    if results.command == "retry":
        return [f"{path}: dbt retry lists only what it ran again; what the run before it built is not in this file"]
    return []


def _check_invocation(results: RunResults, manifest: DbtManifest, folder: Path) -> None:
    """Raise `ChangesError` if the two files are of two invocations: names and settings would be those of another build."""
    what = "so they are not of one invocation: another dbt command has overwritten one of them"
    if results.invocation and manifest.invocation and results.invocation != manifest.invocation:
        ids = f"run_results.json is of invocation {results.invocation} and manifest.json of {manifest.invocation}"
        raise ChangesError(f"{ids}, {what}; {_KEEP}", source=str(folder), code="dbt-artifacts")
    for result in results.results:
        node = manifest.nodes.get(result.node)
        if node is None or not node.relation or not result.relation:
            continue
        dialect = _dialect(manifest.adapter)
        if _stored(result.relation, dialect) != _stored(node.relation, dialect):
            names = f"run_results.json has {result.node} as {result.relation} and manifest.json as {node.relation}"
            raise ChangesError(f"{shorten(names)}, {what}; {_KEEP}", source=str(folder), code="dbt-artifacts")


def _load_state(
    folder: Path, target: Path, results: RunResults, manifest: DbtManifest, warnings: list[str]
) -> StateComparison:
    """Compare with the artifacts in the state folder. Raises `ChangesError` if it is the target folder."""
    if folder.is_dir() and folder.samefile(target):
        advice = "give the artifacts of the run before, copied to another folder"
        raise ChangesError(
            f"is the target folder itself, so no change can be seen; {advice}", source=str(folder), code="dbt-artifacts"
        )
    state = load_manifest(folder)
    warnings += _check_version(state, folder)
    before = load_results(folder) if (folder / "run_results.json").is_file() else None
    if before is None:
        warnings.append(
            f"{folder / 'run_results.json'}: is not there, so a node whose build failed in that run counts as built; keep both files"
        )
    built_before = None if before is None else _built(before)
    return compare_with_state(manifest, state, built=_built(results), built_before=built_before)


def _built(results: RunResults) -> frozenset[str]:
    """Return the models, seeds and snapshots that were built."""
    return frozenset(r.node for r in results.results if r.status in _BUILT and r.node.partition(".")[0] in _KINDS)


def _check_version(manifest: DbtManifest, folder: Path) -> list[str]:
    path = folder / "manifest.json"
    if manifest.version in KNOWN_VERSIONS:
        return []
    what = "has no version" if manifest.version is None else f"is of version {manifest.version}"
    return [
        f"{path}: {what}; versions {KNOWN_VERSIONS[0]} to {KNOWN_VERSIONS[-1]} are known, so this one is read as far as it goes"
    ]


def _is_eligible(result: Result, node: Node | None, results: RunResults) -> bool:
    """Return whether the result is of a node that is a table or view of its own."""
    if _stores_failures(result, node, results):
        return True
    kind = node.kind if node is not None and node.kind else result.node.partition(".")[0]
    ephemeral = node is not None and node.materialized == "ephemeral"
    return kind in _KINDS and not ephemeral and result.status not in _QUIET


def _stores_failures(result: Result, node: Node | None, results: RunResults) -> bool:
    """Return whether the result is of a test that has left a table of its failures, which dbt builds whether there are any or not."""
    if node is None or node.kind != "test" or node.relation is None or result.status not in _TEST_ENDED:
        return False
    return results.store_failures if node.store_failures is None else node.store_failures


def _reason(result: Result) -> str:
    is_partial = result.status == "partial success"
    status = "built in part: some of its batches failed" if is_partial else result.status or "no status"
    return shorten(f"{status}: {result.message}" if result.message else status)


def _why(result: Result, node: Node, effect: Effect, results: RunResults, state: StateComparison | None) -> str:
    what = node.materialized or node.kind
    also = ""
    if effect is Effect.DESTRUCTIVE and state is not None:
        verb = "changed" if result.node in state.certain else "may have changed"
        also = f"; its definition or one upstream of it {verb}"
    return f"dbt {results.command or 'run'} built {result.node} ({what}){also}"


def _name(node: Node, adapter: str) -> ObjectName | None:
    """Return the node's table as the warehouse stores it."""
    dialect = _dialect(adapter)
    if node.relation and (stored := _stored(node.relation, dialect)) is not None:
        return stored
    if node.schema is None or node.table is None:
        return None
    catalog = _kept(node.database, dialect) if node.database else None
    return ObjectName(catalog, _kept(node.schema, dialect), _kept(node.table, dialect))


def _dialect(adapter: str) -> Dialect:
    """Return the dialect of dbt's adapter; DuckDB's, which keeps names as written, for one that is not known."""
    try:
        return dialect_named(adapter)
    except ChangesError:
        return dialect_named("duckdb")


def _stored(relation: str, dialect: Dialect) -> ObjectName | None:
    """Return a relation that dbt writes, as the warehouse stores its name; None if it is no name."""
    try:
        parts = parse_name(relation, dialect)
    except TemplatedError:
        return None
    if parts is None or len(parts) > 3:
        return None
    stored = [fold(part, dialect) for part in parts]
    return ObjectName(*([None] * (3 - len(stored))), *stored)


def _kept(part: str, dialect: Dialect) -> str:
    """Return the stored form of a part that dbt writes without quotes for Snowflake, and in quotes elsewhere."""
    if dialect.folding is Folding.UPPER and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", part):
        return part.upper()
    return part.lower() if dialect.folding is Folding.ALL_LOWER else part


def _effect(key: str, node: Node, state: StateComparison | None, *, full_refresh: bool) -> Effect:
    if state is None or key not in state.changed:
        return Effect.ADDITIVE
    fresh = node.full_refresh if node.full_refresh is not None else full_refresh
    grows = node.materialized == "incremental" and not fresh and node.on_schema_change != "sync_all_columns"
    return Effect.ADDITIVE if grows or node.kind == "snapshot" else Effect.DESTRUCTIVE


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
    children: Mapping[str, Sequence[str]]

    def doubts_about(self, destructive: Collection[str]) -> list[str]:
        """Return a warning for each doubt that alone makes any of these nodes destructive, with the nodes that it is about."""
        unsure = frozenset(destructive) - self.certain
        named: dict[Doubt, list[str]] = {doubt: [] for doubt in Doubt}
        for key, doubt in self.doubts.items():
            if _reached([key], self.children) & unsure:
                named[doubt].append(key)
        warnings = []
        for doubt, keys in named.items():
            more = f" and {len(keys) - MAX_PLACES} more" if len(keys) > MAX_PLACES else ""
            nodes = shorten(", ".join(keys[:MAX_PLACES])) + more
            warnings += [f"{nodes}: not proven unchanged by the state, counts as changed: {doubt}"] if keys else []
        return warnings


def compare_with_state(
    manifest: DbtManifest, state: DbtManifest, *, built: frozenset[str], built_before: frozenset[str] | None
) -> StateComparison:
    """Compare a manifest with an earlier one.

    A node that is new since then has not changed, unless a node of another id had its table: nothing that it built before can be gone.
    The macros of dbt itself and of its adapter are not looked at: they change with each upgrade. `built` are the nodes that this
    invocation built, `built_before` those that the state's built (None if that is not known).
    """
    children: dict[str, list[str]] = defaultdict(list)
    for key, node in manifest.nodes.items():
        for parent in node.parents:
            children[parent].append(key)
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


def _reached(roots: Iterable[str], children: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the roots and all that is downstream of them."""
    waiting = list(roots)
    reached = set(waiting)
    while waiting:
        new = [child for child in children.get(waiting.pop(), ()) if child not in reached]
        reached.update(new)
        waiting += new
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
