"""What reading a change costs: 5,000 migrations of 50 MB, a dbt manifest of 100 MB, and from there to each of 300 models.

`python -m benchmarks.changes`. Each figure comes from a process of its own, since memory is counted at its peak.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.dbt import read_dbt
from orchestrator.changes.files import read_ddl
from orchestrator.manifest.load import make_manifest
from orchestrator.planning.followed_change import FollowedChange, make_followed_change
from orchestrator.planning.impact import find_impacts

FILES = 5_000
BYTES = 50_000_000
NODES = 20_000
MANIFEST_BYTES = 100_000_000
MODELS = 300
SCHEMAS = 350


def main() -> None:
    """Print a row for each figure."""
    print("| what | seconds | peak memory | found |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for dialect in ("postgres", "snowflake"):
            write_migrations(root / dialect, Random(0))
            print(_measured(f"{FILES:,} {dialect} files, 50 MB", read_migrations, root / dialect), flush=True)
        write_dbt(root / "dbt", Random(0))
        print(_measured("a dbt manifest of 100 MB, 20,000 nodes", read_artifacts, root / "dbt"), flush=True)
        print(_measured("the same against the run before", read_artifacts_twice, root / "dbt"), flush=True)
        print(_measured(f"50 MB of SQL to {MODELS} models", read_and_concern, root / "postgres"), flush=True)


def write_migrations(folder: Path, rng: Random) -> None:
    """Migrations as they grow over the years: tables, columns, views and functions, and some with much data in them."""
    folder.mkdir()
    for number in range(FILES):
        schema, table = f"s{rng.randrange(SCHEMAS)}", f"t{number}"
        parts = [
            f"-- migration {number}; it's about {table}\n",
            f"CREATE TABLE {schema}.{table} (\n" + ",\n".join(f"  c{n} varchar(50)" for n in range(40)) + "\n);\n",
            f"ALTER TABLE {schema}.{table} ADD COLUMN extra integer;\nCREATE INDEX i{number} ON {schema}.{table} (c1);\n",
            f"CREATE OR REPLACE VIEW {schema}.v{number} AS SELECT c1, c2 FROM {schema}.{table} WHERE c3 <> 'a;b';\n",
        ]
        if number % 50 == 0:
            parts.append(f"ALTER TABLE {schema}.{table} DROP COLUMN c9;\n")
        size = sum(map(len, parts))
        row = f"INSERT INTO {schema}.{table} (c1, c2) VALUES ('some value; quoted ''twice''', 'another');\n"
        parts.append(row * ((BYTES // FILES - size) // len(row)))
        (folder / f"V{number:05}__{table}.sql").write_text("".join(parts), encoding="utf-8")


def write_dbt(folder: Path, rng: Random) -> None:
    """The artifacts of a project with many models, each with its code, compiled code and columns."""
    folder.mkdir()
    filler = "select column_name from somewhere where something is true -- and so on\n"
    code = filler * (MANIFEST_BYTES // NODES // 2 // len(filler) - 3)
    nodes = {}
    for number in range(NODES):
        name = f"m{number}"
        nodes[f"model.shop.{name}"] = {
            "resource_type": "model",
            "name": name,
            "alias": name,
            "database": "wh",
            "schema": f"s{rng.randrange(SCHEMAS)}",
            "relation_name": None,
            "raw_code": code,
            "compiled_code": code,
            "checksum": {"name": "sha256", "checksum": name},
            "config": {"materialized": "table", "on_schema_change": "ignore"},
            "columns": {f"c{n}": {"name": f"c{n}", "description": "", "data_type": None} for n in range(5)},
            "depends_on": {"nodes": [f"model.shop.m{rng.randrange(number)}"] if number else [], "macros": []},
        }
    metadata = {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
        "adapter_type": "snowflake",
    }
    (folder / "manifest.json").write_text(json.dumps({"metadata": metadata, "nodes": nodes}), encoding="utf-8")
    results = [{"unique_id": key, "status": "success", "message": "OK"} for key in nodes]
    document = {"metadata": {}, "args": {"which": "build"}, "results": results}
    (folder / "run_results.json").write_text(json.dumps(document), encoding="utf-8")


def read_migrations(folder: Path) -> str:
    """All of them; how many changes they hold."""
    found = _ddl(folder)
    return f"{len(found.changes):,} changes"


def read_artifacts(folder: Path) -> str:
    """What dbt built."""
    return f"{len(read_dbt(folder).changes):,} changes"


def read_artifacts_twice(folder: Path) -> str:
    """What dbt built, and which of it lost nothing since the artifacts before (here a copy)."""
    state = shutil.copytree(folder, folder.with_name("state"), copy_function=os.link)
    return f"{len(read_dbt(folder, state_dir=state).changes):,} changes"


def read_and_concern(folder: Path) -> str:
    """From the files to what each of many models gets: the seconds of the second step alone are in what was found."""
    followed: FollowedChange = make_followed_change(ddl=_ddl(folder), dbt=ChangeSet(), listed=ChangeSet())
    listed = tuple(f"warehouse.s{n}" for n in range(SCHEMAS))
    entries: list[dict[str, object]] = [
        {"id": f"00000000-0000-4000-8000-{n:012x}", "name": f"m{n}"} for n in range(MODELS)
    ]
    for n in range(0, MODELS, 2):
        entries[n] = {**entries[n], "reads": [f"s{n}", f"s{n + 1}.t*"]}
    manifest = make_manifest(
        json.dumps({"models": entries}),
        path="m.yaml",
        environ={"OMNI_BASE_URL": "https://blobsrus.omniapp.co", "OMNI_API_TOKEN": "key"},
    )
    schemas = {entry.index: listed for entry in manifest.entries if entry.reads is None}
    began_at = time.perf_counter()
    found = find_impacts(manifest.entries, followed, schemas=schemas)
    took_s = time.perf_counter() - began_at
    return f"{sum(not one.is_skipped for one in found)} models in {took_s:.2f} s"


def _ddl(folder: Path) -> ChangeSet:
    return read_ddl([str(folder)], dialect=folder.name, stdin=lambda: b"")


def _measured(what: str, work: Callable[[Path], str], folder: Path) -> str:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak, found = pool.apply(_inside, (work, folder))
    return f"| {what} | {seconds:.1f} | {peak / 1024:.0f} MiB | {found} |"


def _inside(work: Callable[[Path], str], folder: Path) -> tuple[float, int, str]:
    began_at = time.perf_counter()
    found = work(folder)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.perf_counter() - began_at, peak_kib // (1024 if sys.platform == "darwin" else 1), found


if __name__ == "__main__":
    main()
