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
    """A read that did not come about; its text says why, `is_ones_own` whether that speaks for this one question alone."""

    def __init__(self, message: str, *, is_ones_own: bool) -> None:
        super().__init__(message)
        self.is_ones_own = is_ones_own


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
            search.failure = str(error)
        return search.inventory()

    async def page(self, query: ModelsQuery) -> ModelsPage:
        """One page of models; raises `_Ended` where it cannot be read."""
        try:
            return await self.read(lambda key: self._calls.client.models(query, key))
        except CallError as error:
            raise _Ended(error.message, is_ones_own=error.http_status in (400, 404)) from None


class _Search:
    """One look-up under way: what was found so far."""

    def __init__(self, look_up: LookUp, needs: Needs) -> None:
        self._look_up = look_up
        self._needs = needs
        self._records: dict[str, ModelRecord] = {}
        self._branches: dict[str, tuple[tuple[str, str], ...]] = {}
        # models of whose branches only those were read that were asked for by name
        self._partly: set[str] = set()
        self.failure = ""

    def inventory(self) -> Inventory:
        return Inventory(records=self._records, branches=self._branches, failure=self.failure, asked=True)

    def _missing(self) -> tuple[list[str], list[str]]:
        names = {r.name for r in self._records.values() if r.kind in KINDS and not r.deleted}
        return (
            [i for i in self._needs.ids if i not in self._records],
            [n for n in self._needs.names if n not in names],
        )

    def _add(self, page: ModelsPage, shown: set[str]) -> bool:
        """Keep what a page shows; whether any of it was not among what its question has `shown` before."""
        before = len(shown)
        for record in page.records:
            shown.add(record.id)
            self._records[record.id] = record
            if record.branches is not None:
                self._branches[record.id] = record.branches
        return len(shown) > before

    async def run(self) -> None:
        for kind in KINDS:
            ids, names = self._missing()
            if len(ids) + len(names) < 2 or not await self._pages(kind):
                break
        ids, names = self._missing()
        for model_id in ids:
            await self._single(self._query(model_id=model_id))
        for name in names:
            for kind in KINDS:
                await self._single(self._query(kind=kind, name=name))
                if name not in self._missing()[1]:
                    break

    def _query(self, *, kind: str | None = None, name: str | None = None, model_id: str | None = None) -> ModelsQuery:
        return ModelsQuery(
            kind=kind, name=name, model_id=model_id, active_branches=self._needs.branches, page_size=PAGE_SIZE
        )

    async def _pages(self, kind: str) -> bool:
        """Models of one kind page by page, until all is found or single calls are fewer than the pages that are left;
        whether all pages were read.
        """
        query, read = self._query(kind=kind), 0
        seen, shown = {""}, set[str]()
        named = self._missing()[1]
        while read < MOST_PAGES:
            page = await self._look_up.page(query)
            is_news = self._add(page, shown)
            read += 1
            # a cursor that comes again, or pages that show nothing new, would go on for ever
            if page.next_cursor is None or page.next_cursor in seen or not is_news:
                return True
            seen.add(page.next_cursor)
            ids, names = self._missing()
            # a name must be seen to be unique, so that it takes a call of its own where not all pages are read
            left = len(ids) + len(named)
            pages_left = -(-(page.total - read * PAGE_SIZE) // PAGE_SIZE) if page.total is not None else 1
            if left < pages_left or not left:
                for name in named:
                    if name not in names:
                        await self._all_pages(self._query(kind=kind, name=name))
                return False
            query = replace(query, cursor=page.next_cursor)
        return True

    async def _single(self, query: ModelsQuery) -> None:
        """A look-up for one thing alone; where the server refuses it, the others go on without."""
        try:
            await self._all_pages(query)
        except _Ended as error:
            if not error.is_ones_own:
                raise
            self.failure = self.failure or str(error)

    async def _all_pages(self, query: ModelsQuery) -> tuple[ModelRecord, ...]:
        found: list[ModelRecord] = []
        seen, shown = {""}, set[str]()
        for _ in range(MOST_PAGES):
            page = await self._look_up.page(query)
            found += page.records
            is_news = self._add(page, shown)
            if page.next_cursor is None or page.next_cursor in seen or not is_news:
                break
            seen.add(page.next_cursor)
            query = replace(query, cursor=page.next_cursor)
        return tuple(found)

    async def read_branches(self, entries: Iterable[Entry]) -> None:
        """Branches by name of models that did not show theirs: a call for the name, and all of them where that fails."""
        for entry in entries:
            if entry.branch is None or UUID.fullmatch(entry.branch):
                continue
            model_id = entry.model_id
            if model_id is None:
                same = self.inventory().named(entry.model_name or entry.name)
                model_id = same[0].id if len(same) == 1 else None
            if model_id is None or entry.branch in {name for _, name in self._branches.get(model_id, ())}:
                continue
            if model_id in self._branches and model_id not in self._partly:
                continue
            found = await self._branches_of(model_id, entry.branch)
            if not any(name == entry.branch for _, name in found):
                found = await self._branches_of(model_id, None)
                self._partly.discard(model_id)
            else:
                self._partly.add(model_id)
            self._branches[model_id] = tuple(dict.fromkeys((*self._branches.get(model_id, ()), *found)))

    async def _branches_of(self, model_id: str, name: str | None) -> list[tuple[str, str]]:
        query = ModelsQuery(kind="BRANCH", base_model_id=model_id, name=name, page_size=PAGE_SIZE)
        return [
            (r.id, r.name or "")
            for r in await self._all_pages(query)
            if r.base_model_id == model_id and r.kind == "BRANCH" and not r.deleted
        ]
