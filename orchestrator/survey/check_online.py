"""Compares a manifest with its instances, with few calls and no refresh.

Calls per instance: the models' look-ups, one for the connections, one for the key's roles on 100 connections, one for the
schemas of each scoped connection and branch, one for the schedules of each connection, one for the API document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial

from orchestrator.engine.calls import Calls
from orchestrator.engine.look_up import LookUp, together
from orchestrator.manifest.manifest import Entry, Manifest, RefreshKind, is_id
from orchestrator.omni.answers import ApiDocument, ConnectionRecord, ModelRecord, ModelsQuery
from orchestrator.omni.errors import CallError
from orchestrator.planning.inventory import KINDS, Inventory
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.names import may_be, patterns_of_schemas, patterns_of_tables, split_name
from orchestrator.planning.plan import Target, how_refreshed
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.finding import ConnectionSchedule, Finding, InstanceFacts, OnlineCheck, Severity, found_in
from orchestrator.survey.native_schedules import describe, next_times
from orchestrator.survey.preview import look_up
from orchestrator.survey.survey import Survey
from orchestrator.text import near_words, some

_ROLES_A_CALL = 100
_SCHEDULES_SHOWN = 5
_TIMES_SHOWN = 2
_BRANCHES_SHOWN = 5
_NAMES_SHOWN = 3
_COMPARED = 5000
_NO_BRANCH = "a run skips the entry; correct `branch` if a branch should match"
_ENOUGH = "CONNECTION_ADMIN"
_MAYBE_ENOUGH = "MODELER"


async def check_online(manifest: Manifest, survey: Survey, *, zone: tzinfo | None = None) -> OnlineCheck:
    """Return everything that contradicts the manifest or may prevent a refresh. Disabled entries are not checked.

    Times are shown in `zone` (None: local time).
    """
    enabled = tuple(entry for entry in manifest.entries if entry.enabled)
    found = await look_up(survey, enabled, everything=True)
    plan = make_plan(manifest, enabled, found.inventories)
    findings = [
        _of_instance(
            enabled,
            name,
            Severity.ERROR,
            f"the instance {name} could not be read: {words}",
            code="instance-unreachable",
        )
        for name, words in found.silent.items()
    ]
    findings += [
        found_in(u.entry, Severity.ERROR, u.message, u.hint, code="unresolved-name")
        for u in plan.unresolved
        if u.entry.instance not in found.silent
    ]
    findings += [found_in(s.entry, Severity.WARNING, s.reason, _NO_BRANCH, code="no-branch") for s in plan.skips]
    # a branch that a pattern matches has no line: its finding has the line of the pattern's entry
    patterns = {e.index: one.pattern for one in plan.expansions for e in one.entries}
    checks = [
        _Check(
            name,
            tuple(entry for entry in enabled if entry.instance == name),
            tuple(t for lane in plan.lanes if lane.instance == name for t in lane.targets),
            inventory,
            findings,
            calls=await survey.calls(name),
            reader=await survey.look_up(name),
            patterns=patterns,
            zone=zone,
        )
        for name, inventory in found.inventories.items()
        if name not in found.silent
    ]
    await together(*(check.run(survey) for check in checks))
    return OnlineCheck(
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda f: (f.place, f.severity, f.message))),
        instances=tuple(check.facts for check in checks),
    )


def _of_instance(entries: Iterable[Entry], name: str, severity: Severity, message: str, *, code: str) -> Finding:
    """Return a finding about an instance, at the place of its first model."""
    first = next(entry for entry in entries if entry.instance == name)
    return Finding(severity=severity, place=first.place, code=code, message=message)


class _Check:
    """The check of one instance."""

    def __init__(
        self,
        name: str,
        entries: Sequence[Entry],
        targets: Sequence[Target],
        inventory: Inventory,
        findings: list[Finding],
        *,
        calls: Calls,
        reader: LookUp,
        patterns: Mapping[int, Entry],
        zone: tzinfo | None,
    ) -> None:
        self._client = calls.client
        self._reader = reader
        self._name = name
        self._entries = entries
        self._inventory = inventory
        self._findings = findings
        self._patterns = patterns
        self._zone = zone
        self._document: ApiDocument | None = None
        self._schedules: list[ConnectionSchedule] = []
        self._targets = [t for t in targets if self._exists(t)]
        # by connection, as look-ups showed it; the first target stands for all of a connection
        self._roles_on: dict[str, str] = {}
        self._on: dict[str, list[Target]] = defaultdict(list)
        for target in self._targets:
            connection = inventory.records[target.model_id].connection_id
            if connection is not None:
                self._on[connection].append(target)

    async def run(self, survey: Survey) -> None:
        """Read the rest, in parallel."""
        self._branch_mode()
        try:
            await together(
                self._connections(),
                self._scopes(),
                self._permissions(survey.utcnow()),
                self._api(),
            )
        except LimiterClosed as closed:
            words = f"the instance {self._name} could not be read completely: {survey.why(closed)}"
            self._note(words, code="instance-unreachable", severity=Severity.ERROR)

    def _say(self, entry: Entry, severity: Severity, message: str, hint: str = "", *, code: str) -> None:
        self._findings.append(found_in(self._patterns.get(entry.index, entry), severity, message, hint, code=code))

    def _note(self, message: str, *, code: str, severity: Severity = Severity.WARNING) -> None:
        self._findings.append(_of_instance(self._entries, self._name, severity, message, code=code))

    @property
    def facts(self) -> InstanceFacts:
        """The facts that the instance reported."""
        schedules = sorted(self._schedules, key=lambda one: (one.names, one.schedule.cron or ""))
        return InstanceFacts(name=self._name, api_document=self._document, schedules=tuple(schedules))

    def _exists(self, target: Target) -> bool:
        """Return whether the model and the branch exist; report what does not."""
        problem = self._problem(target)
        if problem is not None:
            self._findings.append(problem)
        return problem is None

    def _problem(self, target: Target) -> Finding | None:
        """Return why a target cannot be refreshed; None if its model and branch exist."""
        entry, model = target.entry, f"the model {target.model_id}"
        error = partial(found_in, self._patterns.get(entry.index, entry), Severity.ERROR)
        record = self._inventory.records.get(target.model_id)
        if record is None:
            why = self._inventory.why(target.model_id)
            if why:
                return error(f"{model} could not be looked up{why}", code="look-up-failed")
            hint = "check the id; a missing permission can look the same"
            return error(f"there is no model {target.model_id}", hint, code="unknown-model")
        if record.deleted:
            return error(f"{model} is in the trash", "restore it, or remove the entry", code="deleted-model")
        if record.kind is not None and record.kind not in KINDS:
            hint = "name the shared model that it belongs to"
            return error(f"{model} is of kind {record.kind}, which cannot be refreshed", hint, code="model-kind")
        branches = self._inventory.branches.get(target.model_id)
        if target.branch_id is None or branches is None or any(target.branch_id == known for known, _ in branches):
            return None
        names = ", ".join(name for _, name in branches[:_BRANCHES_SHOWN])
        hint = f"there is: {names}" if names else "it has no branches"
        return error(f"the model has no branch {entry.branch}", hint, code="unknown-branch")

    def _branch_mode(self) -> None:
        """Warn of branches on a connection with several shared models: Omni refuses to refresh them (its documentation of July
        2025).
        """
        if KINDS[0] not in self._inventory.whole:
            return
        for connection, targets in self._on.items():
            on_branch = [t for t in targets if t.branch_id is not None]
            if on_branch and (count := self._known_shared(connection)) > 1:
                words = f"its connection has {count} shared models, so branch-based refresh is most likely off"
                hint = "Omni then refuses a refresh with a branch; remove `branch` to refresh the shared model"
                for target in on_branch:
                    self._say(target.entry, Severity.WARNING, words, hint, code="branch-mode")

    async def _connections(self) -> None:
        """Report each `connection:` that contradicts the instance. A label that is no connection's name is ignored."""
        said = [t for t in self._targets if t.entry.connection is not None]
        if not said:
            return
        try:
            listed: Sequence[ConnectionRecord] | None = await self._reader.read(self._client.connections)
        except CallError:
            # only administrators may list connections; the models show their connections' ids
            listed = None
        by_name: dict[str, set[str]] = defaultdict(set)
        for connection in listed or ():
            by_name[connection.name or ""].add(connection.id)
        names = {connection.id: connection.name for connection in listed or ()}
        for target in said:
            label, shown = target.entry.connection or "", self._inventory.records[target.model_id].connection_id
            meant = {label.lower()} if is_id(label) else by_name.get(label, set())
            if shown is not None and meant and shown not in meant:
                called = f"{names[shown]} ({shown})" if names.get(shown) else shown
                words = f"the manifest says connection {label}, the model is on {called}"
                hint = "correct `connection:`, or remove it"
                self._say(target.entry, Severity.ERROR, words, hint, code="wrong-connection")

    async def _permissions(self, now: datetime) -> None:
        """Check roles first: only a connection's admin may read its schedules."""
        await self._roles()
        await self._compare_schedules(now)

    async def _api(self) -> None:
        """Compare the refresh call in the instance's API document with the calls of the manifest's entries."""
        try:
            self._document = await self._reader.read(self._client.api_document, retries=0)
        except CallError as error:
            self._note(
                f"the instance {self._name} shows no API document ({error.message}): its refresh parameters are unknown",
                code="api-document",
                severity=Severity.NOTE,
            )
            return
        known = self._document.refresh_parameters
        self._note(
            f"the refresh call of the instance {self._name} takes {', '.join(known) or 'no parameters'}",
            code="api-parameters",
            severity=Severity.NOTE,
        )
        used: dict[str, list[Entry]] = defaultdict(list)
        for target in self._targets:
            for name in _parameters(target):
                used[name].append(target.entry)
        syncs = [t.entry for t in self._targets if t.entry.refresh is RefreshKind.DBT_SYNC]
        if syncs and not self._document.knows_dbt_sync:
            words = "the instance's API document has no dbt sync"
            hint = "write `refresh: schema` if the instance refuses it"
            self._say(syncs[0], Severity.WARNING, words, hint, code="api-unknown")
        for name, entries in used.items():
            if name not in known:
                more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
                words = f"this entry{more} sends `{name}`, which the refresh call in the API document does not have"
                hint = "the instance may refuse it or ignore it"
                self._say(entries[0], Severity.WARNING, words, hint, code="api-unknown")

    async def _roles(self) -> None:
        """Report keys whose role is probably too small. The API shows the role, not whether a refresh is allowed."""
        first = {targets[0].model_id: (connection, targets[0]) for connection, targets in self._on.items()}
        ids = list(first)
        for start in range(0, len(ids), _ROLES_A_CALL):
            chunk = ids[start : start + _ROLES_A_CALL]
            try:
                who = await self._reader.read(partial(self._client.whoami, chunk))
            except CallError as error:
                self._note(f"the key's roles could not be read: {error.message}", code="roles-unknown")
                return
            for role in who.roles:
                if role.model_id in first and role.base_role is not None:
                    connection, target = first[role.model_id]
                    self._roles_on[connection] = role.base_role.upper()
                    if role.base_role.upper() != _ENOUGH:
                        await self._weigh(target, connection)

    async def _weigh(self, target: Target, connection: str) -> None:
        """Warn of a role that is too small. A modeler may refresh a connection with one shared model."""
        role = self._roles_on[connection]
        words = f"the key's role on connection {connection} is {role[:40]}"
        hint = "a refresh needs Connection Admin, or Modeler if the connection has one shared model"
        if role == _MAYBE_ENOUGH:
            count = await self._shared_models(connection)
            if count is None or count < 2:
                return
            words += f", and the connection has {count} shared models"
        self._say(target.entry, Severity.WARNING, f"{words}: its refresh may be refused", hint, code="missing-role")

    async def _shared_models(self, connection: str) -> int | None:
        if KINDS[0] in self._inventory.whole:
            return self._known_shared(connection)
        query = ModelsQuery(kind=KINDS[0], connection_id=connection)
        try:
            page = await self._reader.read(partial(self._client.models, query))
        except CallError:
            return None
        return _shared_on(connection, page.records)

    def _known_shared(self, connection: str) -> int:
        return _shared_on(connection, self._inventory.records.values())

    async def _scopes(self) -> None:
        """Report each name and pattern of a scope that matches no schema of the model."""
        scoped: dict[tuple[str, str | None], list[Target]] = defaultdict(list)
        for target in self._targets:
            if target.entry.schemas or target.entry.tables:
                place = self._inventory.records[target.model_id].connection_id or target.model_id
                scoped[place, target.branch_id].append(target)
        await together(*(self._scope(targets) for targets in scoped.values()))

    async def _scope(self, targets: Sequence[Target]) -> None:
        first = targets[0]
        try:
            schemas = await self._reader.schemas(first.model_id, first.branch_id)
        except CallError as error:
            words = f"its schemas could not be read: {error.message}"
            self._say(first.entry, Severity.WARNING, words, code="look-up-failed")
            return
        for target in targets:
            for what, text in _unmatched(target.entry, schemas):
                near = near_words(text, schemas[:_COMPARED])
                hint = f"did you mean {near[0]!r}?" if near else "Omni refreshes nothing for it and reports no error"
                words = f"no schema of the model matches {what} {text!r} (unless it is new)"
                self._say(target.entry, Severity.WARNING, words, hint, code="unmatched-scope")

    async def _compare_schedules(self, now: datetime) -> None:
        """Report native schedules, which refresh the same connections: neither side waits for the other."""
        unread = 0

        async def ask(connection: str, targets: Sequence[Target]) -> None:
            nonlocal unread
            try:
                schedules = await self._reader.read(partial(self._client.schedules, connection))
            except CallError:
                unread += 1
                return
            names = tuple(dict.fromkeys(self._patterns.get(t.entry.index, t.entry).name for t in targets))
            times = [next_times(one, now, _TIMES_SHOWN) for one in schedules]
            found = [
                ConnectionSchedule(connection_id=connection, schedule=one, next_at=next_at, names=names)
                for one, next_at in zip(schedules, times, strict=True)
            ]
            self._schedules += found
            hint = "let this program run at another time, or switch the schedule off"
            for one in [one for one in found if not one.schedule.disabled][:_SCHEDULES_SHOWN]:
                words = self._scheduled(one, targets)
                self._say(targets[0].entry, Severity.WARNING, words, hint, code="native-schedule")

        admin = {c: targets for c, targets in self._on.items() if self._roles_on.get(c, _ENOUGH) == _ENOUGH}
        await together(*(ask(connection, targets) for connection, targets in admin.items()))
        unread += len(self._on) - len(admin)
        if unread:
            self._note(
                f"the key may not read the native schedules of {unread} of {len(self._on)} connections",
                code="schedules-unknown",
            )

    def _scheduled(self, found: ConnectionSchedule, targets: Sequence[Target]) -> str:
        """Return what a schedule refreshes and when, and what the manifest refreshes on the same connection."""
        schedule = found.schedule
        kind = "" if schedule.hard is None else ", hard" if schedule.hard else ", soft"
        words = f"Omni itself refreshes this connection {describe(schedule)}{kind}"
        if found.next_at:
            local = [moment.astimezone(self._zone) for moment in found.next_at]
            words += f"; next {' and '.join(f'{one:%Y-%m-%d %H:%M} {one.isoformat()[-6:]}' for one in local)}"
        modes = " and ".join(sorted({how_refreshed(target.entry) for target in targets}))
        names = some(found.names, at_most=_NAMES_SHOWN)
        return f"{words}; the manifest refreshes it ({modes}) for {names}"


def _parameters(target: Target) -> Iterator[str]:
    """Yield the parameters that a target's refresh call sends."""
    entry = target.entry
    if entry.refresh is RefreshKind.DBT_SYNC:
        return
    yield "hard_refresh"
    if target.branch_id:
        yield "branch_id"
    if entry.schemas:
        yield "schemas"
    if entry.tables:
        yield "tables"


def _shared_on(connection: str, records: Iterable[ModelRecord]) -> int:
    """Return how many shared models a connection has."""
    return sum(r.kind == KINDS[0] and r.connection_id == connection and not r.deleted for r in records)


def _unmatched(entry: Entry, schemas: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names in an entry's scope that match none of the schemas, each with its key."""
    known = [_known(name) for name in schemas]
    patterns = [("schemas", pattern) for pattern in patterns_of_schemas(entry.schemas)]
    patterns += [("tables", pattern) for pattern in patterns_of_tables(entry.tables) if pattern.schema is not None]
    for what, pattern in patterns:
        if not any(may_be(pattern.schema, schema) and may_be(pattern.catalog, catalog) for catalog, schema in known):
            yield what, pattern.text


def _known(name: str) -> tuple[str | None, str]:
    parts = split_name(name)
    return ".".join(parts[:-1]) or None, parts[-1]
