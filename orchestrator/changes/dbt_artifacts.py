"""dbt's artifacts: `run_results.json` and `manifest.json`, read leniently, kept small."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.changes.errors import ChangesError
from orchestrator.changes.files import read_bytes

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
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
    version: int | None
    invocation: str | None
    nodes: Mapping[str, Node]


def load_results(folder: Path) -> RunResults:
    """Read `run_results.json` in that folder. Raises `ChangesError`, on one line, if it is missing, cut short or another file."""
    path = folder / "run_results.json"
    document = _document(path)
    results = document.get("results")
    if not isinstance(results, list) or "nodes" in document:
        raise ChangesError(
            "is not what dbt writes as run_results.json: it has no results", source=str(path), code="dbt-artifacts"
        )
    arguments = _mapping(document.get("args"))
    return RunResults(
        command=_command(arguments),
        invocation=_text(_mapping(document.get("metadata")).get("invocation_id")),
        full_refresh=arguments.get("full_refresh") is True,
        store_failures=arguments.get("store_failures") is True,
        results=tuple(
            Result(
                node=_text(each.get("unique_id")) or "",
                status=(_text(each.get("status")) or "").lower(),
                message=_text(each.get("message")) or "",
                relation=_text(each.get("relation_name")),
            )
            for each in map(_mapping, results)
        ),
    )


def load_manifest(folder: Path) -> DbtManifest:
    """Read `manifest.json` in that folder. Raises `ChangesError`, on one line, if it is missing, cut short or another file."""
    path = folder / "manifest.json"
    document = _document(path)
    if not isinstance(document.get("nodes"), dict):
        raise ChangesError(
            "is not what dbt writes as manifest.json: it has no nodes", source=str(path), code="dbt-artifacts"
        )
    metadata = _mapping(document.get("metadata"))
    version = re.search(r"/manifest/v(\d+)", _text(metadata.get("dbt_schema_version")) or "")
    sections = {section: _mapping(document.get(section)) for section in ("nodes", "sources", "macros")}
    nodes = {key: _node(_mapping(value), name) for name, section in sections.items() for key, value in section.items()}
    return DbtManifest(
        adapter=(_text(metadata.get("adapter_type")) or "").lower(),
        version=int(version[1]) if version else None,
        invocation=_text(metadata.get("invocation_id")),
        nodes=nodes,
    )


def _command(arguments: dict[str, Any]) -> str | None:
    """Return the command that ran. After `dbt retry`, `which` holds the command that was retried; the typed words are right."""
    typed = (_text(arguments.get("invocation_command")) or "").split()[1:]
    return (
        "retry" if next((word for word in typed if word in _COMMANDS), "") == "retry" else _text(arguments.get("which"))
    )


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "is not there; give the folder that dbt writes its artifacts to, for example target"
        raise ChangesError(what, source=str(path), code="dbt-artifacts")
    data = read_bytes(path)
    try:
        # Python refuses an integer of thousands of digits
        document = json.loads(data, parse_int=lambda digits: int(digits) if len(digits) < _LONGEST_INTEGER else 0)
    except UnicodeDecodeError as wrong:
        raise ChangesError("is no JSON: not UTF-8", source=str(path), code="dbt-artifacts") from wrong
    except json.JSONDecodeError as wrong:
        what = f"is cut short or no JSON: {wrong.msg} in column {wrong.colno}"
        raise ChangesError(what, source=str(path), line=wrong.lineno, code="dbt-artifacts") from wrong
    except RecursionError as wrong:
        raise ChangesError(
            "is no artifact of dbt: nested too deeply", source=str(path), code="dbt-artifacts"
        ) from wrong
    if not isinstance(document, dict):
        raise ChangesError("is no artifact of dbt: not a JSON object", source=str(path), code="dbt-artifacts")
    return document


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> Iterable[str]:
    return (each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _node(value: dict[str, Any], section: str) -> Node:
    config = _mapping(value.get("config"))
    depends = _mapping(value.get("depends_on"))
    full_refresh = config.get("full_refresh")
    return Node(
        kind={"sources": "source", "macros": "macro"}.get(section, _text(value.get("resource_type")) or ""),
        database=_text(value.get("database")),
        schema=_text(value.get("schema")),
        table=_text(value.get("alias")) or _text(value.get("identifier")) or _text(value.get("name")),
        relation=_text(value.get("relation_name")),
        materialized=_text(config.get("materialized")) or "",
        on_schema_change=_text(config.get("on_schema_change")) or "",
        full_refresh=full_refresh if isinstance(full_refresh, bool) else None,
        store_failures=_stores(config),
        parents=(*_texts(depends.get("nodes")), *_texts(depends.get("macros"))),
        fingerprint=_fingerprint(value, config),
        is_known_by_path=_mapping(value.get("checksum")).get("name") == "path",
        compiled=_digest(compiled) if (compiled := value.get("compiled_code") or value.get("compiled_sql")) else None,
    )


def _stores(config: dict[str, Any]) -> bool | None:
    """Return whether a test stores its failures by its own settings; None if they do not say."""
    stored_as, stores = config.get("store_failures_as"), config.get("store_failures")
    if isinstance(stored_as, str):
        return stored_as in {"table", "view"}
    return stores if isinstance(stores, bool) else None


def _fingerprint(value: dict[str, Any], config: dict[str, Any]) -> bytes:
    """Return a digest of all that can change a node's columns."""
    columns = {key: _mapping(column).get("data_type") for key, column in _mapping(value.get("columns")).items()}
    code = value.get("raw_code") or value.get("raw_sql")
    table = value.get("alias") or value.get("identifier")
    settings = {key: each for key, each in config.items() if key not in _REMARKS}
    checksum = _mapping(value.get("checksum")).get("checksum")
    return _digest([checksum, code, value.get("macro_sql"), table, settings, columns])


def _digest(value: object) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).digest()
