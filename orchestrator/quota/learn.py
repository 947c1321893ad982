"""What a 429 teaches although the log said that there was room: a lower limit, a smaller burst, or a shared key.

Pure. Two numbers are learned: `limit`, how many calls a window really takes, and `burst`, how many may go at once. A
429 in the middle of a burst says first that bursts are too large; one that comes while calls were already spread out
says that the limit itself is lower. Both are measured (what was accepted), cut multiplicatively when there is nothing
to measure, and grow back additively, more rarely each time that growing was answered by another 429.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# Below this share of the window since the last hold, accepted calls say nothing about what a whole window takes.
_SETTLED = 0.9
_CUT = 0.7
_GROWTH = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What is believed of one key's limit. `told` is the manifest's word; `patience` counts windows between raises."""

    told: int
    limit: int
    burst: int
    patience: int = 1
    clean_windows: int = 0
    events: int = 0

    @classmethod
    def from_told(cls, told: int) -> Learned:
        """Belief before the first call: what the manifest says."""
        return cls(told=told, limit=told, burst=told)

    @property
    def is_lower(self) -> bool:
        """Whether the server was seen to give less than it was told to."""
        return self.limit < self.told or self.burst < self.told


def after_throttle(now: Learned, *, accepted: int, spread: bool, whole_window: bool) -> Learned:
    """Belief after a 429 that the log did not expect.

    `accepted`: calls of the last window that were answered with something else. `spread`: calls had been paced one by
    one since the last hold. `whole_window`: at least one whole window had passed since the first call or the last hold.
    """
    patience = min(16, now.patience * 2) if now.events else now.patience
    burst = max(1, min(now.burst, accepted) // 2)
    limit = now.limit
    if spread:
        limit = min(now.limit - 1, accepted if whole_window else max(accepted, int(now.limit * _CUT)))
    return replace(now, limit=max(1, limit), burst=burst, patience=patience, clean_windows=0, events=now.events + 1)


def after_clean_window(now: Learned) -> Learned:
    """Belief after a window with calls and without a 429: a little more, once `patience` windows have been clean."""
    if not now.is_lower:
        return now
    if now.clean_windows + 1 < now.patience:
        return replace(now, clean_windows=now.clean_windows + 1)
    step = max(1, round(now.told * _GROWTH))
    return replace(now, limit=min(now.told, now.limit + step), burst=min(now.told, now.burst + step), clean_windows=0)
