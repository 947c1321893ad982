"""Entries, targets and inventories for tests of the plan."""

from orchestrator.manifest.manifest import Entry, Instance, Manifest, Mode, PollBounds
from orchestrator.omni.answers import ModelRecord
from orchestrator.planning.plan import Target
from tests.rehearsal import uuid

INSTANCE = Instance(name="sim", base_url="https://blobsrus.omniapp.co", keys=())
CONNECTIONS = [f"aaaaaaaa-0000-4000-8000-{n:012x}" for n in range(5)]
BRANCHES = [f"bbbbbbbb-0000-4000-8000-{n:012x}" for n in range(5)]


def entry(
    index: int,
    *,
    name: str | None = None,
    model_id: str | None = "",
    model_name: str | None = None,
    instance: str = "sim",
    connection: str | None = None,
    branch: str | None = None,
    mode: Mode = Mode.HARD,
    schemas: tuple[str, ...] = (),
    tables: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
    timeout_s: float = 60.0,
    wait: bool = True,
    enabled: bool = True,
) -> Entry:
    """An entry of a manifest; a scope makes it soft."""
    return Entry(
        index=index,
        name=name or f"m{index}",
        instance=instance,
        model_id=uuid(index) if model_id == "" else model_id,
        model_name=model_name,
        connection=connection,
        branch=branch,
        mode=Mode.SOFT if schemas or tables else mode,
        schemas=schemas,
        tables=tables,
        tags=tags,
        timeout_s=timeout_s,
        wait=wait,
        enabled=enabled,
        poll=PollBounds(),
    )


def target(of: Entry, branch_id: str | None = None) -> Target:
    """The entry as a target on the only connection."""
    assert of.model_id is not None
    return Target(entry=of, model_id=of.model_id, branch_id=branch_id, connection="wh", lane="connection wh")


def record(
    model_id: str,
    connection_id: str | None,
    *,
    name: str | None = None,
    kind: str = "SHARED",
    deleted: bool = False,
) -> ModelRecord:
    """A model as an instance lists it."""
    return ModelRecord(
        id=model_id, name=name, kind=kind, connection_id=connection_id, base_model_id=None, deleted=deleted
    )


def manifest(*entries: Entry, collapse: bool = True) -> Manifest:
    """A manifest of these entries."""
    instances = {e.instance: Instance(name=e.instance, base_url=INSTANCE.base_url, keys=()) for e in entries}
    return Manifest(path="m.yaml", sha256="", instances=instances, entries=entries, collapse=collapse)
