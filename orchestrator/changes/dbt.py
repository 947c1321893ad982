"""What a dbt invocation built, and whether a column may be gone: a lenient reader of `run_results.json` and `manifest.json`."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

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
from orchestrator.changes.dialects import Dialect, Folding, dialect_named
from orchestrator.changes.errors import ChangesError, TemplatedError
from orchestrator.changes.files import read_bytes
from orchestrator.changes.session import fold, parse_name
from orchestrator.text import and_more

T = TypeVar("T")

KNOWN_VERSIONS: Final = range(9, 13)
"""The manifest's versions whose fields are known: dbt 1.5 to 1.10."""
BUILDS: Final = frozenset({"run", "build", "seed", "snapshot", "retry", "clone"})
"""The commands after which `run_results.json` says what was built."""
_COMMANDS: Final = BUILDS | {"test", "compile", "docs", "run-operation", "source", "show", "list", "ls", "parse"}

_LONGEST_INTEGER: Final = 100

_REMARKS: Final = frozenset(
    {"meta", "tags", "docs", "description", "grants", "persist_docs", "group", "access", "event_time", "freshness"}
)
"""Settings of a node that cannot change its columns."""
COLUMNS_MAY_STAY: Final = "a column that dbt no longer builds may stay in its model; --dbt-state DIR, the artifacts of the run before, shows which nodes changed"
_BUILT: Final = frozenset({"success", "partial success", "warn"})
_QUIET: Final = frozenset({"no-op", "reused", "pass"})
"""Statuses of nodes that were neither built nor meant to be."""
_KINDS: Final = frozenset({"model", "seed", "snapshot"})
_TEST_ENDED: Final = frozenset({"pass", "warn", "fail"})
"""Statuses of tests that finished. A test that stores its failures has then built a table for them."""
_KEEP: Final = "run this step right after the build, or keep the build's artifacts with --target-path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one node."""

    node: str
    status: str
    message: str
    relation: str | None
    """The table or view that dbt built, as dbt writes it; None if dbt does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """One invocation's results."""

    command: str | None
    """The command, such as `build`; None if the file does not say."""
    invocation: str | None
    full_refresh: bool
    store_failures: bool
    """Whether every test that does not say otherwise stores its failures."""
    results: tuple[Result, ...]

    def built(self) -> frozenset[str]:
        """Return the models, seeds and snapshots that were built."""
        return frozenset(r.node for r in self.results if r.status in _BUILT and r.node.partition(".")[0] in _KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class DbtNode:
    """One node, source or macro of a manifest: what is needed to name it and to see that it changed."""

    kind: str
    database: str | None
    schema: str | None
    table: str | None
    relation: str | None
    materialized: str
    on_schema_change: str
    full_refresh: bool | None
    store_failures: bool | None
    parents: tuple[str, ...]
    fingerprint: bytes
    is_known_by_path: bool
    """Whether dbt's checksum is of the file's path and not of its content: a seed that is larger than 1 MiB."""
    compiled: bytes | None
    """A digest of the compiled code; None if this invocation did not compile the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DbtManifest:
    """The nodes, sources and macros, by their unique ids."""

    adapter: str
    invocation: str | None
    nodes: Mapping[str, DbtNode]
    warnings: tuple[str, ...]


def read_dbt(target_dir: str | Path, *, state_dir: str | Path | None = None) -> ChangeSet:
    """Return what the invocation with its artifacts in `target_dir` built, each table and view as a change.

    Models, seeds, snapshots and the stored failures of tests count. Without `state_dir` (the artifacts of the run before) all are
    additive, and a warning says what that may miss. With it, a node is destructive if its definition or one upstream changed, or may
    have changed, and its materialization can drop columns. Raises `ChangesError` if a file is missing, cut short or not dbt's, if it is
    of a command that builds nothing, if the files are of two invocations, or if the state is the target folder.
    """
    folder = Path(target_dir)
    results = load_results(folder)
    warnings = _check_command(results, folder)
    manifest = load_manifest(folder)
    warnings += manifest.warnings
    _check_invocation(results, manifest, folder)
    state = StateComparison()
    if state_dir is not None:
        state = _load_state(Path(state_dir), folder, results, manifest, warnings)
    source = str(folder / "run_results.json")
    changes: list[Change] = []
    lost: list[NotUnderstood] = []
    failed: list[NotRefreshed] = []
    destructive: list[str] = []
    for result in results.results:
        node = manifest.nodes.get(result.node)
        is_test = _stores_failures(result, node, results)
        if not is_test and not _is_eligible(result, node):
            continue
        is_built = is_test or result.status in _BUILT
        if not is_built or result.status == "partial success":
            failed.append(NotRefreshed(node=result.node, reason=_reason(result)))
        if not is_built:
            continue
        name = _name(node, manifest.adapter) if node is not None else None
        if node is None or name is None:
            reason = "manifest.json does not say which table this node is"
            lost.append(NotUnderstood(source=source, line=0, text=shorten(result.node), reason=reason))
            continue
        effect = _effect(result.node, node, state, full_refresh=results.full_refresh)
        reason = f"dbt {results.command or 'run'} built {result.node} ({node.materialized or node.kind})"
        if effect is Effect.DESTRUCTIVE:
            destructive.append(result.node)
            verb = "changed" if result.node in state.certain else "may have changed"
            reason += f"; its definition or one upstream of it {verb}"
        changes.append(Change(name=name, effect=effect, source=source, line=0, reason=reason))
    if changes and state_dir is None:
        warnings.append(COLUMNS_MAY_STAY)
    warnings += state.doubts_about(destructive)
    return ChangeSet(
        changes=tuple(changes), not_understood=tuple(lost), not_refreshed=tuple(failed), warnings=tuple(warnings)
    )


def _refused(what: str, path: Path, line: int = 0) -> ChangesError:
    return ChangesError(what, source=str(path), line=line, code="dbt-artifacts")


def _check_command(results: RunResults, folder: Path) -> list[str]:
    path = folder / "run_results.json"
    if results.command is None:
        return [f"{path}: does not say which command left it; read as if dbt had built what it lists"]
    if results.command not in BUILDS:
        what = f"was left by dbt {results.command}, which builds nothing: dbt overwrites this file each time; {_KEEP}"
        raise _refused(what, path)
    if results.command == "retry":
        return [f"{path}: dbt retry lists only what it ran again; what the run before it built is not in this file"]
    return []


def _check_invocation(results: RunResults, manifest: DbtManifest, folder: Path) -> None:
    """Raise `ChangesError` if the two files are of two invocations: names and settings would be those of another build."""
    seen = ""
    if results.invocation and manifest.invocation and results.invocation != manifest.invocation:
        seen = f"run_results.json is of invocation {results.invocation} and manifest.json of {manifest.invocation}"
    dialect = _dialect(manifest.adapter)
    for result in () if seen else results.results:
        node = manifest.nodes.get(result.node)
        if node is None or not node.relation or not result.relation:
            continue
        if _stored(result.relation, dialect) != _stored(node.relation, dialect):
            seen = shorten(
                f"run_results.json has {result.node} as {result.relation} and manifest.json as {node.relation}"
            )
    if seen:
        what = f"{seen}, so they are not of one invocation: another dbt command has overwritten one of them; {_KEEP}"
        raise _refused(what, folder)


def _load_state(
    folder: Path, target: Path, results: RunResults, manifest: DbtManifest, warnings: list[str]
) -> StateComparison:
    """Compare with the artifacts in the state folder. Raises `ChangesError` if it is the target folder."""
    if folder.is_dir() and folder.samefile(target):
        advice = "give the artifacts of the run before, copied to another folder"
        raise _refused(f"is the target folder itself, so no change can be seen; {advice}", folder)
    state = load_manifest(folder)
    warnings += state.warnings
    path, built = folder / "run_results.json", results.built()
    if not path.is_file():
        warnings.append(
            f"{path}: is not there, so a node whose build failed in that run counts as built; keep both files"
        )
    built_before = load_results(folder).built() if path.is_file() else built
    return compare_with_state(manifest, state, built=built, built_before=built_before)


def _is_eligible(result: Result, node: DbtNode | None) -> bool:
    """Return whether the result is of a node that is a table or view of its own."""
    kind = node.kind if node is not None and node.kind else result.node.partition(".")[0]
    ephemeral = node is not None and node.materialized == "ephemeral"
    return kind in _KINDS and not ephemeral and result.status not in _QUIET


def _stores_failures(result: Result, node: DbtNode | None, results: RunResults) -> bool:
    """Return whether the result is of a test that stored its failures. dbt builds that table even without failures."""
    if node is None or node.kind != "test" or node.relation is None or result.status not in _TEST_ENDED:
        return False
    return results.store_failures if node.store_failures is None else node.store_failures


def _reason(result: Result) -> str:
    is_partial = result.status == "partial success"
    status = "built in part: some of its batches failed" if is_partial else result.status or "no status"
    return shorten(f"{status}: {result.message}" if result.message else status)


def _name(node: DbtNode, adapter: str) -> ObjectName | None:
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


def _effect(key: str, node: DbtNode, state: StateComparison, *, full_refresh: bool) -> Effect:
    if key not in state.changed:
        return Effect.ADDITIVE
    fresh = node.full_refresh if node.full_refresh is not None else full_refresh
    grows = node.materialized == "incremental" and not fresh and node.on_schema_change != "sync_all_columns"
    return Effect.ADDITIVE if grows or node.kind == "snapshot" else Effect.DESTRUCTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class StateComparison:
    """What changed since the state was made; nothing without a state."""

    changed: frozenset[str] = frozenset()
    """The nodes whose own definition, or that of a node, source or macro upstream, changed, or may have changed."""
    certain: frozenset[str] = frozenset()
    """Those of them whose change the definitions show."""
    doubts: Mapping[str, str] = field(default_factory=dict)
    """The nodes that the state cannot judge, each with the reason."""
    children: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def doubts_about(self, destructive: Collection[str]) -> list[str]:
        """Return a warning for each doubt that is the only reason why one of these nodes is destructive."""
        unsure = frozenset(destructive) - self.certain
        named: dict[str, list[str]] = defaultdict(list)
        for key, doubt in self.doubts.items():
            if _reached([key], self.children) & unsure:
                named[doubt].append(key)
        what = "not proven unchanged by the state, counts as changed"
        return [
            f"{and_more([shorten(key) for key in keys[:MAX_PLACES]], len(keys))}: {what}: {doubt}"
            for doubt, keys in named.items()
        ]


def compare_with_state(
    manifest: DbtManifest, state: DbtManifest, *, built: frozenset[str], built_before: frozenset[str]
) -> StateComparison:
    """Compare a manifest with an earlier one.

    A new node counts as unchanged, unless a node of another id had its table: nothing of it can be gone. The macros of dbt and of its
    adapter are ignored: they change with each upgrade. `built` are the nodes that this invocation built, `built_before` those that the
    state's invocation built.
    """
    children: dict[str, list[str]] = defaultdict(list)
    for key, node in manifest.nodes.items():
        for parent in node.parents:
            children[parent].append(key)
    own = [key for key, node in manifest.nodes.items() if _differs(key, node, state, manifest.adapter)]
    doubts = {
        key: doubt
        for key in sorted(built & state.nodes.keys() & manifest.nodes.keys())
        if (doubt := _doubt(manifest.nodes[key], state.nodes[key], was_built=key in built_before))
    }
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


def _differs(key: str, node: DbtNode, state: DbtManifest, adapter: str) -> bool:
    if node.kind == "macro" and key.split(".")[1:2] in (["dbt"], [f"dbt_{adapter}"]):
        return False
    before = state.nodes.get(key)
    return before is None or before.fingerprint != node.fingerprint


def _doubt(node: DbtNode, before: DbtNode, *, was_built: bool) -> str:
    """Return why the state cannot prove that a node is unchanged; empty if it can."""
    if node.is_known_by_path or before.is_known_by_path:
        return "dbt compares a seed that is larger than 1 MiB only by its path"
    if not was_built and node.materialized != "ephemeral":
        return "the invocation of the state did not build it"
    is_other = node.compiled is not None and before.compiled is not None and node.compiled != before.compiled
    return "its compiled code differs, although its definition does not" if is_other else ""


def load_results(folder: Path) -> RunResults:
    """Read `run_results.json` in that folder. Raises `ChangesError`, on one line, if it is missing, cut short or another file."""
    document = _document(folder / "run_results.json", "results", list)
    # After `dbt retry`, `which` holds the command that was retried; the typed words are right.
    typed = (_get(document, str, "args", "invocation_command") or "").split()[1:]
    command = next((word for word in typed if word in _COMMANDS), "")
    return RunResults(
        command="retry" if command == "retry" else _get(document, str, "args", "which"),
        invocation=_get(document, str, "metadata", "invocation_id"),
        full_refresh=_get(document, bool, "args", "full_refresh") or False,
        store_failures=_get(document, bool, "args", "store_failures") or False,
        results=tuple(
            Result(
                node=_get(each, str, "unique_id") or "",
                status=(_get(each, str, "status") or "").lower(),
                message=_get(each, str, "message") or "",
                relation=_get(each, str, "relation_name"),
            )
            for each in document["results"]
        ),
    )


def load_manifest(folder: Path) -> DbtManifest:
    """Read `manifest.json` in that folder. Raises `ChangesError`, on one line, if it is missing, cut short or another file."""
    path = folder / "manifest.json"
    document = _document(path, "nodes", dict)
    version = re.search(r"/manifest/v(\d+)", _get(document, str, "metadata", "dbt_schema_version") or "")
    what = f"is of version {version[1]}" if version else "has no version"
    known = f"versions {KNOWN_VERSIONS[0]} to {KNOWN_VERSIONS[-1]} are known, so this one may not be read completely"
    is_known = version is not None and int(version[1]) in KNOWN_VERSIONS
    return DbtManifest(
        adapter=(_get(document, str, "metadata", "adapter_type") or "").lower(),
        warnings=() if is_known else (f"{path}: {what}; {known}",),
        invocation=_get(document, str, "metadata", "invocation_id"),
        nodes={
            key: _node(value, kind)
            for section, kind in (("nodes", None), ("sources", "source"), ("macros", "macro"))
            for key, value in (_get(document, dict, section) or {}).items()
            if isinstance(value, dict)
        },
    )


def _document(path: Path, key: str, kind: type) -> dict[str, Any]:
    """Read an artifact, which has a list or a mapping under that key."""
    if not path.is_file():
        raise _refused("is not there; give the folder that dbt writes its artifacts to, for example target", path)
    try:
        # Python refuses an integer of thousands of digits
        document = json.loads(
            read_bytes(path), parse_int=lambda digits: int(digits) if len(digits) < _LONGEST_INTEGER else 0
        )
    except UnicodeDecodeError as wrong:
        raise _refused("is no JSON: not UTF-8", path) from wrong
    except json.JSONDecodeError as wrong:
        what = f"is cut short or no JSON: {wrong.msg} in column {wrong.colno}"
        raise _refused(what, path, wrong.lineno) from wrong
    except RecursionError as wrong:
        raise _refused("is no artifact of dbt: nested too deeply", path) from wrong
    if not isinstance(document, dict):
        raise _refused("is no artifact of dbt: not a JSON object", path)
    if not isinstance(document.get(key), kind) or (key == "results" and "nodes" in document):
        raise _refused(f"is not what dbt writes as {path.name}: it has no {key}", path)
    return document


def _get(value: object, kind: type[T], *path: str) -> T | None:
    """Return what lies under these keys; None if it is missing or of another type."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, kind) else None


def _node(value: dict[str, Any], kind: str | None) -> DbtNode:
    listed = [*(_get(value, list, "depends_on", "nodes") or ()), *(_get(value, list, "depends_on", "macros") or ())]
    compiled = value.get("compiled_code") or value.get("compiled_sql")
    return DbtNode(
        kind=kind or _get(value, str, "resource_type") or "",
        database=_get(value, str, "database"),
        schema=_get(value, str, "schema"),
        table=_get(value, str, "alias") or _get(value, str, "identifier") or _get(value, str, "name"),
        relation=_get(value, str, "relation_name"),
        materialized=_get(value, str, "config", "materialized") or "",
        on_schema_change=_get(value, str, "config", "on_schema_change") or "",
        full_refresh=_get(value, bool, "config", "full_refresh"),
        store_failures=_stores(value),
        parents=tuple(each for each in listed if isinstance(each, str)),
        fingerprint=_fingerprint(value),
        is_known_by_path=_get(value, str, "checksum", "name") == "path",
        compiled=_digest(compiled) if compiled else None,
    )


def _stores(value: dict[str, Any]) -> bool | None:
    """Return whether a test stores its failures by its own settings; None if they do not say."""
    stored_as = _get(value, str, "config", "store_failures_as")
    return _get(value, bool, "config", "store_failures") if stored_as is None else stored_as in {"table", "view"}


def _fingerprint(value: dict[str, Any]) -> bytes:
    """Return a digest of all that can change a node's columns."""
    columns = {key: _get(column, object, "data_type") for key, column in (_get(value, dict, "columns") or {}).items()}
    code = value.get("raw_code") or value.get("raw_sql")
    table = value.get("alias") or value.get("identifier")
    settings = {key: each for key, each in (_get(value, dict, "config") or {}).items() if key not in _REMARKS}
    checksum = _get(value, object, "checksum", "checksum")
    return _digest([checksum, code, value.get("macro_sql"), table, settings, columns])


def _digest(value: object) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).digest()
