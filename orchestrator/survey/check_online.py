"""Is a manifest true? Asks its instances for what it names: reads only, and few of them.

Calls for an instance: the models' look-ups, one for the connections, one for the key's roles (for 100 connections), one
for each scoped connection and branch (its schemas), one for each connection (its schedules), one for the API document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial

from orchestrator.engine.calls import Calls
from orchestrator.engine.look_up import LookUp, together
from orchestrator.manifest.manifest import Entry, Manifest, RefreshKind, is_id
from orchestrator.omni.answers import ApiDocument, ConnectionRecord, ModelsQuery
from orchestrator.omni.errors import CallError
from orchestrator.planning.inventory import KINDS, Inventory
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.names import may_be, patterns_of_schemas, patterns_of_tables, split_name
from orchestrator.planning.plan import Target, how_refreshed
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.finding import ConnectionSchedule, Finding, InstanceFacts, OnlineCheck, Severity, found_in
from orchestrator.survey.native_schedules import describe, next_times
from orchestrator.survey.plan_warnings import some
from orchestrator.survey.preview import look_up
from orchestrator.survey.survey import Survey
from orchestrator.text import near_words

_ROLES_A_CALL = 100
_SCHEDULES_TOLD = 5
_TIMES_SHOWN = 2
_NO_BRANCH = "a run skips the entry; correct `branch` if a branch should match"
_ENOUGH = "CONNECTION_ADMIN"
_MAYBE_ENOUGH = "MODELER"


async def check_online(manifest: Manifest, survey: Survey, *, zone: tzinfo | None = None) -> OnlineCheck:
    """Return everything that is not as the manifest says, or may keep it from being refreshed. Disabled entries are left out.

    Times are shown in `zone` (None: local time).
    """
    enabled = tuple(entry for entry in manifest.entries if entry.enabled)
    found = await look_up(survey, enabled, everything=True)
    plan = make_plan(manifest, enabled, found.inventories)
    findings: list[Finding] = []
    for name, words in found.silent.items():
        findings.append(
            _of_instance(
                enabled,
                name,
                Severity.ERROR,
                f"the instance {name} could not be asked: {words}",
                code="instance-unreachable",
            )
        )
    findings += [
        found_in(u.entry, Severity.ERROR, u.message, u.hint, code="unresolved-name")
        for u in plan.unresolved
        if u.entry.instance not in found.silent
    ]
    findings += [found_in(s.entry, Severity.WARNING, s.reason, _NO_BRANCH, code="no-branch") for s in plan.skips]
    # a branch has no line of its own: a finding is about the entry whose pattern it matches
    patterns = {e.index: one.pattern for one in plan.expansions for e in one.entries}
    checks = [
        _Check(
            name,
            tuple(entry for entry in enabled if entry.instance == name),
            tuple(t for lane in plan.lanes if lane.instance == name for t in lane.targets),
            inventory,
            findings,
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
    """A finding about an instance stands where its first model does."""
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
        patterns: Mapping[int, Entry],
        zone: tzinfo | None,
    ) -> None:
        self._name = name
        self._entries = entries
        self._inventory = inventory
        self._findings = findings
        self._patterns = patterns
        self._zone = zone
        self._document: ApiDocument | None = None
        self._schedules: list[ConnectionSchedule] = []
        self._targets = [t for t in targets if self._exists(t)]
        # by connection, as look-ups showed it; one target speaks for all of a connection
        self._roles_on: dict[str, str] = {}
        self._on: dict[str, list[Target]] = defaultdict(list)
        for target in self._targets:
            connection = inventory.records[target.model_id].connection_id
            if connection is not None:
                self._on[connection].append(target)

    async def run(self, survey: Survey) -> None:
        """Ask for the rest, side by side."""
        calls, reader = await survey.calls(self._name), await survey.look_up(self._name)
        self._branch_mode()
        try:
            await together(
                self._connections(calls, reader),
                self._scopes(reader),
                self._permissions(calls, reader, survey.utcnow()),
                self._api(calls, reader),
            )
        except LimiterClosed as closed:
            words = f"the instance {self._name} could not be asked for everything: {survey.why(closed)}"
            self._findings.append(
                _of_instance(self._entries, self._name, Severity.ERROR, words, code="instance-unreachable")
            )

    def _say(self, entry: Entry, severity: Severity, message: str, hint: str = "", *, code: str) -> None:
        self._findings.append(found_in(self._patterns.get(entry.index, entry), severity, message, hint, code=code))

    def _note(self, message: str, *, code: str, severity: Severity = Severity.WARNING) -> None:
        self._findings.append(_of_instance(self._entries, self._name, severity, message, code=code))

    @property
    def facts(self) -> InstanceFacts:
        """What the instance said of itself."""
        schedules = sorted(self._schedules, key=lambda one: (one.names, one.schedule.cron or ""))
        return InstanceFacts(name=self._name, api_document=self._document, schedules=tuple(schedules))

    def _exists(self, target: Target) -> bool:
        """Return whether the model and the branch exist; report what does not."""
        entry, inventory = target.entry, self._inventory
        record = inventory.records.get(target.model_id)
        if record is None:
            why = inventory.why(target.model_id)
            if why:
                self._say(
                    entry,
                    Severity.ERROR,
                    f"the model {target.model_id} could not be looked up{why}",
                    code="look-up-failed",
                )
            else:
                words = f"there is no model {target.model_id}"
                self._say(
                    entry,
                    Severity.ERROR,
                    words,
                    "check the id; a missing permission can look the same",
                    code="unknown-model",
                )
            return False
        if record.deleted:
            self._say(
                entry,
                Severity.ERROR,
                f"the model {target.model_id} is in the trash",
                "restore it, or remove the entry",
                code="deleted-model",
            )
            return False
        if record.kind is not None and record.kind not in KINDS:
            words = f"the model {target.model_id} is of kind {record.kind}, which cannot be refreshed"
            self._say(entry, Severity.ERROR, words, "name the shared model that it belongs to", code="model-kind")
            return False
        branches = inventory.branches.get(target.model_id)
        if target.branch_id is None or branches is None or target.branch_id in {branch_id for branch_id, _ in branches}:
            return True
        self._say(
            entry,
            Severity.ERROR,
            f"the model has no branch {entry.branch}",
            _some_branches(branches),
            code="unknown-branch",
        )
        return False

    def _branch_mode(self) -> None:
        """A connection with several shared models cannot have branch-based schema refresh (Omni's documentation, July
        2025), so that a refresh with a branch is refused there.
        """
        if KINDS[0] not in self._inventory.whole:
            return
        for connection, targets in self._on.items():
            on_branch = [t for t in targets if t.branch_id is not None]
            if on_branch and (count := self._known_shared(connection)) > 1:
                words = (
                    f"its connection has {count} shared models, so that branch-based refresh is most likely off there"
                )
                hint = "a refresh with a branch is then refused; leave `branch` out to refresh the shared model"
                for target in on_branch:
                    self._say(target.entry, Severity.WARNING, words, hint, code="branch-mode")

    async def _connections(self, calls: Calls, reader: LookUp) -> None:
        """Whether `connection:` says what the instance says. A label that is no connection's name is only a label."""
        said = [t for t in self._targets if t.entry.connection is not None]
        if not said:
            return
        try:
            listed: Sequence[ConnectionRecord] | None = await reader.read(calls.client.connections)
        except CallError:
            # the list is for administrators; what the models show is known without it
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
                self._say(
                    target.entry,
                    Severity.ERROR,
                    words,
                    "correct `connection:`, or leave it out",
                    code="wrong-connection",
                )

    async def _permissions(self, calls: Calls, reader: LookUp, now: datetime) -> None:
        """Roles first: only a connection's admin may read its schedules."""
        await self._roles(calls, reader)
        await self._compare_schedules(calls, reader, now)

    async def _api(self, calls: Calls, reader: LookUp) -> None:
        """Compare what the instance's own API document says of the refresh call with what the manifest's entries send."""
        try:
            self._document = await reader.read(calls.client.api_document, retries=0)
        except CallError as error:
            self._note(
                f"the instance {self._name} shows no API document ({error.message}): what its refresh call takes is not known",
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
            words, hint = (
                "the instance's API document has no dbt sync",
                "write `refresh: schema` if the instance refuses it",
            )
            self._say(syncs[0], Severity.WARNING, words, hint, code="api-unknown")
        for name, entries in used.items():
            if name not in known:
                more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
                words = (
                    f"the instance's API document has no `{name}` for the refresh call, which this entry{more} sends"
                )
                self._say(
                    entries[0], Severity.WARNING, words, "the instance may refuse it or ignore it", code="api-unknown"
                )

    async def _roles(self, calls: Calls, reader: LookUp) -> None:
        """Report keys whose role is likely not to suffice. The API names the role, not whether a refresh is allowed."""
        first = {targets[0].model_id: (connection, targets[0]) for connection, targets in self._on.items()}
        ids = list(first)
        for start in range(0, len(ids), _ROLES_A_CALL):
            chunk = ids[start : start + _ROLES_A_CALL]
            try:
                who = await reader.read(partial(calls.client.whoami, chunk))
            except CallError as error:
                self._note(f"the key's roles could not be asked for: {error.message}", code="roles-unknown")
                return
            for role in who.roles:
                if role.model_id in first and role.base_role is not None:
                    connection, target = first[role.model_id]
                    self._roles_on[connection] = role.base_role.upper()
                    if role.base_role.upper() != _ENOUGH:
                        await self._weigh(calls, reader, target, connection)

    async def _weigh(self, calls: Calls, reader: LookUp, target: Target, connection: str) -> None:
        """Warn of a role that is too small: a modeler may refresh where the connection has one shared model."""
        role = self._roles_on[connection]
        words = f"the key's role on connection {connection} is {role[:40]}"
        hint = "a refresh needs Connection Admin, or Modeler where the connection has one shared model"
        if role == _MAYBE_ENOUGH:
            count = await self._shared_models(calls, reader, connection)
            if count is None or count < 2:
                return
            words += f", and the connection has {count} shared models"
        self._say(target.entry, Severity.WARNING, f"{words}: its refresh may be refused", hint, code="missing-role")

    async def _shared_models(self, calls: Calls, reader: LookUp, connection: str) -> int | None:
        if KINDS[0] in self._inventory.whole:
            return self._known_shared(connection)
        query = ModelsQuery(kind=KINDS[0], connection_id=connection)
        try:
            page = await reader.read(partial(calls.client.models, query))
        except CallError:
            return None
        return sum(r.kind == KINDS[0] and r.connection_id == connection and not r.deleted for r in page.records)

    def _known_shared(self, connection: str) -> int:
        return sum(
            r.kind == KINDS[0] and r.connection_id == connection and not r.deleted
            for r in self._inventory.records.values()
        )

    async def _scopes(self, reader: LookUp) -> None:
        """Whether each name and pattern of a scope fits any schema that the model shows."""
        scoped: dict[tuple[str, str | None], list[Target]] = defaultdict(list)
        for target in self._targets:
            if target.entry.schemas or target.entry.tables:
                place = self._inventory.records[target.model_id].connection_id or target.model_id
                scoped[place, target.branch_id].append(target)
        await together(*(self._scope(reader, targets) for targets in scoped.values()))

    async def _scope(self, reader: LookUp, targets: Sequence[Target]) -> None:
        first = targets[0]
        try:
            schemas = await reader.schemas(first.model_id, first.branch_id)
        except CallError as error:
            self._say(
                first.entry, Severity.WARNING, f"its schemas could not be read: {error.message}", code="look-up-failed"
            )
            return
        for target in targets:
            for what, text in _unmatched(target.entry, schemas):
                near = near_words(text, schemas[:5000])
                hint = (
                    f"did you mean {near[0]!r}?"
                    if near
                    else "a name that fits nothing is no error to Omni: nothing is refreshed"
                )
                self._say(
                    target.entry,
                    Severity.WARNING,
                    f"no schema of the model fits {what} {text!r} (unless it is brand new)",
                    hint,
                    code="unmatched-scope",
                )

    async def _compare_schedules(self, calls: Calls, reader: LookUp, now: datetime) -> None:
        """Report native schedules: they refresh the same connections, and neither side waits for the other."""
        unread = 0

        async def ask(connection: str, targets: Sequence[Target]) -> None:
            nonlocal unread
            try:
                schedules = await reader.read(partial(calls.client.schedules, connection))
            except CallError:
                unread += 1
                return
            names = tuple(dict.fromkeys(self._patterns.get(t.entry.index, t.entry).name for t in targets))
            found = [
                ConnectionSchedule(
                    connection_id=connection,
                    schedule=one,
                    next_at=next_times(one, now, _TIMES_SHOWN),
                    names=names,
                )
                for one in schedules
            ]
            self._schedules += found
            for one in [one for one in found if not one.schedule.disabled][:_SCHEDULES_TOLD]:
                hint = "let this program run at another time, or switch the schedule off"
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
        """Return what a schedule refreshes and when, beside what the manifest refreshes on the same connection."""
        schedule = found.schedule
        kind = "" if schedule.hard is None else ", hard" if schedule.hard else ", soft"
        words = f"Omni itself refreshes this connection {describe(schedule)}{kind}"
        if found.next_at:
            local = [moment.astimezone(self._zone) for moment in found.next_at]
            words += f"; next {' and '.join(f'{one:%Y-%m-%d %H:%M} {one.isoformat()[-6:]}' for one in local)}"
        modes = " and ".join(sorted({how_refreshed(target.entry) for target in targets}))
        return f"{words}; the manifest refreshes it ({modes}) for {some(found.names, at_most=3)}"


def _parameters(target: Target) -> Iterator[str]:
    """Yield the parameters that a target's refresh call sends."""
    entry = target.entry
    if entry.refresh is RefreshKind.DBT_SYNC:
        return
    yield "hard_refresh"
    yield from (
        name
        for name, value in (
            ("branch_id", target.branch_id),
            ("schemas", entry.schemas),
            ("tables", entry.tables),
        )
        if value
    )


def _some_branches(branches: Sequence[tuple[str, str]]) -> str:
    names = ", ".join(name for _, name in branches[:5])
    return f"there is: {names}" if names else "it has no branches"


def _unmatched(entry: Entry, schemas: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names in an entry's scope that fit none of the schemas: under which key, and the name."""
    known = [_known(name) for name in schemas]
    patterns = [("schemas", pattern) for pattern in patterns_of_schemas(entry.schemas)]
    patterns += [("tables", pattern) for pattern in patterns_of_tables(entry.tables) if pattern.schema is not None]
    for what, pattern in patterns:
        if not any(may_be(pattern.schema, schema) and may_be(pattern.catalog, catalog) for catalog, schema in known):
            yield what, pattern.text


def _known(name: str) -> tuple[str | None, str]:
    parts = split_name(name)
    return ".".join(parts[:-1]) or None, parts[-1]
