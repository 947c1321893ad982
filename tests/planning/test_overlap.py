"""No two refreshes of one connection at once, whatever a manifest says."""

import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.planning.random_manifests import Case, run_case

COUNT = int(os.environ.get("OVERLAP_MANIFESTS", "60"))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A seed is a manifest and an instance; hypothesis shrinks to a small one."""
    return Case(seed=draw(st.integers(0, 10**6)), models=draw(st.integers(1, 8)), entries=draw(st.integers(1, 12)))


@given(case=cases())
@example(case=Case(seed=187, models=5, entries=5))  # one model by name says its connection, another by name does not
@settings(max_examples=COUNT, suppress_health_check=list(HealthCheck))
def test_no_two_refreshes_of_a_connection_overlap(case: Case) -> None:
    """By the server's own log, over random models, labels, scopes, branches, durations, failures and 429s."""
    assert run_case(case).overlaps == 0
