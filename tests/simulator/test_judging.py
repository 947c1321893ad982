"""Call logs are judged rightly: windows, overlaps, the budget's use, what was sent twice, when an end was known."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator.call_log_checks import budget_share, known_at, most_in_window, overlaps, posts_per_model
from orchestrator.simulator.calls import Call, as_json_line, key_label


def _call(t_s: float, number: int = 1, **told: Any) -> Call:
    whole: dict[str, Any] = {
        "number": number,
        "t_s": t_s,
        "key": "-",
        "method": "GET",
        "path": "/api/v1/whoami",
        "query": {},
        "query_string": "",
        "url_bytes": 14,
        "body_bytes": 0,
        "user_agent": "",
        "status": 200,
        **told,
    }
    return Call(**whole)


def _refresh(started_s: float, finished_s: float | None, connection: str = "c", number: int = 1) -> Call:
    return _call(started_s, number, accepted=True, connection_id=connection, started_s=started_s, finished_s=finished_s)


MOMENTS = st.lists(st.integers(0, 100).map(lambda tenth: tenth / 10), max_size=40)


@given(moments=MOMENTS, per_tenths=st.integers(1, 50))
def test_the_fullest_window_is_found(moments: list[float], per_tenths: int) -> None:
    """The count is that of the fullest window which begins at some call; its end is not in it."""
    per_s = per_tenths / 10
    calls = [_call(moment) for moment in moments]
    fullest = max(
        (sum(start <= moment and moment - start < per_s for moment in moments) for start in moments), default=0
    )
    assert most_in_window(calls, per_s) == fullest


def test_a_call_a_window_later_is_not_in_it() -> None:
    """Two calls exactly 60 s apart are in no window together; a millisecond less, they are."""
    assert most_in_window([_call(0.0), _call(60.0)], 60) == 1
    assert most_in_window([_call(0.0), _call(59.999)], 60) == 2
    assert most_in_window([], 60) == 0


def test_refreshes_that_run_at_once_are_found() -> None:
    """Overlap is a start before the end on the same connection; a start at the very end is none."""
    first, second, third = _refresh(0, 10), _refresh(9.9, 12, number=2), _refresh(12, 15, number=3)
    assert overlaps([third, first, second]) == [(first, second)]
    assert overlaps([_refresh(0, 10), _refresh(5, 8, connection="d")]) == []
    endless, later, last = _refresh(0, None), _refresh(1e9, 1e9 + 1, number=2), _refresh(2e9, None, number=3)
    assert overlaps([endless, later, last]) == [(endless, later), (endless, last)]
    assert overlaps([_call(0.0), _call(0.0, connection_id="c")]) == []


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=12)


@given(spans=SPANS)
def test_no_overlap_means_that_each_ends_before_the_next(spans: list[tuple[int, int]]) -> None:
    """No pair is found exactly where the refreshes, in order, each end before the next one starts."""
    calls = [_refresh(start, start + length, number=n) for n, (start, length) in enumerate(sorted(spans), 1)]
    ends = [max(call.finished_s or 0 for call in calls[: n + 1]) for n in range(len(calls))]
    in_turn = all(end <= (later.started_s or 0) for end, (_, later) in zip(ends, pairwise(calls), strict=False))
    assert (overlaps(calls) == []) is in_turn


def test_the_share_of_the_budget_counts_whole_windows() -> None:
    """Calls in whole windows from the first call on, over what the windows allow, until the last accepted refresh."""
    calls = [_call(100.0 + second) for second in range(0, 150, 2)]
    assert budget_share(calls, 60, 60, until_s=230.0) == pytest.approx(60 / 120)
    assert budget_share([*calls, _refresh(225.0, 300.0)], 60, 60) == pytest.approx(60 / 120)
    assert budget_share([*calls, _refresh(159.9, 300.0)], 60, 60) == 1.0
    assert budget_share(calls, 60, 60) == 1.0
    assert budget_share([], 60, 60) == 1.0


def test_posts_are_counted_by_model() -> None:
    """Each refresh that was sent counts for the model in its path; those that the limit refused do not."""
    path = "/api/v1/models/{}/refresh"
    calls = [
        _call(0.0, method="POST", path=path.format("AB")),
        _call(1.0, method="POST", path=path.format("ab"), status=None),
        _call(2.0, method="POST", path=path.format("ab"), limited=True),
        _call(3.0, method="POST", path=path.format("cd"), status=404),
        _call(4.0, method="GET", path=path.format("cd")),
        _call(5.0, method="POST", path="/api/v1/models"),
    ]
    assert posts_per_model(calls) == {"ab": 2, "cd": 1}


def test_an_end_is_known_from_the_first_answer_with_it() -> None:
    """Of several polls of a job the first that told its end counts."""
    running = _call(1.0, job_id="j", job_status="RUNNING")
    told, again = _call(9.0, job_id="j", tells_end=True), _call(10.0, job_id="j", tells_end=True)
    assert known_at([running, told, again, _call(11.0)]) == {"j": told}


def test_a_label_identifies_a_key_and_reveals_nothing() -> None:
    """The same key has the same label, another has another; no key has a dash; odd bytes are no trouble."""
    assert key_label("secret-key") == key_label("secret-key") != key_label("secret-kez")
    assert key_label(None) == key_label("") == "-"
    assert "secret" not in key_label("secret-key")
    assert len(key_label("\udcff")) == 8


def test_a_line_holds_no_line_break() -> None:
    """Whatever a client sends as its name, a call is one line of ASCII."""
    line = as_json_line(_call(0.0, user_agent="a\nb\u2028c\x85d\udcff"))
    assert line.count("\n") == 1
    assert line.isascii()
    assert len(line.splitlines()) == 1
