"""What a 429 means if the log showed room: a lower limit, a smaller burst, or a shared key.

Pure. Two numbers are learned: `limit`, how many calls a window really takes, and `burst`, how many may go at once. A
429 in the middle of a burst says first that bursts are too large; one that comes while calls were already spread out
says that the limit itself is lower. What a whole window accepted is taken as the limit; before a whole window has
passed the limit is only guessed, cut multiplicatively, and grows back fast. A measured limit grows back by small steps,
less often each time that growing led to another 429.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_CUT = 0.7
_FAST = 1.25
_STEP = 0.05
_AGREE = 0.1
_LONGEST_PATIENCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitEstimate:
    """The estimate of one key's limit. `configured` is the manifest's limit.

    `measured` is whether a whole window stands behind `limit`; `accepted` what the window held at the last event;
    `patience` how many clean windows there must be before a measured limit is raised, and `clean_windows` how many
    there were.
    """

    configured: int
    limit: int
    burst: int
    measured: bool = False
    accepted: int = 0
    patience: int = 1
    clean_windows: int = 0
    events: int = 0

    @classmethod
    def from_configured(cls, configured: int) -> LimitEstimate:
        """The estimate before the first call: what the manifest says."""
        return cls(configured=configured, limit=configured, burst=configured)

    @property
    def is_lower(self) -> bool:
        """True if the observed limit is below the configured one."""
        return self.limit < self.configured or self.burst < self.configured


def after_throttle(
    now: LimitEstimate, *, accepted: int, spread: bool, whole_window: bool, apart: bool
) -> LimitEstimate:
    """The estimate after a 429 that the log did not expect.

    `accepted`: calls of the last window that were answered with something else. `spread`: calls had been paced one by
    one lately. `whole_window`: a whole window had passed since the first call or the last hold. `apart`: more than a
    window has passed since the last such event.
    """
    patience = min(_LONGEST_PATIENCE, now.patience * 2) if now.measured and apart else now.patience
    limit, measured = now.limit, now.measured
    if spread:
        # the same count at two events that lie apart is the limit itself
        again = apart and now.events > 0 and abs(accepted - now.accepted) <= _AGREE * accepted
        measured = whole_window or again
        limit = min(now.limit - 1, accepted if measured else max(accepted, int(now.limit * _CUT)))
    return replace(
        now,
        limit=max(1, limit),
        burst=max(1, min(now.burst, accepted) // 2),
        measured=measured,
        accepted=accepted,
        patience=patience,
        clean_windows=0,
        events=now.events + 1,
    )


def after_probes(now: LimitEstimate) -> LimitEstimate:
    """The estimate after several holds in a row ended in another 429: no burst takes that long to drain, so the window is full,
    and what it held at the event is the first guess at what it holds.
    """
    if not now.accepted:
        return now
    return replace(now, limit=min(now.limit, now.accepted), measured=False)


def after_clean_window(now: LimitEstimate) -> LimitEstimate:
    """The estimate after a window with calls and without a 429: a guess grows fast, a measured limit by steps, with patience."""
    if not now.is_lower:
        return now
    step = max(1, round(now.configured * _STEP))
    burst = min(now.configured, now.burst + step)
    if not now.measured:
        return replace(now, limit=min(now.configured, max(now.limit + step, int(now.limit * _FAST))), burst=burst)
    if now.clean_windows + 1 < now.patience:
        return replace(now, clean_windows=now.clean_windows + 1)
    return replace(now, limit=min(now.configured, now.limit + step), burst=burst, clean_windows=0)
