"""Reads the answers about models, connections, schemas, views and validation."""

from __future__ import annotations

import re

from orchestrator.omni.answers import (
    ConnectionEnvironment,
    ConnectionRecord,
    ContentDocument,
    ContentIssue,
    ModelRecord,
    ModelRole,
    ModelsPage,
    RefreshSchedule,
    ValidationIssue,
    View,
    ViewField,
    WhoAmI,
)
from orchestrator.omni.fields import (
    UnreadableAnswer,
    as_count,
    as_flag,
    as_id,
    as_object,
    as_text,
    objects,
    read_list,
    read_object,
)


def read_models(body: bytes) -> ModelsPage:
    """One page of models. Raises UnreadableAnswer, also where there is a next page and no way to it."""
    page, items = read_list(body, "records", "models", "items", "data")
    info = as_object(page.get("pageInfo"))
    cursor = info.get("nextCursor")
    next_cursor = str(cursor) if as_count(cursor) is not None else as_text(cursor)
    more = as_flag(info.get("hasNextPage"))
    if next_cursor is None and (more or (cursor not in (None, "") and more is not False)):
        raise UnreadableAnswer("the answer has a next page and does not say where")
    return ModelsPage(
        records=tuple(record for item in objects(items) if (record := _model(item)) is not None),
        next_cursor=None if more is False else next_cursor,
        total=as_count(info.get("totalRecords")),
    )


def _model(item: dict[str, object]) -> ModelRecord | None:
    model_id = as_id(item.get("id"))
    if model_id is None:
        return None
    branches = ((as_id(branch.get("id")), as_text(branch.get("name"))) for branch in objects(item.get("branches")))
    kind = as_text(item.get("modelKind"))
    return ModelRecord(
        id=model_id,
        name=as_text(item.get("name")),
        kind=kind and kind.upper(),
        connection_id=as_id(item.get("connectionId")),
        base_model_id=as_id(item.get("baseModelId")),
        deleted=item.get("deletedAt") is not None,
        branches=None
        if item.get("branches") is None
        else tuple((branch_id, name) for branch_id, name in branches if branch_id and name),
    )


def read_connections(body: bytes) -> tuple[ConnectionRecord, ...]:
    """The list of connections. Raises UnreadableAnswer."""
    _, items = read_list(body, "connections", "records", "items", "data")
    found = (_connection(item) for item in objects(items))
    return tuple(connection for connection in found if connection is not None)


def read_connection(body: bytes) -> ConnectionRecord:
    """Return one connection. Raises UnreadableAnswer if it has no id."""
    item = read_object(body)
    connection = _connection(as_object(item.get("connection")) or item)
    if connection is None:
        raise UnreadableAnswer("the answer names no connection")
    return connection


def _connection(item: dict[str, object]) -> ConnectionRecord | None:
    connection_id = as_id(item.get("id"))
    if connection_id is None:
        return None
    return ConnectionRecord(
        id=connection_id,
        name=as_text(item.get("name")),
        dialect=as_text(item.get("dialect")),
        database=as_text(item.get("database")),
        default_schema=as_text(item.get("defaultSchema")),
        base_role=as_text(item.get("baseRole")),
        deleted=item.get("deletedAt") is not None,
    )


def read_schedules(body: bytes) -> tuple[RefreshSchedule, ...]:
    """A connection's native refresh schedules. Raises UnreadableAnswer."""
    _, items = read_list(body, "schedules", "records", "items", "data")
    return tuple(
        RefreshSchedule(
            id=as_id(item.get("scheduleId")) or as_id(item.get("id")) or "",
            cron=as_text(item.get("schedule")) or as_text(item.get("cron")) or as_text(item.get("cronExpression")),
            timezone=as_text(item.get("timezone")) or as_text(item.get("timeZone")),
            hard=as_flag(item.get("hardRefresh")),
            disabled=item.get("disabledAt") is not None,
        )
        for item in objects(items)
    )


def read_environments(body: bytes) -> tuple[ConnectionEnvironment, ...]:
    """The connection environments: each is a connection that stands in for another. Raises UnreadableAnswer."""
    _, items = read_list(body, "connectionEnvironments", "environments", "records", "items", "data")
    return tuple(
        ConnectionEnvironment(
            id=as_id(item.get("id")) or "",
            base_connection_id=as_id(item.get("baseConnectionId")),
            connection_id=as_id(item.get("connectionId")),
        )
        for item in objects(items)
    )


def read_whoami(body: bytes) -> WhoAmI:
    """Who the key acts as. Raises UnreadableAnswer."""
    item = read_object(body)
    return WhoAmI(
        key_scope=as_text(item.get("keyScope")),
        org_role=as_text(item.get("orgRole")),
        roles=tuple(
            ModelRole(
                model_id=model_id.lower(),
                base_role=as_text(as_object(role).get("baseRole")),
                connection_id=as_id(as_object(role).get("connectionId")),
            )
            for model_id, role in as_object(item.get("rolesByModel")).items()
        ),
    )


_VIEW_SUFFIXES = (".view", ".view.yaml", ".view.yml", ".yaml", ".yml")
_NOT_VIEWS = ("model", "relationships")
# A key at the margin with a plain or quoted scalar: enough of YAML for the three names that head a view's file.
_HEAD = re.compile(
    r"^(catalog|schema|table_name):[ \t]+(?:\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\n]|'')*)'|([^\s#\"'&*!|>{\[][^\n]*?))[ \t]*(?:[ \t]#.*)?$",
    re.MULTILINE,
)
_HEAD_CHARACTERS = 8192
_NO_ERRORS = frozenset({"warning", "warn", "info", "information", "notice", "hint", "note"})
_ESCAPED = re.compile(r"\\(.)")


def read_schemas(body: bytes) -> tuple[str, ...]:
    """Read the names of a model's schemas: text, or objects with a name. Raises UnreadableAnswer.

    The list must be whole, since a name that is not in it counts as missing.
    """
    _, items = read_list(body, "schemas", "records", "data")
    names = tuple(as_text(item.get("name") if isinstance(item, dict) else item) for item in items)
    whole = tuple(name for name in names if name is not None)
    if len(whole) < len(names):
        raise UnreadableAnswer("the answer holds schemas without a name")
    return whole


def read_issues(body: bytes) -> tuple[ValidationIssue, ...]:
    """Read what a model's validation finds: a bare list, or `{issues, valid}`. Raises UnreadableAnswer."""
    answer, items = read_list(body, "issues", "data")
    if not items and as_flag(answer.get("valid")) is False:
        raise UnreadableAnswer("the answer says that the model is not valid, and does not say why")
    return tuple(_issue(item) for item in items)


def _issue(item: object) -> ValidationIssue:
    if isinstance(item, str):
        return ValidationIssue(message=item, is_warning=False)
    if not isinstance(item, dict):
        raise UnreadableAnswer("the answer holds an issue that cannot be read")
    severity = as_text(item.get("severity"))
    is_warning = as_flag(item.get("is_warning", item.get("isWarning"))) is True
    return ValidationIssue(
        message=as_text(item.get("message")) or "",
        is_warning=is_warning if severity is None else severity.strip().lower() in _NO_ERRORS,
        yaml_path=as_text(item.get("yaml_path", item.get("yamlPath"))),
        view=_name(item.get("view")),
        field=_name(item.get("field")),
    )


def read_content(body: bytes, *, branch_id: str | None) -> tuple[ContentDocument, ...]:
    """Read the documents that the content validator shows: a bare list, or `{model_id, branch, content}`. Raises
    UnreadableAnswer.

    The list must be whole and about the branch that was asked for: an issue that is not in it counts as fixed.
    """
    answer, items = read_list(body, "content", "documents", "records", "data")
    page = as_object(answer.get("pageInfo"))
    if any(answer.get(name) for name in _NOT_WHOLE) or page.get("hasNextPage") or page.get("nextCursor"):
        raise UnreadableAnswer("the answer does not hold all documents")
    if branch_id is not None and "branch" in answer:
        branch = answer["branch"]
        if as_id(branch.get("id") if isinstance(branch, dict) else branch) != branch_id.lower():
            raise UnreadableAnswer("the answer is not about the branch that was asked for")
    return tuple(map(_document, items))


_NOT_WHOLE = ("error", "errors", "nextCursor", "next_cursor", "hasNextPage", "has_next_page", "truncated")
_QUERIES = ("queries_and_issues", "queriesAndIssues")
_FILTERS = ("dashboard_filter_issues", "dashboardFilterIssues")
# The vendor's specification mentions errors of a document and does not name their field.
_OWN = ("document_errors", "documentErrors", "document_error", "documentError", "errors", "error", "issues")


def _document(item: object) -> ContentDocument:
    if not isinstance(item, dict):
        raise UnreadableAnswer("the answer holds a document that cannot be read")
    identifier = _key(item.get("identifier"))
    document_id = _key(item.get("document_id", item.get("documentId"))) or _key(item.get("id")) or identifier
    if document_id is None or not any(name in item for name in (*_QUERIES, *_FILTERS, *_OWN)):
        raise UnreadableAnswer("the answer holds a document that cannot be read")
    queries: list[str] = []
    issues: list[ContentIssue] = []
    for query in _items(item, *_QUERIES):
        if not isinstance(query, dict):
            raise UnreadableAnswer("the answer holds a query that cannot be read")
        name = as_text(query.get("query_name", query.get("queryName")))
        query_id = _key(query.get("query_presentation_id")) or _key(query.get("query_id_map_key")) or name
        queries += [name] if name else []
        for found in _items(query, "issues"):
            issues += (ContentIssue(message=text, query=name, query_id=query_id) for _, text in _messages(found))
    for found in _items(item, *_FILTERS):
        issues += (
            ContentIssue(message=text, query=name or "dashboard filter", query_id=f"filter {name or ''}")
            for name, text in _messages(found)
        )
    for found in _items(item, *_OWN):
        issues += (ContentIssue(message=text) for _, text in _messages(found))
    folder = item.get("folder")
    return ContentDocument(
        id=document_id,
        name=as_text(item.get("name")),
        identifier=identifier,
        kind=as_text(item.get("type")),
        folder=as_text(folder.get("path")) or as_text(folder.get("name"))
        if isinstance(folder, dict)
        else as_text(folder),
        queries=tuple(queries),
        issues=tuple(issues),
    )


def _key(value: object) -> str | None:
    """An id whose letter case matters. A number is an id as well."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else as_text(value)


def _items(item: dict[str, object], *names: str) -> list[object]:
    """The elements of the fields with these names; a text is its own only element. Raises UnreadableAnswer for anything else."""
    found: list[object] = []
    for value in map(item.get, names):
        if isinstance(value, list):
            found += value
        elif isinstance(value, str | dict):
            found.append(value)
        elif value is not None:
            raise UnreadableAnswer("the answer holds issues that cannot be read")
    return found


def _messages(issue: object) -> list[tuple[str | None, str]]:
    """What an issue says, each with the name of what it is about: a text, or an object with one text or several."""
    if isinstance(issue, str):
        return [(None, issue)]
    if isinstance(issue, dict):
        name = as_text(issue.get("filter_name", issue.get("filterName"))) or _name(issue.get("field"))
        texts = _items(issue, "message", "issues")
        if texts and all(isinstance(text, str) for text in texts):
            return [(name, str(text)) for text in texts]
    raise UnreadableAnswer("the answer holds an issue that cannot be read")


def _name(value: object) -> str | None:
    """A name in text, or that of an object."""
    return as_text(value.get("name") if isinstance(value, dict) else value)


def read_views(body: bytes, *, with_fields: bool = False) -> tuple[View, ...]:
    """The views in a model's YAML, each with the table that its file names. Raises UnreadableAnswer.

    `files` maps a file's path to its text. A file without `table_name` is a view on the table of its own name, or a
    query; a `schema` that it does not name is the folder it lies in, if any. `viewNames` adds those without a file.
    """
    answer = read_object(body)
    files = answer.get("files")
    if not isinstance(files, dict):
        raise UnreadableAnswer("the answer holds no files")
    views = [
        _view(path, text, with_fields=with_fields)
        for path, text in files.items()
        if isinstance(text, str) and _is_view(path)
    ]
    known = {view.name for view in views}
    views.extend(
        View(name=name, catalog=None, schema=None, table=None)
        for name in _names(answer.get("viewNames"))
        if name not in known
    )
    return tuple(views)


def _names(value: object) -> list[str]:
    """The names of views in `viewNames`: a list, or a map from name to definition, or one from file to name."""
    if not isinstance(value, dict):
        return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    return [named if isinstance(named, str) and _is_view(name) else name for name, named in value.items()]


def _is_view(path: str) -> bool:
    return path.endswith(_VIEW_SUFFIXES) and path.rpartition("/")[2].partition(".")[0] not in _NOT_VIEWS


def _view(path: str, text: str, *, with_fields: bool) -> View:
    folder, _, file = path.rpartition("/")
    head = {match[1]: _scalar(match) for match in reversed(list(_HEAD.finditer(text[:_HEAD_CHARACTERS])))}
    folder = folder.rpartition("/")[2]
    return View(
        name=file.partition(".")[0],
        catalog=head.get("catalog"),
        schema=head.get("schema") or (folder if folder and folder != "views" else None),
        table=head.get("table_name"),
        fields=_view_fields(text) if with_fields else (),
    )


_FIELD = re.compile(r"^ +(?:\"([^\"]+)\"|'([^']+)'|([^\s#:\"'][^:]*)):(?:\s|$)")
_SQL = re.compile(r"(?:^|[\s{,])sql:[ \t]*(.*?)(?=\n\s*[A-Za-z_]+:(?:\s|$)|\Z)", re.DOTALL)


def _view_fields(text: str) -> tuple[ViewField, ...]:
    """The fields under `dimensions`, `measures` and `filters` at the margin, in block style. Enough of YAML for their names and
    SQL.
    """
    found: dict[str, list[str]] = {}
    inside, depth, name = False, 0, ""
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if not indent:
            inside, depth, name = line.partition(":")[0] in {"dimensions", "measures", "filters"}, 0, ""
        elif inside and (not depth or indent <= depth) and (match := _FIELD.match(line)):
            depth, name = indent, match[1] or match[2] or match[3].strip()
            found[name] = [line[match.end() :]]
        elif name:
            found[name].append(line)
    sql = {field: _SQL.search("\n".join(lines)) for field, lines in found.items()}
    return tuple(ViewField(name=field, sql=match[1].strip() if match else None) for field, match in sql.items())


def _scalar(match: re.Match[str]) -> str:
    double, single, plain = match[2], match[3], match[4]
    if double is not None:
        return _ESCAPED.sub(r"\1", double)
    return single.replace("''", "'") if single is not None else plain
