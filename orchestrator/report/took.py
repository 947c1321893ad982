"""How long something took, for people: two units at most, as a manifest would write them."""

from __future__ import annotations


def took(duration_s: float) -> str:
    """Seconds as `4ms`, `0.4s`, `12s`, `3m05s` or `2h07m`; nothing is shown finer than it matters."""
    if duration_s < 0.0995:
        return f"{duration_s * 1000:.0f}ms"
    if duration_s < 9.95:
        return f"{duration_s:.1f}s"
    whole = round(duration_s)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
