"""What a lane is doing at a moment, for whoever watches a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from orchestrator.engine.refresh_state import Phase, RefreshState
from orchestrator.quota.duration_model import DurationModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveLane:
    """A lane with a call on the wire or a job that runs: whose refresh it is (`target`, and how many targets it `serves`),
    for how long the job has run (seconds since the server accepted it, None before that), how long such a job usually
    takes (None where nobody knows), and how many targets of the lane wait `behind` it.
    """

    instance: str
    target: str
    serves: int
    age_s: float | None
    usual_s: float | None
    behind: int

    @classmethod
    def of(
        cls, instance: str, life: RefreshState | None, pending: int, durations: DurationModel, now: float
    ) -> Self | None:
        """What a lane is doing at `now` that has `pending` targets without an outcome; None where it only waits."""
        if life is None or life.phase not in (Phase.SENDING, Phase.FOLLOWING):
            return None
        serves = len(life.refresh.served)
        return cls(
            instance=instance,
            target=life.refresh.sender.entry.name,
            serves=serves,
            age_s=None if life.accepted_at is None else now - life.accepted_at,
            usual_s=durations.known_s(life.refresh.sender.model_id),
            behind=max(0, pending - serves),
        )
