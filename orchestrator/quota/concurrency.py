"""How many calls may be on the wire at once, over all instances of a run."""

from __future__ import annotations

from collections.abc import Callable


class ConcurrencyLimit:
    """A count of calls under way, at most `workers`; doors register to be told when a place comes free."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.busy = 0
        self._doors: list[Callable[[], None]] = []

    def register(self, wake: Callable[[], None]) -> None:
        """`wake` is called whenever a place has come free after there was none."""
        self._doors.append(wake)

    @property
    def is_full(self) -> bool:
        """Whether no further call may leave now."""
        return self.busy >= self.workers

    def take(self) -> None:
        """One call leaves."""
        self.busy += 1

    def give_back(self) -> None:
        """One call ended."""
        was_full = self.is_full
        self.busy -= 1
        if was_full:
            for wake in self._doors:
                wake()
