"""Render an instance's models as a manifest that people edit: with comments, and valid. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from orchestrator.durations import render_duration
from orchestrator.manifest.manifest import Instance, RateLimit, is_id
from orchestrator.omni.answers import ModelRecord
from orchestrator.survey.model_listing import ModelListing
from orchestrator.text import clean, plural

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/-]*(?: [A-Za-z0-9_/-]+)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "$": "$$"}
_LONGEST = 500
_COMMENT = 120
_BRANCHES = 20


def render_manifest(listing: ModelListing, instance: Instance, *, at: datetime) -> str:
    """Return a manifest's text, which ends in a newline. The listing must not be empty.

    It names every model by its id, with its connection, so that a run needs no look-ups. Branches and connection environments are comments.
    """
    return "\n".join([*_head(listing, instance, at), *_models(listing)]) + "\n"


def quote(text: str) -> str:
    """Return a text as a YAML scalar that a manifest reads back exactly."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char == " " or (char.isprintable() and clean(char) == char):
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _head(listing: ModelListing, instance: Instance, at: datetime) -> Iterator[str]:
    models, connections = len(listing.models), len(listing.by_connection())
    yield "# yaml-language-server: $schema=manifest.schema.json"
    yield "# For editors: omni-refresh schema manifest > manifest.schema.json"
    yield "#"
    yield f"# What {_comment(instance.base_url)} had on {at:%Y-%m-%d}: {_count(models, 'model')} on {_count(connections, 'connection')}."
    yield "# Written by `omni-refresh discover`. Look it over, then `check --online`, `plan` and `run` it."
    yield "version: 1"
    yield ""
    yield "instances:"
    yield f"  {quote(instance.name)}:"
    yield f"    base_url: {quote(instance.base_url)}"
    # placeholders are written as they are: they name variables
    texts = [f'"{key.source.text}"' for key in instance.keys if key.source.text is not None]
    files = [quote(str(key.source.file)) for key in instance.keys if key.source.file is not None]
    if texts:
        yield f"    api_keys: [{', '.join(texts)}]"
    if files:
        yield f"    api_key_file: [{', '.join(files)}]"
    if instance.rate_limit != RateLimit():
        limit = instance.rate_limit
        yield f"    rate_limit: {{requests: {limit.requests}, per: {render_duration(limit.per_s)}}}"
    if instance.ca_file is not None:
        yield f"    ca_file: {quote(str(instance.ca_file))}"
    yield ""
    yield "defaults:"
    yield "  mode: soft  # only adds; hard also removes what is gone from the warehouse, and is the API's own default"
    yield ""
    yield "models:"


def _models(listing: ModelListing) -> Iterator[str]:
    labels = _Labels()
    for number, (connection_id, models) in enumerate(listing.by_connection().items()):
        if number:
            yield ""
        name = listing.connection_name(connection_id)
        yield f"  # {_connection(listing, connection_id)}: {_count(len(models), 'model')}" + (
            ", which one refresh serves" if len(models) > 1 else ""
        )
        for model in models:
            label = labels.of(model, name or connection_id)
            yield f"  - id: {model.id}"
            if label is not None:
                yield f"    name: {quote(label)}"
            if connection_id is not None:
                said = name if name is not None and _is_fit(name) and not is_id(name) else connection_id
                yield f"    connection: {quote(said)}"
            if model.kind not in (None, "SHARED"):
                yield f"    # kind: {_comment(str(model.kind))}"
            branches = listing.branches(model.id)
            for branch in branches[:_BRANCHES]:
                yield f"    # branch: {_comment(quote(branch))}"
            if len(branches) > _BRANCHES:
                yield f"    # and {len(branches) - _BRANCHES} more branches"
        yield from _environments(listing, connection_id)


def _environments(listing: ModelListing, base: str | None) -> Iterator[str]:
    """Yield, as comments, entries that refresh the schemas of a connection's environments.

    They have no `connection`, so that it is looked up: only then it is known that it shares a lane with its base.
    """
    for environment, schema in listing.environments.get(base or "", ()):
        yield f"  # An environment of this connection, with a schema of its own: {_connection(listing, environment)}"
        yield f"  # - id: {schema.id}"
        called = listing.connection_name(environment) or environment
        if _is_fit(called):
            yield f"  #   name: {_comment(quote(f'environment {called}'))}"


def _connection(listing: ModelListing, connection_id: str | None) -> str:
    record = listing.connections.get(connection_id or "")
    if record is None:
        return f"Connection {_comment(connection_id)}" if connection_id else "On an unknown connection"
    about = ", ".join(_comment(word) for word in (record.dialect, record.database, record.id) if word)
    return f"{_comment(record.name or 'Connection')} ({about})"


class _Labels:
    """Labels for entries: the models' names, with the connection if two are equal; none if that is not unique."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def of(self, model: ModelRecord, connection: str | None) -> str | None:
        """Return a label that no other entry has; None if the id is the label."""
        self._used.add(model.id)
        for label in (model.name, f"{model.name} ({connection})", f"{model.name} ({model.id[:8]})"):
            if model.name and label is not None and _is_fit(label) and label not in self._used:
                self._used.add(label)
                return label
        return None


def _is_fit(text: str) -> bool:
    """Whether a text can stand in a manifest as a name."""
    return bool(text.strip()) and len(text) <= _LONGEST and text.isprintable() and clean(text) == text


def _comment(text: str) -> str:
    return clean(text)[:_COMMENT]


def _count(number: int, noun: str) -> str:
    return f"{number} {plural(noun, number)}"
