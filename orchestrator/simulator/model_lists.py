"""GET /v1/models: the models in pages, filtered and sorted as the API does it."""

from collections.abc import Callable, Iterable

from orchestrator.simulator.answer import (
    Answer,
    ApiError,
    SimulatedInstance,
    SimulatedRequest,
    require_choice,
    require_count,
    require_flag,
    require_known,
)
from orchestrator.simulator.world import REFRESHABLE, LiveModel

KINDS = ("SCHEMA", "SHARED", "SHARED_EXTENSION", "WORKBOOK", "BRANCH", "QUERY", "TOPIC", "FIELD_PICKER_TOPIC")

_MODEL_FILTERS = ("baseModelId", "connectionId", "includeDeleted", "modelId", "modelKind", "name")
_MODEL_SORTS = ("name", "modelKind", "connectionId", "baseModelId", "createdAt", "updatedAt")
_MODEL_PARAMETERS = frozenset({*_MODEL_FILTERS, "include", "pageSize", "cursor", "sortField", "sortDirection"})
_CACHED = 64


class ModelLists:
    """GET /v1/models. Filtered and sorted lists are kept while nothing changes, so that paging costs little."""

    def __init__(self, instance: SimulatedInstance) -> None:
        self._instance = instance
        self._lists: dict[tuple[object, ...], list[LiveModel]] = {}
        self._by_name: dict[str, list[LiveModel]] = {}
        self._named = 0

    def page(self, ask: SimulatedRequest) -> Answer:
        """One page. Raises ApiError 400 for parameters that are unknown or wrong."""
        query = ask.query
        require_known(query, _MODEL_PARAMETERS)
        if "modelId" in query:
            self._instance.require_uuid("modelId", query["modelId"])
        if "modelKind" in query:
            require_choice(query, "modelKind", KINDS, "")
        with_branches = _included(query.get("include"))
        size = require_count(query, "pageSize", 20)
        found = self._find(ask)
        start = _offset(query.get("cursor"), len(found))
        records = [self._record(model, with_branches=with_branches) for model in found[start : start + size]]
        following = start + size
        has_next = following < len(found)
        info = {
            "hasNextPage": has_next,
            "nextCursor": f"c{following:x}" if has_next else None,
            "pageSize": size,
            "totalRecords": len(found),
        }
        return Answer(status=200, body={"pageInfo": info, "records": records})

    def _find(self, ask: SimulatedRequest) -> list[LiveModel]:
        query = ask.query
        field = require_choice(query, "sortField", _MODEL_SORTS, "updatedAt")
        is_descending = require_choice(query, "sortDirection", ("asc", "desc"), "desc") == "desc"
        with_deleted = require_flag(query, "includeDeleted", digits=("1", "0"))
        stage = self._instance.stage
        stage.settle(ask.now_s)
        kept = (*(query.get(name) for name in _MODEL_FILTERS), field, is_descending, stage.version, len(stage.models))
        found = self._lists.get(kept)
        if found is None:
            if len(self._lists) >= _CACHED:
                self._lists.clear()
            found = [model for model in self._candidates(ask) if self._fits(model, ask, with_deleted=with_deleted)]
            found.sort(key=self._sort_key(field), reverse=is_descending)
            self._lists[kept] = found
        return found

    def _candidates(self, ask: SimulatedRequest) -> Iterable[LiveModel]:
        """The models to search: the one with this id, those with this exact name, or all."""
        models = self._instance.stage.models
        if "modelId" in ask.query:
            model = models.get(ask.query["modelId"].lower())
            return () if model is None else (model,)
        name = ask.query.get("name", "").lower()
        if not name or self._instance.answers.names == "contains":
            return models.values()
        if self._named != len(models):
            self._by_name.clear()
            for model in models.values():
                self._by_name.setdefault(model.name.lower(), []).append(model)
            self._named = len(models)
        return self._by_name.get(name, ())

    def _fits(self, model: LiveModel, ask: SimulatedRequest, *, with_deleted: bool) -> bool:
        query = ask.query
        if model.is_deleted and not with_deleted:
            return False
        # An empty filter is no filter: the whole list comes back, as from the real service.
        for parameter, value in (
            ("modelKind", model.kind),
            ("connectionId", model.connection.id),
            ("baseModelId", model.base_id or ""),
        ):
            wanted = query.get(parameter)
            if wanted and wanted.lower() != value.lower():
                return False
        return query.get("name", "").lower() in model.name.lower()

    def _sort_key(self, field: str) -> Callable[[LiveModel], tuple[object, int]]:
        keys: dict[str, Callable[[LiveModel], object]] = {
            "name": lambda model: model.name,
            "modelKind": lambda model: model.kind,
            "connectionId": lambda model: model.connection.id,
            "baseModelId": lambda model: model.base_id or "",
            "createdAt": lambda model: model.order,
            "updatedAt": lambda model: -1.0 if model.connection.refreshed_s is None else model.connection.refreshed_s,
        }
        key = keys[field]
        return lambda model: (key(model), model.order)

    def _record(self, model: LiveModel, *, with_branches: bool) -> dict[str, object]:
        instance = self._instance
        created = instance.created(model.order)
        refreshed_s = model.connection.refreshed_s if model.kind in REFRESHABLE else None
        record: dict[str, object] = {
            "id": model.id,
            "name": model.name,
            "modelKind": model.kind,
            "connectionId": model.connection.id,
            "baseModelId": model.base_id,
            "createdAt": created,
            "updatedAt": created if refreshed_s is None else instance.stamp(refreshed_s),
            "deletedAt": instance.stamp(0) if model.is_deleted else None,
        }
        if with_branches:
            branches = (instance.stage.models[branch_id] for branch_id in model.branches)
            record["branches"] = [self._record(branch, with_branches=False) for branch in branches]
        return record


def _included(text: str | None) -> bool:
    extras = [extra for extra in (text or "").split(",") if extra]
    if unknown := [extra for extra in extras if extra != "activeBranches"]:
        raise ApiError(
            400, f"Bad Request: include: Invalid enum value. Expected 'activeBranches', received '{unknown[0]}'"
        )
    return bool(extras)


def _offset(cursor: str | None, total: int) -> int:
    if not cursor:
        return 0
    try:
        offset = int(cursor.removeprefix("c")[:8], 16) if cursor.startswith("c") else -1
    except ValueError:
        offset = -1
    if not 0 <= offset <= total:
        raise ApiError(400, "Bad Request: cursor: Invalid cursor")
    return offset
