"""Warnings of one reading: each kind once, with the places that it is about."""

from __future__ import annotations

from typing import Final

from orchestrator.text import clean

MAX_PLACES: Final = 5
"""So many places stand in a warning."""


class ReaderWarnings:
    """Collects warnings by their kind."""

    def __init__(self) -> None:
        """Nothing to warn of."""
        self._places: dict[str, list[str]] = {}

    def add(self, what: str, place: str = "") -> None:
        """Record a warning; one that is known gets another place."""
        places = self._places.setdefault(what, [])
        if place and place not in places[-MAX_PLACES:]:
            places.append(place)

    def render(self) -> tuple[str, ...]:
        """Return a line for each kind: what it is, then the first places, then how many more there are."""
        return tuple(clean(what + _shown(places)) for what, places in self._places.items())


def _shown(places: list[str]) -> str:
    if not places:
        return ""
    more = len(places) - MAX_PLACES
    return ": " + "; ".join(places[:MAX_PLACES]) + (f"; and {more} more" if more > 0 else "")
