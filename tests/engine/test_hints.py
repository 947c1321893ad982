"""What people are told to do: a hint for every kind of failure, and one that says something new."""

import pytest

from orchestrator.engine.failure import CLOSED_WORDS, JOB_LEFT, RunKind, make_failure
from orchestrator.engine.run_context import RunSettings
from orchestrator.omni.errors import CallErrorKind
from orchestrator.simulator.reading import make_scenario
from tests.engine.test_ends import stop_after_10_s
from tests.rehearsal import manifest_text, model, rehearse


@pytest.mark.parametrize("kind", [*CallErrorKind, *RunKind])
def test_every_kind_has_a_hint(kind: CallErrorKind | RunKind) -> None:
    """No failure leaves people alone."""
    assert make_failure(kind, "").hint


@pytest.mark.parametrize("kind, message", CLOSED_WORDS.values())
def test_a_hint_does_not_repeat_the_message(kind: str, message: str) -> None:
    """What to do is not what happened, said once more."""
    assert message not in make_failure(kind, message).hint


def test_a_job_that_is_left_has_a_hint_of_its_own() -> None:
    """A run that is stopped while it follows a job says that resume checks it; what was not sent, that resume continues it."""
    staged = make_scenario(default_model={"duration": 300})
    text = manifest_text(model(1, connection="one"), model(2, connection="one"), defaults={"collapse": False})
    run = rehearse(text, staged, settings=RunSettings(grace_s=3), act=stop_after_10_s)
    hints = {o.status.value: o.error.hint for o in run.outcomes if o.error is not None}
    assert hints == {"interrupted": JOB_LEFT, "not_started": "run `omni-refresh resume` to continue"}
