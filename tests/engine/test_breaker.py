"""An instance that is down: nothing more is submitted until a small read answers, and after two minutes no more at all."""

from itertools import pairwise

import pytest

from orchestrator.engine.calls import Breaker, is_silence, next_probe_s
from orchestrator.engine.events import InstanceAnswers, InstanceGivenUp, InstanceSilent
from orchestrator.engine.outcome import Status
from orchestrator.omni.errors import CallError, CallErrorKind, DeliveryUnknown, Refused, Throttled, Unsent
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse

MANY = 40


def run(*faults: dict[str, object], count: int = MANY, workers: int = 2, **sections: object) -> Rehearsal:
    """A run over many models, of which two calls are on the wire at once."""
    text = manifest_text(*(model(n) for n in range(1, count + 1)), workers=workers)
    staged = make_scenario(default_model={"duration": 5}, faults=list(faults), **sections)
    return rehearse(text, staged)


DOWN = [
    pytest.param({"status": 500}, id="500"),
    pytest.param({"status": 503, "headers": {"Retry-After": "1"}}, id="503-retry-after"),
    pytest.param({"drop": "reset"}, id="reset"),
]


@pytest.mark.parametrize("fault", DOWN)
def test_after_five_silent_calls_nothing_more_is_submitted(fault: dict[str, object]) -> None:
    """Five calls in a row without an answer or with 5xx: at most the active ones still go, then only probes."""
    rehearsal = run({"always": True, **fault})
    assert len(rehearsal.posts) <= 5 + 1
    assert len(rehearsal.witness.moments(InstanceSilent)) == 1


def test_probes_are_small_reads_and_grow_rare() -> None:
    """The first probe comes after 5 s, the next ones later and later, no minute without one; then it is given up."""
    rehearsal = run({"always": True, "status": 500})
    silent_s = rehearsal.witness.moments(InstanceSilent)[0]
    probes = [call for call in rehearsal.reads if call.t_s > silent_s]
    assert {(call.path, call.query_string) for call in probes} == {("/api/v1/models", "pageSize=1")}
    gaps = [b - a for a, b in pairwise([silent_s, *(call.t_s for call in probes)])]
    assert gaps[0] == pytest.approx(5, abs=0.1)
    assert all(5 <= gap <= 60.5 for gap in gaps)
    assert rehearsal.witness.moments(InstanceGivenUp) == [pytest.approx(silent_s + 120, abs=1)]


def test_what_was_not_sent_ends_as_instance_down() -> None:
    """After two minutes the unsent end `error`, kind `instance_down`, with what was heard last; the run is over."""
    rehearsal = run({"always": True, "status": 500})
    down = [o for o in rehearsal.outcomes if o.status is Status.ERROR]
    assert {o.error.kind for o in down if o.error} == {"instance_down"}
    assert {o.attempts for o in down} == {0}
    unknown = [o for o in rehearsal.outcomes if o.status is Status.UNKNOWN]
    assert len(unknown) == len(rehearsal.posts)
    assert len(down) + len(unknown) == MANY
    assert rehearsal.result.duration_s < 150


@pytest.mark.parametrize("until_s", [20.0, 60.0, 118.0])
def test_when_it_answers_again_the_run_continues(until_s: float) -> None:
    """An instance that is back within two minutes gets all that waited."""
    rehearsal = run({"until": until_s, "status": 500})
    lost = [o for o in rehearsal.outcomes if o.status is Status.UNKNOWN]
    assert len(lost) <= 6
    assert len([o for o in rehearsal.outcomes if o.status is Status.SUCCEEDED]) == MANY - len(lost)
    assert len(rehearsal.witness.moments(InstanceAnswers)) == 1


def test_a_port_that_refuses_counts_as_well() -> None:
    """A port that is closed for a minute costs no target: no call left, and all are sent afterwards."""
    rehearsal = run(outages=[{"from": 3, "until": 60}], count=100, workers=1)
    assert set(rehearsal.statuses.values()) == {Status.SUCCEEDED}
    assert len(rehearsal.posts) == 100
    assert rehearsal.result.stats.requests == len(rehearsal.calls)


def test_a_stalled_server_sees_no_more_than_the_limit_when_it_wakes() -> None:
    """What a stalled server still holds when it wakes, and what comes then, is within the limit: calls that were given up
    count on.
    """
    stalled_until_s = 125.0
    stall = {"from": 10.0, "until": stalled_until_s, "delay": 10_000.0, "status": 502}
    limit = {"requests": 8, "per": "60s"}
    text = manifest_text(
        *(model(n) for n in range(1, 21)), instance={"rate_limit": limit, "request_timeout": "10s"}, workers=16
    )
    run = rehearse(text, make_scenario(default_model={"duration": 40}, faults=[stall]))
    counted = [call for call in run.calls if 10.0 <= call.t_s < stalled_until_s + 60]
    assert 5 <= len(counted) <= 8


def test_an_instance_that_is_gone_costs_few_calls() -> None:
    """While nothing is answered, jobs are followed by one poll after each probe, not by a poll each: then each ends
    `unknown` soon after its timeout.
    """
    many = 50
    models = [model(n, timeout="5m") for n in range(1, many + 1)]
    staged = make_scenario(default_model={"duration": 3600}, faults=[{"from": 20.0, "always": True, "status": 502}])
    run = rehearse(manifest_text(*models), staged)
    assert set(run.statuses.values()) == {Status.UNKNOWN}
    assert {o.error.kind for o in run.outcomes if o.error} == {"poll_failed"}
    silent_s = run.witness.moments(InstanceSilent)[0]
    later = [call.t_s for call in run.calls if call.t_s > silent_s + 60]
    assert len(later) <= 20
    assert run.result.duration_s < 5 * 60 + 6 * 60
    assert all(outcome.polls < 20 for outcome in run.outcomes)


def test_polls_go_on_meanwhile() -> None:
    """Jobs that run are followed while submits are held back."""
    faults = [{"method": "POST", "from": 0.05, "until": 90, "status": 500}]
    rehearsal = run(*faults, count=30, workers=1, latency=0.02)
    silent_s = rehearsal.witness.moments(InstanceSilent)[0]
    assert any(silent_s < poll.t_s < silent_s + 30 for poll in rehearsal.polls)
    assert Status.FAILED not in rehearsal.statuses.values()


def test_refusals_are_answers() -> None:
    """404, 400 and 429 are answers: however many there are, nothing is held back for them."""
    rehearsal = run({"method": "POST", "always": True, "status": 404}, count=30)
    assert len(rehearsal.posts) == 30
    assert rehearsal.witness.moments(InstanceSilent) == []


def test_one_instance_that_is_down_harms_no_other_target() -> None:
    """A silent spell between answers is no silence: the count starts anew with each answer."""
    rehearsal = run({"method": "POST", "every": 2, "count": "rule", "status": 500}, count=30)
    assert rehearsal.witness.moments(InstanceSilent) == []
    assert sorted(set(rehearsal.statuses.values())) == [Status.SUCCEEDED, Status.UNKNOWN]


@pytest.mark.parametrize(
    "error, silent",
    [
        (Unsent(CallErrorKind.DNS, ""), True),
        (Unsent(CallErrorKind.CONNECT, ""), True),
        (Unsent(CallErrorKind.TLS, ""), False),
        (DeliveryUnknown(CallErrorKind.TIMEOUT, ""), True),
        (DeliveryUnknown(CallErrorKind.CUT_OFF, "", http_status=200), False),
        (DeliveryUnknown(CallErrorKind.SERVER_ERROR, "", http_status=502), True),
        (DeliveryUnknown(CallErrorKind.TIMEOUT, "", http_status=408), False),
        (Refused(CallErrorKind.UNAVAILABLE, "", http_status=503), True),
        (Refused(CallErrorKind.FORBIDDEN, "", http_status=403), False),
        (Refused(CallErrorKind.BAD_REQUEST, ""), False),
        (Throttled(CallErrorKind.THROTTLED, "", http_status=429), False),
    ],
)
def test_what_counts_as_silence(error: CallError, silent: bool) -> None:
    """No answer or a 5xx speaks for an instance that is down; an answer or a bad certificate does not."""
    assert is_silence(error) is silent


def test_a_breaker_opens_once_and_closes_once() -> None:
    """Only the fifth failure in a row opens it, only the first answer closes it."""
    breaker = Breaker()
    assert [breaker.failed() for _ in range(4)] == [False] * 4
    assert not breaker.answered()
    assert [breaker.failed() for _ in range(7)] == [*[False] * 4, True, False, False]
    assert breaker.is_open
    assert breaker.answered()
    assert not breaker.answered()
    assert [next_probe_s(n) for n in range(6)] == [5, 10, 20, 40, 60, 60]
    assert next_probe_s(10**6) == 60
