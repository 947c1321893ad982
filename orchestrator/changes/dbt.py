"""What a dbt invocation built, and whether a column may be gone."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

from orchestrator.changes.change_set import Change, ChangeSet, Effect, Name, NotRefreshed, NotUnderstood, shorten
from orchestrator.changes.dbt_artifacts import (
    BUILDS,
    KNOWN_VERSIONS,
    Manifest,
    Node,
    Result,
    RunResults,
    load_manifest,
    load_results,
)
from orchestrator.changes.dialects import DIALECTS, Dialect, Folding
from orchestrator.changes.errors import ChangesError, TemplatedError
from orchestrator.changes.names import fold, parse_name

COLUMNS_MAY_STAY: Final = "a column that dbt no longer builds may stay in its model; --dbt-state DIR, the artifacts of the run before, tells which nodes changed"
_BUILT: Final = frozenset({"success", "partial success"})
_QUIET: Final = frozenset({"no-op", "reused", "pass", "warn"})
"""Statuses of nodes that were neither built nor meant to be."""
_KINDS: Final = frozenset({"model", "seed", "snapshot"})
_DIALECTS: Final = {
    "spark": "databricks",
    "sqlserver": "tsql",
    "fabric": "tsql",
    "synapse": "tsql",
    "mariadb": "mysql",
}


def read_dbt(target_dir: str | Path, *, state_dir: str | Path | None = None) -> ChangeSet:
    """What the invocation whose artifacts lie in `target_dir` built: models, seeds and snapshots, each as a change.

    Without `state_dir` all are additive, and a warning says what that may miss. With it (a folder with the `manifest.json` of the run
    before) a node is destructive if its own definition or one upstream of it changed, and its materialization can drop columns.
    Raises `ChangesError` if a file is missing, cut short or another one, or if another command left `run_results.json`.
    """
    folder = Path(target_dir)
    results = load_results(folder)
    warnings = _check_command(results, folder)
    manifest = load_manifest(folder)
    warnings += _check_version(manifest, folder)
    changed: frozenset[str] | None = None
    if state_dir is not None:
        state = load_manifest(Path(state_dir))
        warnings += _check_version(state, Path(state_dir))
        changed = changed_nodes(manifest, state)
    source = str(folder / "run_results.json")
    changes: list[Change] = []
    lost: list[NotUnderstood] = []
    failed: list[NotRefreshed] = []
    for result in results.results:
        node = manifest.nodes.get(result.node)
        if not _is_eligible(result, node):
            continue
        if result.status not in _BUILT:
            failed.append(NotRefreshed(node=result.node, reason=_reason(result)))
            continue
        if result.status == "partial success":
            failed.append(NotRefreshed(node=result.node, reason=_reason(result)))
        name = _name(node, manifest.adapter) if node is not None else None
        if node is None or name is None:
            reason = "manifest.json does not say which table this node is"
            lost.append(NotUnderstood(source=source, line=0, text=shorten(result.node), reason=reason))
            continue
        effect = _effect(result.node, node, changed, full_refresh=results.full_refresh)
        changes.append(
            Change(name=name, effect=effect, source=source, line=0, reason=_why(result, node, effect, results))
        )
    if changes and changed is None:
        warnings.append(COLUMNS_MAY_STAY)
    return ChangeSet(
        changes=tuple(changes), not_understood=tuple(lost), not_refreshed=tuple(failed), warnings=tuple(warnings)
    )


def _check_command(results: RunResults, folder: Path) -> list[str]:
    path = folder / "run_results.json"
    if results.command is None:
        return [f"{path}: does not say which command left it; read as if dbt had built what it lists"]
    if results.command not in BUILDS:
        raise ChangesError(
            f"was left by dbt {results.command}, which builds nothing: dbt overwrites this file each time; "
            "run this step right after the build, or keep the build's artifacts with --target-path",
            source=str(path),
        )
    if results.command == "retry":
        return [f"{path}: dbt retry lists only what it ran again; what the run before it built is not in this file"]
    return []


def _check_version(manifest: Manifest, folder: Path) -> list[str]:
    path = folder / "manifest.json"
    if manifest.version in KNOWN_VERSIONS:
        return []
    what = "has no version" if manifest.version is None else f"is of version {manifest.version}"
    return [
        f"{path}: {what}; versions {KNOWN_VERSIONS[0]} to {KNOWN_VERSIONS[-1]} are known, so this one is read as far as it goes"
    ]


def _is_eligible(result: Result, node: Node | None) -> bool:
    """Whether the result is of a node that is a table or view of its own."""
    kind = node.kind if node is not None and node.kind else result.node.partition(".")[0]
    ephemeral = node is not None and node.materialized == "ephemeral"
    return kind in _KINDS and not ephemeral and result.status not in _QUIET


def _reason(result: Result) -> str:
    status = {"partial success": "built in part: some of its batches failed"}.get(
        result.status, result.status or "no status"
    )
    return shorten(f"{status}: {result.message}" if result.message else status)


def _why(result: Result, node: Node, effect: Effect, results: RunResults) -> str:
    what = node.materialized or node.kind
    also = "; its definition or one upstream of it changed" if effect is Effect.DESTRUCTIVE else ""
    return f"dbt {results.command or 'run'} built {result.node} ({what}){also}"


def _name(node: Node, adapter: str) -> Name | None:
    """The node's table as the warehouse stores it."""
    dialect = DIALECTS.get(_DIALECTS.get(adapter, adapter), DIALECTS["duckdb"])
    if node.relation:
        try:
            parts = parse_name(node.relation, dialect)
        except TemplatedError:
            parts = None
        if parts is not None and len(parts) <= 3:
            stored = [fold(part, dialect) for part in parts]
            return Name(*([None] * (3 - len(stored))), *stored)
    if node.schema is None or node.table is None:
        return None
    catalog = _kept(node.database, dialect) if node.database else None
    return Name(catalog, _kept(node.schema, dialect), _kept(node.table, dialect))


def _kept(part: str, dialect: Dialect) -> str:
    """A part that dbt writes without quotes where the warehouse is Snowflake, and in quotes elsewhere."""
    if dialect.folding is Folding.UPPER and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", part):
        return part.upper()
    return part.lower() if dialect.folding is Folding.ALL_LOWER else part


def _effect(key: str, node: Node, changed: frozenset[str] | None, *, full_refresh: bool) -> Effect:
    if changed is None or key not in changed:
        return Effect.ADDITIVE
    fresh = node.full_refresh if node.full_refresh is not None else full_refresh
    if node.kind == "snapshot" or (
        node.materialized == "incremental" and not fresh and node.on_schema_change != "sync_all_columns"
    ):
        return Effect.ADDITIVE
    return Effect.DESTRUCTIVE


def changed_nodes(manifest: Manifest, state: Manifest) -> frozenset[str]:
    """The nodes whose own definition, or that of a node, source or macro upstream, is another one than in `state`.

    A node that is new there is none of them, unless a node of another id had its table: nothing that it built before can be gone. The
    macros of dbt itself and of its adapter are not looked at: they change with each upgrade.
    """
    own = {key for key, node in manifest.nodes.items() if _differs(key, node, state, manifest.adapter)}
    children: dict[str, list[str]] = defaultdict(list)
    for key, node in manifest.nodes.items():
        for parent in node.parents:
            children[parent].append(key)
    reached = set(own)
    waiting = list(own)
    while waiting:
        for child in children[waiting.pop()]:
            if child not in reached:
                reached.add(child)
                waiting.append(child)
    taken = {node.relation for node in state.nodes.values() if node.relation}
    return frozenset(key for key in reached if key in state.nodes or manifest.nodes[key].relation in taken)


def _differs(key: str, node: Node, state: Manifest, adapter: str) -> bool:
    if node.kind == "macro" and key.split(".")[1:2] in (["dbt"], [f"dbt_{adapter}"]):
        return False
    before = state.nodes.get(key)
    return before is None or before.fingerprint != node.fingerprint
