"""Reads what the plan needs to know of an instance, and nothing else: each call is paid from the quota."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from random import Random
from typing import TypeVar

from orchestrator.manifest.manifest import Entry, Secret
from orchestrator.omni.answers import ModelRecord, ModelsPage, ModelsQuery
from orchestrator.omni.errors import CallError, FateUnknown
from orchestrator.plan.inventory import KINDS, UUID, Inventory, Needs, make_needs
from orchestrator.quota.backoff import retry_s
from orchestrator.quota.choice import Ask, Purpose
from orchestrator.run.calls import Calls
from orchestrator.run.tally import Spent

T = TypeVar("T")

PAGE_SIZE = 100
MOST_PAGES = 1000
READ_RETRIES = 3


class _Ended(Exception):
    """A read that did not come about; its text says why."""


class LookUp:
    """Look-ups on one instance. Reads are tried again; what cannot be read leaves a gap that the plan explains."""

    def __init__(self, calls: Calls, rng: Random, *, purpose: Purpose = Purpose.LOOK_UP) -> None:
        self._calls = calls
        self._rng = rng
        self._purpose = purpose

    async def read(self, question: Callable[[Secret], Awaitable[T]]) -> T:
        """One read, tried again where that may help; raises `CallError` or `DoorClosed`."""
        attempt, not_before = 0, 0.0
        while True:
            try:
                ask = Ask(purpose=self._purpose, not_before=not_before)
                return (await self._calls.send(ask, question, Spent())).answer
            except CallError as error:
                attempt += 1
                # a read that was cut off or answered 5xx has done no harm
                again = error.may_be_tried_again or isinstance(error, FateUnknown)
                if not again or attempt > READ_RETRIES:
                    raise
                not_before = self._calls.clock.now() + retry_s(error.retry_after_s, attempt, self._rng)

    async def inventory(self, entries: Iterable[Entry]) -> Inventory:
        """What these entries of the instance leave open, as far as the instance shows it.

        Pages of 100 models of the kinds that matter, or one call a model where that is fewer: the first page tells how
        many pages there are. Raises `DoorClosed` where no call gets a turn any more.
        """
        entries = tuple(entries)
        needs = make_needs(entries)
        if not needs.count:
            return Inventory()
        search = _Search(self, needs)
        try:
            await search.run()
            await search.read_branches(entries)
        except _Ended as error:
            return search.inventory(failure=str(error))
        return search.inventory()

    async def page(self, query: ModelsQuery) -> ModelsPage:
        """One page of models; raises `_Ended` where it cannot be read."""
        try:
            return await self.read(lambda key: self._calls.client.models(query, key))
        except CallError as error:
            raise _Ended(error.message) from None


class _Search:
    """One look-up under way: what was found so far."""

    def __init__(self, look_up: LookUp, needs: Needs) -> None:
        self._look_up = look_up
        self._needs = needs
        self._records: dict[str, ModelRecord] = {}
        self._branches: dict[str, tuple[tuple[str, str], ...]] = {}

    def inventory(self, failure: str = "") -> Inventory:
        return Inventory(records=self._records, branches=self._branches, failure=failure, asked=True)

    def _missing(self) -> tuple[list[str], list[str]]:
        names = {r.name for r in self._records.values() if r.kind in KINDS and not r.deleted}
        return (
            [i for i in self._needs.ids if i not in self._records],
            [n for n in self._needs.names if n not in names],
        )

    def _add(self, page: ModelsPage) -> None:
        for record in page.records:
            self._records[record.id] = record
            if record.branches is not None:
                self._branches[record.id] = record.branches

    async def run(self) -> None:
        if self._needs.count > 1:
            await self._pages()
        ids, names = self._missing()
        for model_id in ids:
            self._add(await self._look_up.page(self._query(model_id=model_id)))
        for name in names:
            for kind in KINDS:
                await self._all_pages(self._query(kind=kind, name=name))
                if name not in self._missing()[1]:
                    break

    def _query(self, *, kind: str | None = None, name: str | None = None, model_id: str | None = None) -> ModelsQuery:
        return ModelsQuery(
            kind=kind, name=name, model_id=model_id, active_branches=self._needs.branches, page_size=PAGE_SIZE
        )

    async def _pages(self) -> None:
        """Shared models page by page, until all is found or single calls are fewer than the pages that are left."""
        query, seen, read = self._query(kind=KINDS[0]), {""}, 0
        while read < MOST_PAGES:
            page = await self._look_up.page(query)
            self._add(page)
            read += 1
            # a cursor that comes again would page for ever
            if page.next_cursor is None or page.next_cursor in seen:
                return
            seen.add(page.next_cursor)
            ids, names = self._missing()
            # a name must be seen to be unique, so that it takes a call of its own where not all pages are read
            left = len(ids) + len(self._needs.names)
            pages_left = -(-(page.total - read * PAGE_SIZE) // PAGE_SIZE) if page.total is not None else 1
            if left < pages_left or not left:
                await self._confirm_names(names)
                return
            query = replace(query, cursor=page.next_cursor)

    async def _confirm_names(self, missing: list[str]) -> None:
        """Names that a page showed are asked for by name, since pages that were not read may hold the same name."""
        for name in self._needs.names:
            if name not in missing:
                await self._all_pages(self._query(kind=KINDS[0], name=name))

    async def _all_pages(self, query: ModelsQuery) -> None:
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            page = await self._look_up.page(query)
            self._add(page)
            if page.next_cursor is None or page.next_cursor in seen:
                return
            seen.add(page.next_cursor)
            query = replace(query, cursor=page.next_cursor)

    async def read_branches(self, entries: Iterable[Entry]) -> None:
        """Branches by name of models that did not show theirs, one call each."""
        for entry in entries:
            if entry.branch is None or UUID.fullmatch(entry.branch):
                continue
            model_id = entry.model_id
            if model_id is None:
                same = self.inventory().named(entry.model_name or entry.name)
                model_id = same[0].id if len(same) == 1 else None
            if model_id is None or model_id in self._branches:
                continue
            page = await self._look_up.page(
                ModelsQuery(kind="BRANCH", base_model_id=model_id, name=entry.branch, page_size=PAGE_SIZE)
            )
            found = [r for r in page.records if r.base_model_id == model_id and r.kind == "BRANCH" and not r.deleted]
            self._branches[model_id] = tuple((r.id, r.name or "") for r in found)
            if not any(name == entry.branch for _, name in self._branches[model_id]):
                return_all = ModelsQuery(kind="BRANCH", base_model_id=model_id, page_size=PAGE_SIZE)
                page = await self._look_up.page(return_all)
                self._branches[model_id] = tuple((r.id, r.name or "") for r in page.records if r.kind == "BRANCH")
