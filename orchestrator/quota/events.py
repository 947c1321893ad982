"""What a rate limiter reports while it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHeld:
    """A key pauses for `wait_s` seconds, because the server answered 429."""

    instance: str
    key: str
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetAside:
    """The server refused a key; `keys_left` others of the instance still work."""

    instance: str
    key: str
    keys_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChanged:
    """The observed limit of a key changed: `limit` calls a window with bursts of `burst`; `configured` is the manifest's."""

    instance: str
    key: str
    configured: int
    limit: int
    burst: int


LimiterEvent = KeyHeld | KeySetAside | LimitChanged
