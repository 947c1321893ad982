"""Values of this program as JSON data and back, by their fields' types; a secret is never among them.

Fields that the stored data lacks keep their defaults and fields that it has too many are passed over, so that a run of
an earlier version can be gone on with.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, cast

from orchestrator.manifest.manifest import Secret

T = TypeVar("T")


def as_data(value: object) -> Any:
    """`value` as JSON data; a secret becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [as_data(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Secret):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} cannot be stored")


def from_data(kind: type[T], data: Any) -> T:
    """The value of `kind` that `data` stands for. Raises ValueError, KeyError or TypeError where it does not."""
    return cast(T, _read(kind, data))


def _read(kind: Any, data: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return None if data is None else _read(next(a for a in arguments if a is not type(None)), data)
    if origin is tuple:
        return tuple(_read(arguments[0], item) for item in data)
    if origin is not None and issubclass(origin, Mapping):
        return {_read(arguments[0], key): _read(arguments[1], item) for key, item in data.items()}
    if is_dataclass(kind):
        kinds = _kinds_of_fields(cast(type, kind))
        return cast(Any, kind)(**{name: _read(kinds[name], item) for name, item in data.items() if name in kinds})
    if kind is Secret:
        return Secret("")
    if kind is datetime:
        return datetime.fromisoformat(data)
    if kind in (object, Any):
        return data
    if isinstance(kind, type) and issubclass(kind, Enum | Path | float):
        return cast(Any, kind)(data)
    if not isinstance(data, kind):
        raise TypeError(f"{kind.__name__} expected, {type(data).__name__} found")
    return data


@functools.cache
def _kinds_of_fields(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
