"""The entries under `models:`, with their defaults applied and their keys checked against each other."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import Final, TypeVar

from orchestrator.manifest.addresses import is_loopback
from orchestrator.manifest.diagnostics import nearest, some
from orchestrator.manifest.fields import NO_SETTINGS, FieldTable
from orchestrator.manifest.manifest import Entry, Instance, Mode, OnAmbiguous, Place, PollBounds, RefreshKind, Verify
from orchestrator.manifest.reading import ReadContext

_T = TypeVar("_T")

SHORTEST_POLL_S: Final = 1.0
"""Omni allows one poll of a job per second; a simulator on this machine allows more."""

_DEFAULT_TIMEOUT_S: Final = 1_800.0
_DEFAULT_RETRIES: Final = 3
_DEFAULT_MAX_BRANCHES: Final = 20


class EntryReader:
    """Makes entries one after another, and checks that no label occurs twice."""

    def __init__(
        self, reading: ReadContext, defaults: FieldTable, instances: MappingOf[str, Instance | None] | None
    ) -> None:
        self._reading = reading
        self._defaults = defaults
        self._instances = instances
        self._labels: dict[str, Place] = {}

    def make(self, index: int, own: FieldTable) -> Entry | None:
        """The entry that `own` describes, or None with errors."""
        if not ("id" in own or "model" in own or "name" in own):
            hint = "add one of them; `model` is its name in Omni"
            self._reading.error(own.place(), "a model has no `id`, `model` or `name`", code="missing-key", hint=hint)
        instance = self._instance(own)
        poll = self._poll(own, None if instance is None or self._instances is None else self._instances.get(instance))
        model_id, model_name, label = self._identity(own)
        schemas, tables = self._get(own, "schemas", tuple) or (), self._get(own, "tables", tuple) or ()
        refresh = self._get(own, "refresh", RefreshKind) or RefreshKind.SCHEMA
        is_sync = refresh is RefreshKind.DBT_SYNC
        if is_sync:
            self._check_dbt_sync(own)
        mode = Mode.SOFT if is_sync else self._mode(own, scoped=bool(schemas or tables))
        if label is None or instance is None:
            return None
        self._check_label(own, label)
        if tables and not schemas:
            self._reading.warn(
                self._place(own, "tables"),
                "`tables` without `schemas`: the server scans every schema for them",
                code="tables-without-schemas",
                hint="add `schemas` with the tables' schemas",
                entry=label,
            )
        wait, enabled = self._get(own, "wait", bool), self._get(own, "enabled", bool)
        retries = self._get(own, "retries", int)
        return Entry(
            index=index,
            name=label,
            instance=instance,
            model_id=model_id,
            model_name=model_name,
            branch=self._get(own, "branch", str),
            max_branches=self._get(own, "max_branches", int) or _DEFAULT_MAX_BRANCHES,
            refresh=refresh,
            mode=mode,
            mode_pinned="mode" in own,
            schemas=schemas,
            tables=tables,
            tags=self._get(own, "tags", tuple) or (),
            connection=self._get(own, "connection", str),
            reads=self._get(own, "reads", tuple),
            wait=True if wait is None else wait,
            timeout_s=self._get(own, "timeout", float) or _DEFAULT_TIMEOUT_S,
            retries=_DEFAULT_RETRIES if retries is None else retries,
            poll=poll,
            on_ambiguous=self._get(own, "on_ambiguous", OnAmbiguous) or OnAmbiguous.REPORT,
            verify=self._get(own, "verify", Verify) or Verify.NONE,
            enabled=True if enabled is None else enabled,
            place=own.place(),
        )

    def _get(self, own: FieldTable, key: str, kind: type[_T]) -> _T | None:
        """The model's own value, else the default's. The default does not replace a wrong value of the model."""
        return (own if key in own else self._defaults).get(key, kind)

    def _place(self, own: FieldTable, key: str) -> Place:
        return (own if key in own else self._defaults).place(key)

    def _instance(self, own: FieldTable) -> str | None:
        name = self._get(own, "instance", str)
        known = self._instances
        if known is None:
            return None
        if name in known:
            return name
        if name is not None:
            near = nearest(name, known)
            hint = f"did you mean {self._reading.show(near)}?" if near else f"the instances are: {some(known)}"
            message = f"there is no instance {self._reading.show(name)}"
            self._reading.error(self._place(own, "instance"), message, code="unknown-instance", hint=hint)
        elif "instance" not in own and "instance" not in self._defaults:
            if len(known) == 1:
                return next(iter(known))
            message, hint = (
                "this model has no `instance`, and there are several",
                f"add `instance:` with one of {some(known)}",
            )
            self._reading.error(own.place(), message, code="missing-instance", hint=hint)
        return None

    def _identity(self, own: FieldTable) -> tuple[str | None, str | None, str | None]:
        """The model's id, the name that is looked up, and the label; no label if one of them is wrong."""
        model_id, name, model = own.get("id", str), own.get("name", str), own.get("model", str)
        wrong = any(key in own and value is None for key, value in (("id", model_id), ("name", name), ("model", model)))
        called = model or model_id
        branch = self._get(own, "branch", str)
        label = name or (f"{called}@{branch}" if called and branch else called)
        return model_id, model or (None if model_id else name), None if wrong else label

    def _check_label(self, own: FieldTable, label: str) -> None:
        place = own.place("name") if "name" in own else own.place()
        first = self._labels.setdefault(label, place)
        if first is not place:
            hint = "give one of them another name" if "name" in own else "give this one a `name`"
            message = f"the model on line {first.line} has the name {self._reading.show(label)} already"
            self._reading.error(place, message, code="duplicate-name", hint=hint)

    def _check_dbt_sync(self, own: FieldTable) -> None:
        """Check that an entry with `refresh: dbt_sync` has a branch, and nothing that only a schema refresh takes."""
        place = self._place(own, "refresh")
        if "branch" not in own and "branch" not in self._defaults:
            hint = "add `branch:`: a dbt sync is for a branch"
            self._reading.error(place, "`refresh: dbt_sync` has no `branch`", code="dbt-sync", hint=hint)
        for key in ("mode", "schemas", "tables"):
            if key in own or (key != "mode" and key in self._defaults):
                origin = "" if key in own else " (from `defaults`)"
                message = (
                    f"`{key}`{origin} does not apply to `refresh: dbt_sync`, which reads the metadata of dbt alone"
                )
                hint = f"remove `{key}`, or write `refresh: schema`"
                self._reading.error(self._place(own, key), message, code="dbt-sync", hint=hint)

    def _mode(self, own: FieldTable, *, scoped: bool) -> Mode:
        pinned = own.get("mode", Mode)
        if not scoped:
            return pinned or self._get(own, "mode", Mode) or Mode.HARD
        if pinned is Mode.HARD:
            scopes = [key for key in ("schemas", "tables") if self._get(own, key, tuple)]
            origin = "" if any(key in own for key in scopes) else " (from `defaults`)"
            self._reading.error(
                own.place("mode"),
                f"`mode: hard` cannot be limited to `{scopes[0]}`{origin}: a hard refresh covers everything",
                code="hard-with-scope",
                hint="remove the scope, or write `mode: soft`",
            )
        return Mode.SOFT

    def _poll(self, own: FieldTable, instance: Instance | None) -> PollBounds:
        stated = {}
        for bound in ("min", "max"):
            for layer in (own, self._defaults):
                poll = layer.get("poll", FieldTable) or NO_SETTINGS
                value = poll.get(bound, float)
                if value is not None:
                    stated[bound] = (value, poll.place(bound))
                    break
        if not stated:
            return PollBounds()
        fallback = PollBounds()
        max_s = stated["max"][0] if "max" in stated else max(fallback.max_s, stated["min"][0])
        min_s = stated["min"][0] if "min" in stated else min(fallback.min_s, max_s)
        place = stated["min" if "min" in stated else "max"][1]
        if min_s > max_s:
            hint = "write the smaller one as `min`"
            self._reading.error(place, "`min` of `poll` is above `max`", code="poll-bounds", hint=hint)
        if (
            min_s < SHORTEST_POLL_S
            and instance is not None
            and instance.base_url
            and not is_loopback(instance.base_url)
        ):
            message, hint = "`poll` is below 1s for an instance that is not on this machine", "write 1s or more"
            self._reading.error(place, message, code="poll-too-short", hint=hint)
        return PollBounds(min_s=min_s, max_s=max_s)
