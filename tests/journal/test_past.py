"""What the journal knows of a target in the runs before: its last status, and since when it has not succeeded."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.clock import Clock
from orchestrator.engine.outcome import Failure, Outcome, Status, make_row
from orchestrator.journal.records import Earlier, NewRun, NewTarget
from tests.journal.stores import Place, open_journal

GOOD = [status for status in Status if status.was_refreshed]
SILENT = [status for status in Status if status.says_nothing]
FIRST = datetime(2026, 11, 20, 2, tzinfo=UTC)
REFUSED = Failure(kind="key_refused", message="401", hint="renew it")
STOPPED = Failure(kind="stopped", message='"kind": "key_refused"', hint="resume")


class Nights:
    """A journal with one run a night of the same manifest, with any outcomes."""

    def __init__(self, place: Place) -> None:
        self.journal = open_journal(place, Clock(lambda: 0.0, lambda: FIRST), "")
        self.count = 0

    def begin(self, names: tuple[str, ...] = ("sales",), *, file: str = "/m.yaml", root: int | None = None) -> str:
        run = f"run-{self.count}"
        new = NewRun(
            id=run,
            root=run if root is None else f"run-{root}",
            origin=None,
            trigger="run",
            manifest_path="m.yaml",
            manifest_file=file,
            manifest_identity=file,
            manifest_sha256="",
            lock="",
            began_at=FIRST + timedelta(days=self.count),
        )
        targets = (
            [NewTarget(position=position, name=name) for position, name in enumerate(names)] if root is None else []
        )
        self.steps = self.journal.begin(new, None, targets)
        self.count += 1
        return run

    def settle(self, place: int, status: Status, error: Failure | None = None) -> None:
        outcome = Outcome(name="any", instance="prod", model_id=None, status=status, error=error)
        self.steps.settled([(place, make_row(outcome))])

    def night(self, *statuses: Status, error: Failure | None = None) -> None:
        names = tuple(f"t{n}" for n in range(len(statuses)))
        self.begin(names)
        for place, status in enumerate(statuses):
            self.settle(place, status, error)

    def earlier(self, *names: str) -> dict[str, Earlier]:
        run = self.begin()
        return self.journal.earlier("/m.yaml", before=run, names=names or ("t0",), good=GOOD, silent=SILENT)


@pytest.fixture
def nights(place: Place) -> Iterator[Nights]:
    found = Nights(place)
    yield found
    found.journal.close()


def since(status: Status, day: int | None) -> dict[str, Earlier]:
    return {"t0": Earlier(status=status, failing_since=None if day is None else FIRST + timedelta(days=day))}


def test_the_last_results_are_in_their_order(nights: Nights) -> None:
    """The last few statuses of each target, oldest first; runs that did not have it and this run itself are passed over."""
    for status in (Status.FAILED, Status.SUCCEEDED, Status.SKIPPED, Status.ERROR):
        nights.night(status)
    nights.begin(("other",))
    nights.settle(0, Status.SUCCEEDED)
    nights.begin(("t0",), file="/another.yaml")
    nights.settle(0, Status.UNKNOWN)
    run = nights.begin(("t0",))
    nights.settle(0, Status.TIMED_OUT)
    found = nights.journal.recent("/m.yaml", before=run, names=["t0", "other", "new"], count=3)
    assert found == {"t0": ("succeeded", "skipped", "error"), "other": ("succeeded",)}


def test_without_a_run_before_nothing_is_known(nights: Nights) -> None:
    """The first run of a manifest, and one of another manifest, know nothing."""
    assert nights.earlier() == {}
    nights.night(Status.FAILED)
    assert nights.journal.earlier(
        "/m.yaml", before=nights.begin(file="/other"), names=("t0",), good=GOOD, silent=SILENT
    ).keys() == {"t0"}
    assert nights.journal.earlier("/other", before="run-1", names=("t0",), good=GOOD, silent=SILENT) == {}


def test_a_row_goes_back_to_its_first_run(nights: Nights) -> None:
    """The row is as long as the target did not succeed, whatever its words; what was before a success is another row."""
    nights.night(Status.FAILED)
    nights.night(Status.SUCCEEDED)
    assert nights.earlier() == since(Status.SUCCEEDED, None)
    nights.night(Status.ERROR)
    nights.night(Status.TIMED_OUT)
    nights.night(Status.FAILED)
    assert nights.earlier() == since(Status.FAILED, 3)


def test_runs_that_say_nothing_do_not_break_a_row(nights: Nights) -> None:
    """Skipped, interrupted, stopped before it: the row goes on, and the last status that says something stands."""
    nights.night(Status.REJECTED)
    nights.night(Status.SKIPPED)
    nights.night(Status.INTERRUPTED, error=STOPPED)
    nights.night(Status.NOT_STARTED, error=STOPPED)
    nights.begin(("t0",))
    assert nights.earlier() == since(Status.REJECTED, 0)


def test_a_refused_key_is_a_failure_of_each_night(nights: Nights) -> None:
    """What was not started because the key was refused is in the row: it is not newly failing every night."""
    nights.night(Status.SUCCEEDED)
    nights.night(Status.NOT_STARTED, error=REFUSED)
    nights.night(Status.NOT_STARTED, error=REFUSED)
    assert nights.earlier() == since(Status.NOT_STARTED, 1)


def test_later_runs_and_resumed_ones(nights: Nights) -> None:
    """A resumed run compares with what was before its first run, and counts as one run with it."""
    nights.night(Status.FAILED)
    nights.begin(("t0",))
    nights.settle(0, Status.INTERRUPTED)
    nights.begin(root=1)
    nights.settle(0, Status.SUCCEEDED)
    assert nights.journal.earlier("/m.yaml", before="run-1", names=("t0",), good=GOOD, silent=SILENT) == since(
        Status.FAILED, 0
    )
    assert nights.earlier() == since(Status.SUCCEEDED, None)


def test_each_target_has_a_row_of_its_own(nights: Nights) -> None:
    """Targets are told apart by name; only those that are asked for are answered."""
    nights.night(Status.FAILED, Status.SUCCEEDED, Status.FAILED)
    nights.night(Status.FAILED, Status.FAILED, Status.ACCEPTED)
    found = nights.earlier("t0", "t1", "new")
    assert {name: past.failing_since for name, past in found.items()} == {
        "t0": FIRST,
        "t1": FIRST + timedelta(days=1),
    }
