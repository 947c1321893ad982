"""Checks a call log: was the limit kept and the budget used, did refreshes overlap, was anything sent twice?

Pure functions over calls, oldest first.
"""

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from orchestrator.simulator.calls import Call


def most_in_window(calls: Sequence[Call], per_s: float) -> int:
    """The most calls in any window of `per_s` seconds, whatever the answers were.

    A call exactly `per_s` after another is not in the same window. Calls of several keys are counted together: select the calls
    of one key first.
    """
    moments = sorted(call.t_s for call in calls)
    most, first = 0, 0
    for position, moment in enumerate(moments):
        while moment - moments[first] >= per_s:
            first += 1
        most = max(most, position - first + 1)
    return most


def overlaps(calls: Sequence[Call]) -> list[tuple[Call, Call]]:
    """Pairs of refreshes that ran at once on one connection: a refresh, and one that started before it had ended."""
    by_connection: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.accepted and call.connection_id is not None:
            by_connection[call.connection_id].append(call)
    found = []
    for started in by_connection.values():
        started.sort(key=lambda call: (call.started_s or 0.0, call.number))
        for position, earlier in enumerate(started):
            ends_s = math.inf if earlier.finished_s is None else earlier.finished_s
            for later in started[position + 1 :]:
                if (later.started_s or 0.0) >= ends_s:
                    break
                found.append((earlier, later))
    return found


def budget_share(calls: Sequence[Call], requests: int, per_s: float, *, until_s: float | None = None) -> float:
    """The share of a budget of `requests` per `per_s` that was used while there were refreshes to send: 0 to 1 (or more).

    Counted from the first call, over whole windows, until `until_s` (default: the last accepted refresh). 1.0 if that is less
    than one window, because nothing had to wait.
    """
    if not calls:
        return 1.0
    moments = sorted(call.t_s for call in calls)
    first = moments[0]
    last = max((call.t_s for call in calls if call.accepted), default=first) if until_s is None else until_s
    windows = int((last - first) // per_s)
    if windows < 1:
        return 1.0
    used = bisect.bisect_left(moments, first + windows * per_s)
    return used / (requests * windows)


def posts_per_model(calls: Sequence[Call]) -> Mapping[str, int]:
    """How often each model's refresh was sent, calls that the limit refused left out; by the id in the path, lower case."""
    return Counter(
        call.path.split("/")[-2].lower()
        for call in calls
        if call.method == "POST" and call.path.endswith("/refresh") and not call.limited
    )


def known_at(calls: Sequence[Call]) -> Mapping[str, Call]:
    """For each job, the first call whose answer said how it ended."""
    first: dict[str, Call] = {}
    for call in calls:
        if call.tells_end and call.job_id is not None:
            first.setdefault(call.job_id, call)
    return first
