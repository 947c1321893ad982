"""Reads what the plan needs to know of an instance, and nothing else, because each call counts against the quota."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar

from orchestrator.engine.calls import Calls, retry_s
from orchestrator.manifest.manifest import Entry, Secret, is_id
from orchestrator.omni.answers import ContentDocument, ModelRecord, ModelsPage, ModelsQuery, ValidationIssue
from orchestrator.omni.errors import CallError, DeliveryUnknown, Unsent
from orchestrator.planning.inventory import (
    KINDS,
    Inventory,
    Needs,
    by_name,
    canonical,
    is_whole,
    make_needs,
    same_named,
)
from orchestrator.quota.choice import CallRequest, Purpose

T = TypeVar("T")

PAGE_SIZE = 100
MOST_PAGES = 1000
READ_RETRIES = 3

# Only a page tells how many pages there are, and on a big instance it answers nothing else: so few names are asked for
# one by one at once.
FEW_NAMES = 10


_UNKNOWN_PARAMETER = re.compile(r"unrecogni[sz]ed|unknown|unexpected|not allowed|additional propert", re.IGNORECASE)


class CannotRead(Exception):
    """A read failed; the text says why. `is_ones_own`: the reason concerns this one read alone."""

    def __init__(self, message: str, *, is_ones_own: bool) -> None:
        super().__init__(message)
        self.is_ones_own = is_ones_own


class LookUp:
    """Look-ups on one instance. Reads are retried; what cannot be read leaves a gap that the plan explains.

    `reads` counts the reads without their retries. `target` is what the reads are for, if it is one target.
    """

    def __init__(
        self,
        calls: Calls,
        rng: Random,
        *,
        purpose: Purpose = Purpose.LOOK_UP,
        rank: tuple[float, ...] = (),
        target: str | None = None,
    ) -> None:
        self._calls = calls
        self._rng = rng
        self._purpose = purpose
        self._rank = rank
        self._target = target
        self.reads = 0

    async def read(
        self, call: Callable[[Secret], Awaitable[T]], *, about: str | None = None, retries: int = READ_RETRIES
    ) -> T:
        """Read once, with retries if they may help; `about` is the name or id that is read. Raises `CallError` or
        `LimiterClosed`.
        """
        attempt, not_before = 0, 0.0
        self.reads += 1
        while True:
            try:
                request = CallRequest(purpose=self._purpose, rank=self._rank, not_before=not_before)
                return (await self._calls.send(request, call, target=self._target or about)).answer
            except CallError as error:
                self._calls.limiter.check(self._purpose)
                # what was never sent is sent again until the instance is given up
                attempt += not (isinstance(error, Unsent) and self._purpose is Purpose.LOOK_UP)
                # a read that was cut off or answered 5xx has done no harm
                again = error.is_retryable or isinstance(error, DeliveryUnknown)
                if not again or attempt > retries:
                    raise
                not_before = self._calls.clock.now() + retry_s(error.retry_after_s, max(1, attempt), self._rng)

    async def inventory(self, entries: Iterable[Entry], *, everything: bool = False) -> Inventory:
        """Look up what these entries of the instance leave out; with `everything` each model and branch that they name.

        Reads pages of 100 models of the kinds that matter, or one model per call if that is fewer calls: the first page says
        how many pages there are. Raises `LimiterClosed` if no more permits are given.
        """
        entries = tuple(entries)
        needs = make_needs(entries, everything=everything)
        if not needs.count:
            return Inventory()
        search = Search(self, needs)
        # a look-up of everything is also used for near names, and for models that share a connection
        await search.run(few=0 if everything else FEW_NAMES)
        await search.read_branches(entries, by_id=everything)
        found = search.inventory()
        if not _has_several_connections(entries, found):
            return found
        return replace(found, environments=await self.environments())

    async def environments(self) -> tuple[tuple[str, str], ...]:
        """Return the connection environments, as ids of the base and of the connection that stands in for it.

        The list is for administrators. Without it each connection counts as one of its own. Raises `LimiterClosed`.
        """
        try:
            found = await self.read(self._calls.client.environments, about="connection environments")
        except CallError:
            return ()
        return tuple(
            (one.base_connection_id, one.connection_id)
            for one in found
            if one.base_connection_id is not None and one.connection_id is not None
        )

    async def schemas(self, model_id: str, branch_id: str | None) -> tuple[str, ...]:
        """Read a model's schemas, as the instance names them. Raises `CallError` or `LimiterClosed`.

        A server that does not know the parameter for the branch may ignore it and answer for the shared model. So both names
        are sent; if the server refuses one of them, the other is sent alone.
        """
        while True:
            names = () if branch_id is None else self._calls.branch_parameters
            call = partial(self._calls.client.schemas, model_id, branch=dict.fromkeys(names, branch_id or ""))
            try:
                return await self.read(call, about=model_id)
            except CallError as error:
                left = _known_parameters(names, error)
                if not left:
                    raise
                self._calls.branch_parameters = left

    async def issues(self, model_id: str, branch_id: str | None) -> tuple[ValidationIssue, ...]:
        """Read what the validation of a model finds. Raises `CallError` or `LimiterClosed`."""
        return await self.read(partial(self._calls.client.validate, model_id, branch_id=branch_id))

    async def broken_content(self, model_id: str, branch_id: str | None) -> tuple[ContentDocument, ...]:
        """Read the documents that use a model and have issues. Raises `CallError` or `LimiterClosed`.

        A server that does not know the parameter for that lists all documents.
        """
        while True:
            mode = "WITH_ISSUES" if self._calls.filters_content else None
            try:
                return await self.read(
                    partial(self._calls.client.content, model_id, branch_id=branch_id, filter_mode=mode)
                )
            except CallError as error:
                if mode is None or error.http_status != 400 or not _UNKNOWN_PARAMETER.search(error.message):
                    raise
                self._calls.filters_content = False

    async def all_models(self, kinds: Sequence[str]) -> Inventory:
        """Return every model of these kinds, with its branches. Raises `LimiterClosed`."""
        search = Search(self, Needs(branches=True))
        try:
            for kind in kinds:
                await search.read_kind(kind)
        except CannotRead as error:
            search.failure = str(error)
        return search.inventory()

    async def find(self, needs: Needs) -> Inventory:
        """Look up these models alone. Raises `LimiterClosed`."""
        search = Search(self, needs)
        await search.run()
        return search.inventory()

    async def page(self, query: ModelsQuery) -> ModelsPage:
        """Return one page of models. Raises `CannotRead`."""
        about = query.name or query.model_id or query.base_model_id
        try:
            return await self.read(lambda key: self._calls.client.models(query, key), about=about)
        except CallError as error:
            raise CannotRead(error.message, is_ones_own=error.http_status in (400, 404, 414)) from None


class Search:
    """One look-up: what was found so far."""

    def __init__(self, look_up: LookUp, needs: Needs) -> None:
        self._look_up = look_up
        self._needs = needs
        self._records: dict[str, ModelRecord] = {}
        self._branches: dict[str, tuple[tuple[str, str], ...]] = {}
        self._whole: set[str] = set()
        self._searched: set[str] = set()
        self._paged = False
        self._refused: dict[str, str] = {}
        self.failure = ""

    def inventory(self) -> Inventory:
        """Return what was found."""
        return Inventory(
            records=self._records,
            branches=self._branches,
            whole=frozenset(self._whole),
            searched=frozenset(self._searched),
            failure=self.failure,
            refused=self._refused,
        )

    def _missing_ids(self) -> list[str]:
        return [i for i in self._needs.ids if i not in self._records]

    def _open_names(self) -> list[str]:
        """Return the names that another model may have as well, because not all models were read."""
        names = by_name(self._records.values())
        return [
            name
            for name in self._needs.names
            if name not in self._searched and not is_whole(same_named(names, name), self._whole)
        ]

    async def run(self, *, few: int = FEW_NAMES) -> None:
        """Read pages if they are fewer, then make a call for each model that is left; `few` are looked up one by one at once.

        If a page cannot be read, the names that depend on it stay open, and `failure` says why. Raises `LimiterClosed`.
        """
        try:
            await self._read_pages(few)
        except CannotRead as error:
            self.failure = str(error)
            return
        ids_left, names_left = self._missing_ids(), self._open_names()
        await together(
            *(self._single(self._query(model_id=model_id), model_id) for model_id in ids_left),
            *(self._by_name(name) for name in names_left),
        )
        if not self.failure and self._unseen() and not self._paged:
            # the names of other models help to correct a wrong one
            with suppress(CannotRead):
                self._add(await self._look_up.page(self._query(kind=KINDS[0])), set())

    async def _read_pages(self, few: int) -> None:
        for kind in KINDS:
            ids, names = len(self._missing_ids()), len(self._open_names())
            # an id that a page shows costs no call of its own, so one page is worth its call sooner
            if ids + names <= (few if kind == KINDS[0] else FEW_NAMES) and (ids < 2 or kind != KINDS[0]):
                break
            if not await self.read_kind(kind, or_singles=True):
                break

    def _unseen(self) -> bool:
        names = by_name(self._records.values())
        return any(not same_named(names, name) and name not in self._refused for name in self._needs.names)

    async def _by_name(self, name: str) -> None:
        """Look for a name in each kind until one has it; in its other Unicode forms too, since a server's filter may be exact."""
        for kind in KINDS:
            for spelled in _unicode_forms(name) if kind not in self._whole else ():
                if not await self._single(self._query(kind=kind, name=spelled), name):
                    return
                if self._is_named(name, kind):
                    break
            if self._is_named(name, kind):
                break
        self._searched.add(name)

    def _is_named(self, name: str, kind: str) -> bool:
        return any(record.kind == kind for record in self.inventory().named(name))

    def _query(self, *, kind: str | None = None, name: str | None = None, model_id: str | None = None) -> ModelsQuery:
        return ModelsQuery(
            kind=kind, name=name, model_id=model_id, active_branches=self._needs.branches, page_size=PAGE_SIZE
        )

    async def read_kind(self, kind: str, *, or_singles: bool = False) -> bool:
        """Read the models of one kind page by page; return whether all were read. With `or_singles` stop when all is found, or
        when single calls are fewer than the pages that are left.
        """
        query, self._paged = self._query(kind=kind), True
        seen, shown, read = {""}, set[str](), 0
        while read < MOST_PAGES:
            page = await self._look_up.page(query)
            is_news = self._add(page, shown)
            read += 1
            if page.next_cursor is None:
                self._whole.add(kind)
                return True
            # a cursor that repeats, or pages that show nothing new, would never end
            if page.next_cursor in seen or not is_news:
                return False
            seen.add(page.next_cursor)
            if or_singles:
                # a name must be proven unique, so it takes a call of its own if not all pages are read
                singles = len(self._missing_ids()) + len(self._open_names())
                if not singles or singles < _pages_left(page, len(shown), read):
                    return False
            query = replace(query, cursor=page.next_cursor)
        return False

    def _add(self, page: ModelsPage, shown: set[str]) -> bool:
        """Keep what a page shows; return whether any of it was not `shown` by earlier pages."""
        before = len(shown)
        for record in page.records:
            shown.add(record.id)
            self._records[record.id] = record
            if record.branches is not None:
                self._branches[record.id] = record.branches
        return len(shown) > before

    async def _single(self, query: ModelsQuery, key: str) -> bool:
        """Look for one thing alone; return whether its pages were read to the end. A failure costs this one alone."""
        try:
            await self._all_pages(query)
        except CannotRead as error:
            self._refused[key] = str(error)
            if not error.is_ones_own:
                self.failure = self.failure or str(error)
            return False
        return True

    async def _all_pages(self, query: ModelsQuery) -> tuple[ModelRecord, ...]:
        """Read all pages of a question. Raises `CannotRead`, also if the pages do not end."""
        found: list[ModelRecord] = []
        seen, shown = {""}, set[str]()
        for _ in range(MOST_PAGES):
            page = await self._look_up.page(query)
            found += page.records
            is_news = self._add(page, shown)
            if page.next_cursor is None:
                return tuple(found)
            if page.next_cursor in seen or not is_news:
                break
            seen.add(page.next_cursor)
            query = replace(query, cursor=page.next_cursor)
        raise CannotRead("the pages of the list do not end", is_ones_own=True)

    async def read_branches(self, entries: Iterable[Entry], *, by_id: bool = False) -> None:
        """Read the branches of models that did not show theirs: one call for a name, or all of them if that fails. With `by_id`
        read them also for a branch that is given by its id.
        """
        wanted: dict[str, dict[str, None]] = {}
        patterns: set[str] = set()
        for entry in entries:
            if entry.branch is None or (is_id(entry.branch) and not by_id):
                continue
            model_id = entry.model_id
            if model_id is None:
                name, inventory = entry.model_name or entry.name, self.inventory()
                same = inventory.named(name)
                model_id = same[0].id if len(same) == 1 and inventory.is_settled(name, same) else None
            if model_id is not None and model_id not in self._branches:
                wanted.setdefault(model_id, {})[entry.branch] = None
                if entry.has_branch_pattern:
                    patterns.add(model_id)
        await together(
            *(
                self._branches_of(model_id, None if model_id in patterns else tuple(names))
                for model_id, names in wanted.items()
            )
        )

    async def _branches_of(self, model_id: str, wanted: Sequence[str] | None) -> None:
        """Find the branches `wanted` of one model: by name if it is one, else all of them. None: all."""
        found: list[tuple[str, str]] = []
        try:
            if wanted is not None and len(wanted) == 1 and not is_id(wanted[0]):
                found = await self._listed_branches(model_id, wanted[0])
            if wanted is None or not any(canonical(name) in map(canonical, wanted) for _, name in found):
                found = await self._listed_branches(model_id, None)
        except CannotRead as error:
            self._refused[model_id] = str(error)
            if not error.is_ones_own:
                self.failure = self.failure or str(error)
            return
        self._branches[model_id] = tuple(dict.fromkeys(found))

    async def _listed_branches(self, model_id: str, name: str | None) -> list[tuple[str, str]]:
        query = ModelsQuery(kind="BRANCH", base_model_id=model_id, name=name, page_size=PAGE_SIZE)
        return [
            (r.id, r.name or "")
            for r in await self._all_pages(query)
            if r.base_model_id == model_id and r.kind == "BRANCH" and not r.deleted
        ]


def _has_several_connections(entries: Iterable[Entry], found: Inventory) -> bool:
    """Return whether the entries' models are on several connections, so that one of them may be an environment of another."""
    connections: set[str] = set()
    for entry in entries:
        if entry.model_id is None:
            records = found.named(entry.model_name or entry.name)
        else:
            records = tuple(filter(None, [found.records.get(entry.model_id)]))
        connections.update(record.connection_id for record in records if record.connection_id is not None)
        if len(connections) > 1:
            return True
    return False


def _known_parameters(sent: tuple[str, ...], error: CallError) -> tuple[str, ...]:
    """The parameter to send alone after an error that refuses one of several; empty if it says nothing of the kind."""
    if len(sent) < 2 or error.http_status != 400 or not _UNKNOWN_PARAMETER.search(error.message):
        return ()
    return tuple(name for name in sent if not re.search(rf"\b{name}\b", error.message))[:1]


def _unicode_forms(name: str) -> Iterable[str]:
    """The name as it is written, and in the other forms that look the same."""
    return dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))))


def _pages_left(page: ModelsPage, shown: int, read: int) -> int:
    """Return how many pages follow; if the server does not say it, as many as were read."""
    if page.total is None:
        return read
    return -(-(page.total - shown) // max(1, len(page.records)))


async def together(*work: Awaitable[object]) -> None:
    """Run all of this concurrently, to its end; only then raise the first error."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
