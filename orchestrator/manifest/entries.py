"""Makes the entries under `models:`: applies the defaults, and checks the keys against each other."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import Final

from orchestrator.manifest.addresses import is_loopback
from orchestrator.manifest.diagnostics import nearest, some
from orchestrator.manifest.fields import NO_SETTINGS, FieldTable
from orchestrator.manifest.manifest import Entry, Instance, Mode, OnAmbiguous, Place, PollBounds, RefreshKind, Verify
from orchestrator.manifest.reading import ReadContext

SHORTEST_POLL_S: Final = 1.0
"""Omni allows one poll of a job per second. A simulator on this machine allows more."""

# its fields are the defaults of an entry
_UNSET: Final = Entry(index=0, name="", instance="")


class EntryReader:
    """Makes one entry after another, and checks that no two have the same name."""

    def __init__(
        self, reading: ReadContext, defaults: FieldTable, instances: MappingOf[str, Instance | None] | None
    ) -> None:
        self._reading = reading
        self._defaults = defaults
        self._instances = instances
        self._labels: dict[str, Place] = {}

    def make(self, index: int, own: FieldTable) -> Entry | None:
        """Return the entry that `own` describes, or None with errors."""
        if not ("id" in own or "model" in own or "name" in own):
            hint = "add one of them; `model` is its name in Omni"
            self._reading.error(own.place(), "a model has no `id`, `model` or `name`", code="missing-key", hint=hint)
        both = own.over(self._defaults)
        instance = self._instance(both)
        poll = self._poll(own, None if instance is None or self._instances is None else self._instances.get(instance))
        model_id, model_name, label = _identity(own, both.get("branch", str, None))
        schemas, tables = both.get("schemas", tuple, ()), both.get("tables", tuple, ())
        refresh = both.get("refresh", RefreshKind, _UNSET.refresh)
        if refresh is RefreshKind.DBT_SYNC:
            self._check_dbt_sync(own, both)
            mode = Mode.SOFT
        else:
            mode = self._mode(own, both, scopes=schemas or tables)
        if label is None or instance is None:
            return None
        self._check_label(own, label)
        if tables and not schemas:
            self._reading.warn(
                both.place("tables"),
                "`tables` without `schemas`: the server scans every schema for them",
                code="tables-without-schemas",
                hint="add `schemas` with the tables' schemas",
                entry=label,
            )
        return Entry(
            index=index,
            name=label,
            instance=instance,
            model_id=model_id,
            model_name=model_name,
            branch=both.get("branch", str, None),
            max_branches=both.get("max_branches", int, _UNSET.max_branches),
            refresh=refresh,
            mode=mode,
            mode_pinned="mode" in own,
            schemas=schemas,
            tables=tables,
            tags=both.get("tags", tuple, ()),
            connection=both.get("connection", str, None),
            reads=both.get("reads", tuple, None),
            wait=both.get("wait", bool, _UNSET.wait),
            timeout_s=both.get("timeout", float, _UNSET.timeout_s),
            retries=both.get("retries", int, _UNSET.retries),
            poll=poll,
            on_ambiguous=both.get("on_ambiguous", OnAmbiguous, _UNSET.on_ambiguous),
            verify=both.get("verify", Verify, _UNSET.verify),
            enabled=both.get("enabled", bool, _UNSET.enabled),
            place=own.place(),
        )

    def _instance(self, both: FieldTable) -> str | None:
        name = both.get("instance", str, None)
        known = self._instances
        if known is None:
            return None
        if name in known:
            return name
        if name is not None:
            near = nearest(name, known)
            hint = f"did you mean {self._reading.show(near)}?" if near else f"the instances are: {some(known)}"
            message = f"there is no instance {self._reading.show(name)}"
            self._reading.error(both.place("instance"), message, code="unknown-instance", hint=hint)
        elif "instance" not in both:
            if len(known) == 1:
                return next(iter(known))
            message = "this model has no `instance`, and there are several"
            hint = f"add `instance:` with one of {some(known)}"
            self._reading.error(both.place(), message, code="missing-instance", hint=hint)
        return None

    def _check_label(self, own: FieldTable, label: str) -> None:
        place = own.place("name") if "name" in own else own.place()
        first = self._labels.setdefault(label, place)
        if first is not place:
            hint = "give one of them another name" if "name" in own else "give this one a `name`"
            message = f"the model on line {first.line} has the name {self._reading.show(label)} already"
            self._reading.error(place, message, code="duplicate-name", hint=hint)

    def _check_dbt_sync(self, own: FieldTable, both: FieldTable) -> None:
        """Check an entry with `refresh: dbt_sync`: it needs a branch, and has no keys of a schema refresh."""
        if "branch" not in both:
            hint = "add `branch:`: a dbt sync is for a branch"
            message = "`refresh: dbt_sync` has no `branch`"
            self._reading.error(both.place("refresh"), message, code="dbt-sync", hint=hint)
        for key in ("mode", "schemas", "tables"):
            # a mode in `defaults` is meant for the other entries
            if key in own or (key in both and key != "mode"):
                origin = "" if key in own else " (from `defaults`)"
                message = (
                    f"`{key}`{origin} does not apply to `refresh: dbt_sync`, which reads the metadata of dbt alone"
                )
                hint = f"remove `{key}`, or write `refresh: schema`"
                self._reading.error(both.place(key), message, code="dbt-sync", hint=hint)

    def _mode(self, own: FieldTable, both: FieldTable, *, scopes: tuple[str, ...]) -> Mode:
        if not scopes:
            return both.get("mode", Mode, _UNSET.mode)
        if own.get("mode", Mode, None) is Mode.HARD:
            scoped = [key for key in ("schemas", "tables") if both.get(key, tuple, ())]
            origin = "" if any(key in own for key in scoped) else " (from `defaults`)"
            self._reading.error(
                own.place("mode"),
                f"`mode: hard` cannot be limited to `{scoped[0]}`{origin}: a hard refresh covers everything",
                code="hard-with-scope",
                hint="remove the scope, or write `mode: soft`",
            )
        return Mode.SOFT

    def _poll(self, own: FieldTable, instance: Instance | None) -> PollBounds:
        if "poll" not in own and "poll" not in self._defaults:
            return PollBounds()
        stated, inherited = (one.get("poll", FieldTable, NO_SETTINGS) for one in (own, self._defaults))
        poll = stated.over(inherited)
        unset = PollBounds()
        stated_min_s, stated_max_s = poll.get("min", float, None), poll.get("max", float, None)
        max_s = stated_max_s or max(unset.max_s, stated_min_s or 0.0)
        min_s = stated_min_s or min(unset.min_s, max_s)
        place = poll.place("max" if stated_min_s is None else "min")
        if min_s > max_s:
            hint = "write the smaller one as `min`"
            self._reading.error(place, "`min` of `poll` is above `max`", code="poll-bounds", hint=hint)
        base_url = "" if instance is None else instance.base_url
        if min_s < SHORTEST_POLL_S and base_url and not is_loopback(base_url):
            message, hint = "`poll` is below 1s for an instance that is not on this machine", "write 1s or more"
            self._reading.error(place, message, code="poll-too-short", hint=hint)
        return PollBounds(min_s=min_s, max_s=max_s)


def _identity(own: FieldTable, branch: str | None) -> tuple[str | None, str | None, str | None]:
    """Return the model's id, the name to look up, and the label; no label if one of the three is wrong."""
    model_id, name, model = (own.get(key, str, None) for key in ("id", "name", "model"))
    wrong = any(key in own and value is None for key, value in (("id", model_id), ("name", name), ("model", model)))
    called = model or model_id
    label = name or (f"{called}@{branch}" if called and branch else called)
    return model_id, model or (None if model_id else name), None if wrong else label
