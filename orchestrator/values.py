"""Values of this program as JSON data and back, and the JSON Schema of that data. The types of the fields decide all three.

Stored data may come from another version: a missing field keeps its default, and an unknown field is ignored. A field's type
may be `Annotated` with its description, with keywords for its schema, or with a `Presence`.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar, Union, cast

from orchestrator.manifest.manifest import Secret

T = TypeVar("T")

STAMP_PATTERN: Final = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"

_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_PLAIN: Final = (str, int, bool, type(None))


class Presence(Enum):
    """When a field may be missing. `LATER`: earlier versions did not write it. `SPARSE`: it is not written if it has its
    default.
    """

    LATER = "later"
    SPARSE = "sparse"


class DataError(ValueError):
    """Data is not what a type expects; the text names the place."""


def format_stamp(moment: datetime) -> str:
    """Return a moment as UTC text with milliseconds, for example `2026-11-25T02:00:00.123Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def as_data(value: object, *, decimals: int | None = None) -> Any:
    """Return `value` as JSON data. A secret becomes null. `decimals` rounds every float."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, float):
        return value if decimals is None else round(value, decimals)
    if isinstance(value, tuple | list | set | frozenset):
        return [as_data(item, decimals=decimals) for item in value]
    if isinstance(value, Mapping):
        return {str(key): as_data(item, decimals=decimals) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type | Secret):
        found = {}
        for name, default in _written(type(value)):
            item = getattr(value, name)
            if default is MISSING or item != default:
                found[name] = as_data(item, decimals=decimals)
        return found
    return _as_scalar(value)


def _as_scalar(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return format_stamp(value)
    if isinstance(value, Secret):
        return None
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")


def from_data(kind: type[T], data: Any, *, path: str = "") -> T:
    """Return the value of `kind` that `data` stands for. Raises DataError with the place, which begins with `path`."""
    return cast(T, _reader(cast(Any, kind))(data, path))


def object_schema(kind: type, names: Mapping[type, str]) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass's data. A type in `names` is a reference to `$defs`."""
    required, properties = [], {}
    for field in fields(kind):
        hint = _hints(kind)[field.name]
        notes = getattr(hint, "__metadata__", ())
        schema = _schema(typing.get_args(hint)[0] if notes else hint, names)
        for note in notes:
            if isinstance(note, str):
                schema = {**schema, "description": note}
            elif isinstance(note, Mapping):
                schema = {**schema, **note}
        properties[field.name] = schema
        if not any(isinstance(note, Presence) for note in notes):
            required.append(field.name)
    return {"type": "object", "required": required, "properties": properties}


def _schema(kind: Any, names: Mapping[type, str]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(a, names) if a is not type(None) else {"type": "null"} for a in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], names)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema(arguments[1], names)}
    if kind in names:
        return {"$ref": f"#/$defs/{names[kind]}"}
    if is_dataclass(kind):
        return object_schema(cast(type, kind), names)
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    return dict(_SCHEMAS[kind])


_SCHEMAS: Final[dict[type, dict[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number", "minimum": 0},
    datetime: {"type": "string", "format": "date-time", "pattern": STAMP_PATTERN},
    object: {},
}


def _wrong(data: object, path: str, wanted: str) -> DataError:
    return DataError(f"{path or 'the value'} must be {wanted}, it is {str(data)[:80]!r}")


@functools.cache
def _reader(kind: Any) -> Callable[[Any, str], Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        read = _reader(next(a for a in arguments if a is not type(None)))
        return lambda data, path: None if data is None else read(data, path)
    if origin is tuple:
        return functools.partial(_read_list, _reader(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return functools.partial(_read_mapping, _reader(arguments[1]))
    if kind is Secret:
        return lambda *_: Secret("")
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        parts = tuple((f.name, _reader(hints[f.name]), _has_default(f)) for f in fields(kind))
        return functools.partial(_read_object, cast(type, kind), parts)
    if kind is datetime:
        return _read_moment
    if kind in (object, Any):
        return lambda data, _: data
    if issubclass(kind, Enum):
        return functools.partial(_read_word, {member.value: member for member in kind})
    if issubclass(kind, Path):
        return lambda data, path: kind(_read_plain(str, data, path))
    return functools.partial(_read_plain, kind)


def _read_plain(kind: type, data: Any, path: str) -> Any:
    # true is an int in Python, and none in JSON
    if isinstance(data, (int, float) if kind is float else kind) and (kind is bool or not isinstance(data, bool)):
        return data
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    raise _wrong(data, path, words.get(kind, kind.__name__))


def _read_word(known: Mapping[Any, Enum], data: Any, path: str) -> Enum:
    if not isinstance(data, str | int) or data not in known:
        raise _wrong(data, path, "one of " + ", ".join(map(str, known)))
    return known[data]


def _read_moment(data: Any, path: str) -> datetime:
    try:
        if isinstance(data, str) and _STAMP.fullmatch(data):
            return datetime.fromisoformat(data).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _wrong(data, path, "a time like 2026-11-25T02:00:00.123Z")


def _read_list(read: Callable[[Any, str], Any], data: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        raise _wrong(data, path, "a list")
    return tuple(read(item, f"{path}[{index}]") for index, item in enumerate(data))


def _read_mapping(read: Callable[[Any, str], Any], data: Any, path: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise _wrong(data, path, "an object")
    return {str(key): read(item, f"{path}.{key}") for key, item in data.items()}


def _read_object(
    kind: type, parts: tuple[tuple[str, Callable[[Any, str], Any], bool], ...], data: Any, path: str
) -> object:
    if not isinstance(data, Mapping):
        raise _wrong(data, path, "an object")
    dot = f"{path}." if path else ""
    for name, _, has_default in parts:
        if not has_default and name not in data:
            raise DataError(f"{dot}{name} is missing")
    return kind(**{name: read(data[name], dot + name) for name, read, _ in parts if name in data})


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


@functools.cache
def _written(kind: type) -> tuple[tuple[str, object], ...]:
    """The fields of a dataclass, each with the default with which it is not written, or MISSING."""
    found = []
    for field in fields(kind):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        is_sparse = Presence.SPARSE in getattr(_hints(kind)[field.name], "__metadata__", ())
        found.append((field.name, default if is_sparse else MISSING))
    return tuple(found)
