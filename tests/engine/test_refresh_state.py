"""The steps of a refresh, as pure functions: any order of them leaves a state from which every target can be settled."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import Clock
from orchestrator.engine.make_outcomes import cut_off, settle
from orchestrator.engine.outcome import Status
from orchestrator.engine.refresh_state import Phase, RefreshState
from orchestrator.omni.answers import JobState
from orchestrator.omni.errors import CallErrorKind, DeliveryUnknown, Refused, Throttled, Unsent
from orchestrator.planning.lanes import refreshes
from orchestrator.quota.rate_limiter import StopReason
from tests.planning.targets import entry, manifest, target

AT = datetime(2026, 11, 25, 2, tzinfo=UTC)
CLOCK = Clock(lambda: 100.0, lambda: AT)
ENTRIES = (entry(0), entry(1))
REFRESH = next(refreshes([target(e) for e in ENTRIES], manifest(*ENTRIES)))
THROTTLED = Throttled(CallErrorKind.THROTTLED, "slow down", http_status=429)
ENDS = (
    THROTTLED,
    Refused(CallErrorKind.CONFLICT, "busy", http_status=409),
    Unsent(CallErrorKind.CONNECT, "refused"),
    DeliveryUnknown(CallErrorKind.CUT_OFF, "reset"),
    None,
)


def sent(state: RefreshState, number: int, end: Exception | None) -> RefreshState:
    """The state after one refresh call that ended like this; None: accepted."""
    state = state.waiting().sending(float(number), AT)
    if isinstance(end, Throttled):
        return state.turned_away(end, number + 0.5)
    if isinstance(end, Refused | Unsent | DeliveryUnknown):
        return state.submit_failed(end, number + 0.5)
    return state.accepted(f"job-{number}", "RUNNING", number + 0.5).following(number + 0.5)


@given(ends=st.lists(st.sampled_from(ENDS), max_size=8), is_sending=st.booleans())
def test_a_state_settles_at_any_moment(ends: list[Exception | None], is_sending: bool) -> None:
    """A run that is stopped between any two steps never says that nothing was sent if a call may have started a refresh."""
    state = RefreshState(refresh=REFRESH)
    for number, end in enumerate(ends):
        state = sent(state, number, end)
    if is_sending:
        state = state.waiting().sending(50.0, AT)
    result = cut_off(state, StopReason.STOPPED)
    may_have_started = is_sending or any(end is None or isinstance(end, DeliveryUnknown) for end in ends)
    assert result.status.end_unknown == may_have_started
    assert result.may_run == may_have_started
    outcomes = settle(state, result, began_at=0.0, clock=CLOCK, warnings={})
    assert len(outcomes) == (2 if may_have_started else 1)
    assert state.throttled == ends.count(THROTTLED)
    assert state.attempts == len(ends) - ends.count(THROTTLED)
    assert state.log.count == len(ends) + is_sending


def test_a_step_changes_no_earlier_state() -> None:
    """States are values: what was read of one stays true whatever comes after it."""
    first = RefreshState(refresh=REFRESH)
    followed = sent(first, 1, None)
    ended = followed.polling(5.0, AT).polled(JobState.SUCCEEDED, "COMPLETED", 5.0, 5.5).ended(6.0)
    assert (first.phase, first.job_ids, first.left_at) == (Phase.WAITING, (), None)
    assert (followed.phase, followed.job_ids, followed.polls) == (Phase.FOLLOWING, ("job-1",), 0)
    assert (ended.phase, ended.polls, ended.last_word, ended.unfinished_at) == (Phase.ENDED, 1, "COMPLETED", 1.5)


def test_a_throttled_first_call_was_never_sent() -> None:
    """A call that was answered 429 is no attempt: its target was not submitted yet, and ends as not started."""
    state = sent(RefreshState(refresh=REFRESH), 1, THROTTLED)
    assert (state.attempts, state.throttled, state.left_at, state.submitted_at) == (0, 1, None, None)
    assert cut_off(state, StopReason.DEADLINE).status is Status.NOT_STARTED
