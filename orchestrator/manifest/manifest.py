"""The values of a validated manifest: defaults are applied, and nothing is looked up yet."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

UUID_PATTERN: Final = "-".join(f"[0-9a-fA-F]{{{length}}}" for length in (8, 4, 4, 4, 12))
_UUID: Final = re.compile(UUID_PATTERN)


def is_id(text: str) -> bool:
    """Return whether a text is an id and not a name."""
    return _UUID.fullmatch(text) is not None


def absolute_path(path: str) -> str:
    """Return the path made absolute, without following links."""
    return os.path.normpath(Path(path).absolute())


class Mode(StrEnum):
    """How much a refresh replaces: a hard one also removes what was dropped, a soft one only adds."""

    HARD = "hard"
    SOFT = "soft"


class RefreshKind(StrEnum):
    """What a refresh reads: the schema from the warehouse, or only the metadata of dbt, into a branch."""

    SCHEMA = "schema"
    DBT_SYNC = "dbt_sync"


class OnAmbiguous(StrEnum):
    """What to do about a refresh call if it is unknown whether it arrived."""

    REPORT = "report"
    RESEND = "resend"


class Verify(StrEnum):
    """What is read after a job: nothing, whether the model has the scope, or which issues the refresh added.

    `validate` reads the issues of the model, `content` those of the documents that use it.
    """

    NONE = "none"
    SCOPE = "scope"
    VALIDATE = "validate"
    CONTENT = "content"

    @property
    def compares_issues(self) -> bool:
        """Whether issues are read before the refresh and after its job, to find the new ones."""
        return self in (Verify.VALIDATE, Verify.CONTENT)


class Secret:
    """Text that is never shown: `repr`, `str`, formatting and pickling reveal no part of it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the header that needs it and for the redactor."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where a key can be read again: the manifest's text, which consists of placeholders such as `${VAR}`, or a file."""

    text: str | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One API key and its source. `secret` is None only if keys were not read (`check` offline)."""

    source: KeySource
    secret: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What one key may send: at most `requests` calls of any kind in any `per_s` seconds."""

    requests: int = 60
    per_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One Omni organization's API. `base_url` is normalized: no trailing slash and no `/api`.

    `base_url_place` says in a message where it is written; empty if that is not known.
    """

    name: str
    base_url: str
    keys: tuple[ApiKey, ...]
    base_url_place: str = ""
    rate_limit: RateLimit = RateLimit()
    request_timeout_s: float = 30.0
    ca_file: Path | None = None

    @property
    def shown_address(self) -> str:
        """The host, and where the address is written, for a message."""
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        return f"{host} ({self.base_url_place})" if self.base_url_place else host

    def with_absolute_files(self) -> Instance:
        """Return the instance with files of keys and certificates that any working directory finds."""

        def absolute(path: Path | None) -> Path | None:
            return None if path is None else path.absolute()

        keys = tuple(replace(key, source=replace(key.source, file=absolute(key.source.file))) for key in self.keys)
        return replace(self, keys=keys, ca_file=absolute(self.ca_file))


@dataclass(frozen=True, slots=True, kw_only=True)
class PollBounds:
    """The shortest and the longest time between two polls of one job. If the budget is short, it can be longer."""

    min_s: float = 2.0
    max_s: float = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in the manifest's file. Lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry under `models:` with its defaults applied. Names and scopes are exactly as written.

    `name` is the label, unique in the manifest. `model_id` is lower case; if it is None, `model_name` is looked up.
    `mode_pinned` is whether the entry itself has `mode:`. A `branch` with wildcards means at most `max_branches` branches, and
    no other entry has one of that many numbers after its `index`. A dbt sync is always soft.
    """

    index: int
    name: str
    instance: str
    model_id: str | None = None
    model_name: str | None = None
    branch: str | None = None
    max_branches: int = 20
    refresh: RefreshKind = RefreshKind.SCHEMA
    mode: Mode = Mode.HARD
    mode_pinned: bool = False
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    connection: str | None = None
    reads: tuple[str, ...] | None = None
    wait: bool = True
    timeout_s: float = 1800.0
    retries: int = 3
    poll: PollBounds = PollBounds()
    on_ambiguous: OnAmbiguous = OnAmbiguous.REPORT
    verify: Verify = Verify.NONE
    enabled: bool = True
    place: Place = Place(1, 1)

    @property
    def has_branch_pattern(self) -> bool:
        """Whether `branch` has wildcards."""
        return self.branch is not None and any(character in self.branch for character in "*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestWarning:
    """Something that is allowed in a manifest but probably not meant, for example tables without schemas."""

    place: Place
    message: str
    entry: str | None = None
    code: str = ""
    hint: str = ""


class NotifyOn(StrEnum):
    """The runs that send a notification: all, those that do not exit 0, or those with new or mended failures."""

    ALWAYS = "always"
    FAILURE = "failure"
    CHANGE = "change"


class Channel(StrEnum):
    """How a notification is sent: as JSON to a webhook, or by `apprise` to any service that it knows."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification about a run. `source` is the address as it is written, with its `${VAR}`, so that it can be read again.
    `url` is None if variables were not read (`check` offline, a simulation).
    """

    channel: Channel
    source: str
    url: Secret | None = None
    on: NotifyOn = NotifyOn.FAILURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest without errors: instances by name, entries in the file's order.

    No output may contain `secrets`: all keys, and all values of variables under `api_keys` and `notify`. `state` is a folder or
    an address, which may contain a password.
    """

    path: str
    sha256: str
    instances: dict[str, Instance]
    entries: tuple[Entry, ...]
    workers: int = 16
    collapse: bool = True
    notify: tuple[Notice, ...] = ()
    warnings: tuple[ManifestWarning, ...] = ()
    secrets: tuple[Secret, ...] = ()
    name: str | None = None
    state: Secret | None = None

    @property
    def identity(self) -> str:
        """What identifies the manifest on all machines and in all releases: its `name`, else its path, made absolute without
        following links.
        """
        return self.name if self.name is not None else absolute_path(self.path)
