"""Answers about what one model holds: its schemas, its views, what its validation finds."""

from __future__ import annotations

import re

from orchestrator.omni.answers import ValidationIssue, View
from orchestrator.omni.fields import UnreadableAnswer, as_flag, as_text, read_list, read_object

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


def _name(value: object) -> str | None:
    """A name in text, or that of an object."""
    return as_text(value.get("name") if isinstance(value, dict) else value)


def read_views(body: bytes) -> tuple[View, ...]:
    """The views in a model's YAML, each with the table that its file names. Raises UnreadableAnswer.

    `files` maps a file's path to its text. A file without `table_name` is a view on the table of its own name, or a
    query; a `schema` that it does not name is the folder it lies in, if any. `viewNames` adds those without a file.
    """
    answer = read_object(body)
    files = answer.get("files")
    if not isinstance(files, dict):
        raise UnreadableAnswer("the answer holds no files")
    views = [_view(path, text) for path, text in files.items() if isinstance(text, str) and _is_view(path)]
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


def _view(path: str, text: str) -> View:
    folder, _, file = path.rpartition("/")
    head = {match[1]: _scalar(match) for match in reversed(list(_HEAD.finditer(text[:_HEAD_CHARACTERS])))}
    folder = folder.rpartition("/")[2]
    return View(
        name=file.partition(".")[0],
        catalog=head.get("catalog"),
        schema=head.get("schema") or (folder if folder and folder != "views" else None),
        table=head.get("table_name"),
    )


def _scalar(match: re.Match[str]) -> str:
    double, single, plain = match[2], match[3], match[4]
    if double is not None:
        return _ESCAPED.sub(r"\1", double)
    return single.replace("''", "'") if single is not None else plain
