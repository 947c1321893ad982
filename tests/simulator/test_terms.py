"""Chance draws what it is told to, and ids that are derived are always the same."""

import math
import random
import re
import statistics

from orchestrator.simulator.answer import UUID
from orchestrator.simulator.field_types import Lognormal, draw_s
from orchestrator.simulator.staging import branch_id, connection_id, fill, model_id


def test_a_lognormal_has_its_median_spread_and_cap() -> None:
    """Half of the values are below the median, the logarithms spread by sigma, none is above the cap."""
    dice = random.Random(1)
    drawn = [draw_s(Lognormal(median=60, sigma=0.9), dice) for _ in range(4000)]
    assert 57 < statistics.median(drawn) < 63
    assert 0.87 < statistics.stdev(math.log(value) for value in drawn) < 0.93
    capped = [draw_s(Lognormal(median=60, sigma=0.9, cap=100), dice) for _ in range(500)]
    assert max(capped) == 100


def test_other_spreads() -> None:
    """A number is itself, a range gives values within it, never is infinite."""
    dice = random.Random(1)
    assert draw_s(7, dice) == 7.0
    drawn = [draw_s((2.0, 3.0), dice) for _ in range(500)]
    assert 2 <= min(drawn) < 2.05
    assert 2.95 < max(drawn) <= 3
    assert draw_s("never", dice) == math.inf


def test_derived_ids_are_uuids_that_never_change() -> None:
    """A name gives the same id today and tomorrow; other kinds and other names give others."""
    assert model_id("sales") == "bbc43482-9bc3-5640-981e-a38bc9e22293"
    ids = [model_id("sales"), model_id("Sales"), connection_id("sales"), branch_id(model_id("sales"), "b")]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(UUID, id_) for id_ in ids)
    assert branch_id(model_id("sales").upper(), "b") == ids[-1]


def test_patterns_count_with_leading_zeros() -> None:
    """`{n}` is the number, `{n:05}` has five digits; other braces stay."""
    assert [fill(pattern, 42) for pattern in ("{n}", "a {n:05} {n:3}", "{m} {n:x}")] == [
        "42",
        "a 00042 042",
        "{m} {n:x}",
    ]
