"""`python -m benchmarks.make_plan`: how long a plan of 100,000 targets takes, and the refreshes of its lanes in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from orchestrator.manifest.manifest import Entry, Instance, Manifest, Mode
from orchestrator.omni.answers import ModelRecord
from orchestrator.planning.inventory import Inventory
from orchestrator.planning.lanes import refreshes
from orchestrator.planning.make_plan import make_plan
from orchestrator.simulator.field_types import derive_id

TARGETS, MODELS, CONNECTIONS = 100_000, 52_000, 4_000
_INSTANCE = Instance(name="bench", base_url="https://blobsrus.omniapp.co", keys=())
_HEAD = "| the manifest | make_plan | all refreshes | lanes | refreshes |\n|---|---:|---:|---:|---:|"


def _connection(number: int) -> str:
    return derive_id("connection", str(number % CONNECTIONS))


def _record(number: int) -> ModelRecord:
    return ModelRecord(
        id=derive_id("model", str(number)),
        name=f"Model {number}",
        kind="SHARED",
        connection_id=_connection(number),
        base_model_id=None,
        deleted=False,
    )


def _entry(
    number: int, *, model_id: str | None = None, model_name: str | None = None, connection: str | None = None
) -> Entry:
    schemas = (f"schema_{number % 7}",) if number % 3 else ()
    return Entry(
        index=number,
        name=f"m{number}",
        instance="bench",
        model_id=model_id,
        model_name=model_name,
        connection=connection,
        mode=Mode.HARD if not schemas and number % 2 else Mode.SOFT,
        schemas=schemas,
    )


def by_name(number: int) -> Entry:
    """An entry whose model was looked up by its name."""
    return _entry(number, model_name=f"Model {number % MODELS}")


def by_id(number: int) -> Entry:
    """An entry whose model was looked up by its id."""
    return _entry(number, model_id=derive_id("model", str(number % MODELS)))


def by_label(number: int) -> Entry:
    """An entry that says its id and its connection: nothing was looked up."""
    return _entry(number, model_id=derive_id("model", str(number % MODELS)), connection=f"c{number % CONNECTIONS}")


def main() -> None:
    """Print one row for each way to name models."""
    print(f"{TARGETS:,} targets of {MODELS:,} models on {CONNECTIONS:,} connections\n\n{_HEAD}")
    records = {record.id: record for record in map(_record, range(MODELS))}
    shown = {"bench": Inventory(records=records)}
    cases: Sequence[tuple[str, Callable[[int], Entry], dict[str, Inventory]]] = (
        ("names, looked up", by_name, shown),
        ("ids, looked up", by_id, shown),
        ("ids and labels", by_label, {}),
    )
    for words, entry, inventories in cases:
        entries = tuple(map(entry, range(TARGETS)))
        manifest = Manifest(path="bench", sha256="", instances={"bench": _INSTANCE}, entries=entries)
        began_at = time.perf_counter()
        plan = make_plan(manifest, entries, inventories)
        planned_at = time.perf_counter()
        count = sum(1 for lane in plan.lanes for _ in refreshes(lane.targets, manifest))
        ended_at = time.perf_counter()
        assert not plan.unresolved
        print(
            f"| {words} | {planned_at - began_at:.2f} s | {ended_at - planned_at:.2f} s "
            f"| {len(plan.lanes):,} | {count:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
