"""The limit of each key: how calls are counted, and when one is refused.

All clocks here are the caller's: seconds since the simulator started.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Annotated, Literal, Protocol

from pydantic import Field

from orchestrator.simulator.field_types import Count, ScenarioPart, Seconds, Text, TimeRange


class Key(ScenarioPart):
    """An API key that the instance knows."""

    key: Text
    """The key itself, as the client sends it."""
    requests: Count | None = None
    """This key's own limit, if it differs from `limit.requests`."""
    refused_from: Seconds | None = None
    """From this moment on, the key is refused like a revoked one."""


class Limit(ScenarioPart):
    """How the calls of one key are counted and refused."""

    kind: Literal["sliding", "fixed", "bucket", "none"] = "sliding"
    """A log of the last `per` seconds, windows that follow one another, a token bucket, or no limit at all."""
    requests: Count = 60
    """Calls that one key may send in `per` seconds."""
    per: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """The window's length in seconds."""
    burst: Count | None = None
    """The size of the token bucket. Default: `requests`."""
    count_refused: bool = False
    """Whether a call that was answered 429 counts as well."""
    others_every: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Another program uses the same key: the seconds between its calls."""
    retry_after: Literal["none", "seconds", "date"] = "none"
    """The Retry-After header of a 429: none, whole seconds, or an HTTP date."""
    body: Literal["json", "html"] = "json"
    """The body of a 429: the API's JSON, or a proxy's page."""
    spells: tuple[TimeRange, ...] = ()
    """Times in which every call is answered 429."""


class _Counter(Protocol):
    """Counts one key's calls."""

    def take(self, now_s: float) -> float:
        """Return seconds until a call can be admitted; 0.0: this one is, and counts."""
        ...


class _Sliding:
    """At most `requests` calls in any window of `per_s`; a call leaves the window exactly `per_s` after it came."""

    def __init__(self, requests: int, per_s: float, *, count_refused: bool) -> None:
        self._requests, self._per_s, self._count_refused = requests, per_s, count_refused
        self._log: deque[float] = deque()

    def take(self, now_s: float) -> float:
        log = self._log
        while log and log[0] + self._per_s <= now_s:
            log.popleft()
        if len(log) < self._requests:
            log.append(now_s)
            return 0.0
        wait_s = log[-self._requests] + self._per_s - now_s
        if self._count_refused:
            log.append(now_s)
        return wait_s


class _Fixed:
    """At most `requests` calls in each window; the first begins when the simulator starts."""

    def __init__(self, requests: int, per_s: float) -> None:
        self._requests, self._per_s = requests, per_s
        self._window, self._count = -1, 0

    def take(self, now_s: float) -> float:
        window = int(now_s // self._per_s)
        if window != self._window:
            self._window, self._count = window, 0
        if self._count >= self._requests:
            return (window + 1) * self._per_s - now_s
        self._count += 1
        return 0.0


class _Bucket:
    """A bucket of `burst` tokens, full at first, refilled evenly with `requests` tokens in `per_s`."""

    def __init__(self, requests: int, per_s: float, burst: int, *, count_refused: bool) -> None:
        self._rate, self._burst, self._count_refused = requests / per_s, burst, count_refused
        self._tokens, self._at_s = float(burst), 0.0

    def take(self, now_s: float) -> float:
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        # rounding may leave slightly less than a token at the moment that a refusal named
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return 0.0
        wait_s = (1 - self._tokens) / self._rate
        if self._count_refused:
            self._tokens = 0.0
        return wait_s


class _Shared:
    """A counter that another program's calls use as well, one each `every_s`."""

    def __init__(self, counter: _Counter, every_s: float) -> None:
        self._counter, self._every_s, self._next_s = counter, every_s, 0.0

    def take(self, now_s: float) -> float:
        while self._next_s <= now_s:
            self._counter.take(self._next_s)
            self._next_s += self._every_s
        return self._counter.take(now_s)


def _make_counter(limit: Limit, requests: int) -> _Counter:
    counter: _Counter
    if limit.kind == "sliding":
        counter = _Sliding(requests, limit.per, count_refused=limit.count_refused)
    elif limit.kind == "fixed":
        counter = _Fixed(requests, limit.per)
    else:
        counter = _Bucket(requests, limit.per, limit.burst or requests, count_refused=limit.count_refused)
    return counter if limit.others_every is None else _Shared(counter, limit.others_every)


class RequestLimit:
    """Admits or refuses calls: the known keys, and a counter for each."""

    def __init__(self, limit: Limit, keys: Iterable[str | Key]) -> None:
        self._limit = limit
        full = (Key(key=key) if isinstance(key, str) else key for key in keys)
        self._keys = {key.key: key for key in full}
        self._counters: dict[str, _Counter] = {}

    def knows(self, key: str | None, now_s: float) -> bool:
        """Whether the key (None: no bearer token was sent) is accepted at `now_s`."""
        if not key:
            return False
        if not self._keys:
            return True
        known = self._keys.get(key)
        return known is not None and (known.refused_from is None or now_s < known.refused_from)

    def wait_s(self, key: str, now_s: float) -> float:
        """Count a call of `key` at `now_s` and return 0.0 if it is admitted; else return seconds until one can be."""
        for spell in self._limit.spells:
            if spell.from_s <= now_s < spell.until_s:
                return spell.until_s - now_s
        if self._limit.kind == "none":
            return 0.0
        counter = self._counters.get(key)
        if counter is None:
            known = self._keys.get(key)
            requests = known.requests if known is not None and known.requests else self._limit.requests
            counter = self._counters[key] = _make_counter(self._limit, requests)
        return counter.take(now_s)


def retry_after(
    form: Literal["none", "seconds", "date"], wait_s: float, http_date: Callable[[float], str]
) -> str | None:
    """The Retry-After header for a wait, rounded up to a whole second; `http_date` returns the date that many seconds ahead."""
    if form == "none":
        return None
    return str(max(1, math.ceil(wait_s))) if form == "seconds" else http_date(wait_s)
