"""How a run is to go, as far as the manifest does not say it: the command line's word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Overlap(StrEnum):
    """What to do about another run of the same manifest, and about refreshes that earlier runs left and that still run."""

    FAIL = "fail"
    WAIT = "wait"
    PROCEED = "proceed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """`wait` False submits only. `max_failures` stops submitting after so many targets that did not succeed.
    `deadline_s` bounds the whole run and `grace_s` what is still followed after a signal, both in seconds. `fail_on_new_issues` makes
    a validation error that a refresh brought count as a target that did not succeed, in the exit code alone.
    `overlap` decides how long a lane waits for a job that an earlier run left.
    """

    wait: bool = True
    max_failures: int | None = None
    deadline_s: float | None = None
    grace_s: float = 3.0
    fail_on_new_issues: bool = False
    overlap: Overlap = Overlap.FAIL
