"""The manifest's validated form: what a YAML file said, with defaults applied and nothing looked up yet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit


def absolute_path(path: str) -> str:
    """A path made absolute without following links."""
    return os.path.normpath(Path(path).absolute())


class Mode(StrEnum):
    """How much a refresh replaces (docs/reference/manifest.md): hard also removes what was dropped, soft only adds."""

    HARD = "hard"
    SOFT = "soft"


class RefreshKind(StrEnum):
    """What a refresh reads anew: the schema from the warehouse, or only the metadata of dbt, for a branch."""

    SCHEMA = "schema"
    DBT_SYNC = "dbt_sync"


class OnAmbiguous(StrEnum):
    """What happens to a refresh call that may or may not have arrived."""

    REPORT = "report"
    RESEND = "resend"


class Verify(StrEnum):
    """What is read back after a job: nothing, whether the scope is there, or which issues the refresh brought.

    `validate` reads the issues of the model itself, `content` those of the documents that use it.
    """

    NONE = "none"
    SCOPE = "scope"
    VALIDATE = "validate"
    CONTENT = "content"

    @property
    def compares_issues(self) -> bool:
        """Whether issues are read before the refresh and after its job, so that new ones are known."""
        return self in (Verify.VALIDATE, Verify.CONTENT)


class Secret:
    """Text that never shows itself: `repr`, `str`, formatting and pickling give no part of it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; only for the header that needs it and for the redactor."""
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
    """Where a key is read from, so that it can be read again: the manifest's text with its `${VAR}`, or a file.

    `text` holds only placeholders and never a key: a key written out in the manifest is a fault.
    """

    text: str | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One API key and where it came from. `secret` is None only where keys were not asked for (`check` offline)."""

    source: KeySource
    secret: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What one key may send: at most `requests` calls in any `per_s` seconds, whatever they ask."""

    requests: int = 60
    per_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One Omni organization's API. `base_url` is normalized: origin and path without a trailing slash or `/api`.

    `base_url_place` is where it is written, in words for a message; empty if that is not known.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PollBounds:
    """One job is polled at most every `min_s`, and at least every `max_s` if the budget allows."""

    min_s: float = 2.0
    max_s: float = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in the manifest's file; lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry under `models:` with its defaults applied. Names and scopes are exactly as written.

    `name` is the label, unique in the manifest. Exactly one of `model_id` and `model_name` decides which model is
    meant: `model_name` is looked up only where `model_id` is None. `model_id` is lower case.
    `mode_pinned` tells that the entry itself (not the defaults) said `mode:`. A `branch` with wildcards stands for at most
    `max_branches` branches; that many numbers after its `index` belong to no other entry. A dbt sync is always soft.
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
    """Something in a manifest that is allowed and probably not meant, for example tables without schemas."""

    place: Place
    message: str
    entry: str | None = None
    code: str = ""
    hint: str = ""


class NotifyOn(StrEnum):
    """After which runs a notification is sent: each, one that does not exit 0, or one that changed what is broken."""

    ALWAYS = "always"
    FAILURE = "failure"
    CHANGE = "change"


class Channel(StrEnum):
    """How a notification is sent: as JSON to a webhook, or by `apprise` to any service that it knows."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification about a run. `source` is the address as the manifest writes it, with its `${VAR}`, so that it can
    be read again; `url` is None if variables were not read (`check` offline, a simulation).
    """

    channel: Channel
    source: str
    url: Secret | None = None
    on: NotifyOn = NotifyOn.FAILURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest without faults: instances by name, entries in the file's order.

    `secrets` is what no output may hold: every key, and every value that came from a variable under `api_keys` or `notify`.
    `name` is what the manifest calls itself at its top, None if it does not. `state` is where it says that the state is kept: a
    folder or an address, which may hold a password.
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
        """What tells this manifest from others, across runs, machines and releases: its `name`, else its path as given,
        made absolute without following links.
        """
        return self.name if self.name is not None else absolute_path(self.path)
