"""The journal keeps runs, their plans, steps and outcomes, and forgets them whole."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.clock import Clock
from orchestrator.errors import LockedError
from orchestrator.journal.connections import instance_address, model_name
from orchestrator.journal.database import JournalError, Layout
from orchestrator.journal.journal import FILE, Journal
from orchestrator.journal.layout import JOURNAL
from orchestrator.journal.records import CallStatus, NewRun, NewTarget, StoredRequest
from orchestrator.journal.sqlite import SqliteDatabase as Database
from orchestrator.journal.steps import KEPT_DURATIONS, Steps
from orchestrator.planning.plan import Target
from tests.journal.stores import Place, open_journal
from tests.rehearsal import manifest_text, model, read_manifest

START = datetime(2026, 3, 1, tzinfo=UTC)
MANIFEST = read_manifest(manifest_text(model(1), model(2), model(3)))
URL = "http://127.0.0.1:1"
ADDRESS = instance_address(URL)


class Desk:
    """A journal in a folder, and clocks that are set by hand: the wall clock and the monotonic one."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.now_s = 50.0
        self.at = START
        self.journal = open_journal(place, Clock(lambda: self.now_s, lambda: self.at), "b1")

    def open(self, boot: str = "b1") -> Journal:
        """Another process opens the journal, and finds what this one has kept."""
        asyncio.run(self.journal._database.kept())
        return open_journal(self.place, Clock(lambda: self.now_s, lambda: self.at), boot)

    def begin(
        self,
        run: str,
        *,
        root: str | None = None,
        file: str = "/m.yaml",
        key: str | None = None,
        since: int | None = None,
    ) -> Steps:
        """A run over three targets, or one that continues another."""
        new = NewRun(
            id=run,
            root=root or run,
            origin=root,
            trigger="resume" if root else "run",
            manifest_path="m.yaml",
            manifest_file=file,
            manifest_identity=file,
            manifest_sha256="0" * 64,
            lock="lock",
            began_at=self.at,
            key=key,
        )
        if root is not None:
            return self.journal.begin(new, since=since)
        targets = [NewTarget(position=e.index, name=e.name) for e in MANIFEST.entries]
        return self.journal.begin(
            new, StoredRequest(manifest=MANIFEST, selected=(0, 1, 2), reports=("/r.json",)), targets, since=since
        )

    def finish(self, run: str, *, unfinished: bool = False) -> None:
        """The run ends."""
        self.journal.finish(
            run, document={"run": run}, exit_code=1, unfinished=unfinished, counts={"failed": 1, "succeeded": 2}
        )


@pytest.fixture
def desk(place: Place) -> Iterator[Desk]:
    """An open journal, on each store."""
    desk = Desk(place)
    yield desk
    desk.journal.close()


def target(place: int) -> Target:
    """A planned target."""
    entry = MANIFEST.entries[place]
    return Target(entry=entry, model_id=str(entry.model_id), branch_id=None, connection="c", lane="connection c")


def intend(steps: Steps, place: int = 0) -> int:
    """An intent for a target's refresh."""
    return steps.intended(
        served=[target(place)],
        scopes=[((), ())],
        part=0,
        attempt=1,
        base_url=URL,
        timeout_s=60,
        wait=True,
        queued_s=1.5,
    )


def test_a_run_is_there_before_anything_is_sent(desk: Desk) -> None:
    """Begun, and seen by another process at once: at work or cut off, with its targets and without outcomes."""
    desk.begin("r1")
    other = desk.open()
    (record,) = other.runs()
    assert (record.id, record.root, record.unfinished, record.ended_at, record.targets) == ("r1", "r1", True, None, 3)
    assert [t.name for t in other.targets("r1")] == ["m1", "m2", "m3"]
    assert all(t.lane is None and t.outcome is None for t in other.targets("r1"))
    orders = other.orders("r1")
    assert (orders.selected, orders.reports) == ((0, 1, 2), ("/r.json",))
    assert all(key.secret is None for i in orders.manifest.instances.values() for key in i.keys)
    assert [key.source for i in orders.manifest.instances.values() for key in i.keys] == [
        key.source for i in MANIFEST.instances.values() for key in i.keys
    ]
    other.close()


def test_no_key_is_on_disk(desk: Desk) -> None:
    """Not in the file, and not in the log beside it; compressed or not."""
    desk.begin("r1")
    stored = desk.journal.orders("r1")
    assert "rehearsal-key" not in repr(stored)
    if isinstance(desk.place, Path):
        assert all(b"rehearsal-key" not in path.read_bytes() for path in desk.place.iterdir())
    else:
        assert "rehearsal-key" not in desk.place.sql("SELECT * FROM runs")


@pytest.mark.parametrize("decision", ["start", "resume"])
def test_a_run_begins_only_if_what_decided_it_still_holds(decision: str, desk: Desk) -> None:
    """Two processes decide at once what to do for a key or a plan: the second to begin is refused, and stores nothing."""
    desk.begin("other", key="another")
    root = None
    if decision == "resume":
        root = "r1"
        desk.begin("r1", key="k")
    seen = desk.journal.latest_number()
    desk.begin("first", root=root, key="k", since=seen)
    with pytest.raises(LockedError, match="run first"):
        desk.begin("second", root=root, key="k", since=seen)
    latest = desk.journal.latest_with_key("k")
    assert latest is not None
    assert latest.id == "first"
    assert not desk.journal.find("second")
    # other keys and plans are not concerned, nor is a decision made anew
    desk.begin("apart", key="apart", since=seen)
    desk.begin("third", root=root, key="k", since=desk.journal.latest_number())


def test_a_process_that_wakes_does_not_undo_what_a_later_one_did(desk: Desk) -> None:
    """It was suspended, another process resumed its run to the end: its own outcomes and its end change nothing."""
    sleeper = desk.begin("r1")
    resumed = desk.begin("r2", root="r1")
    resumed.settled([(0, {"status": "succeeded", "name": "m1"})])
    asyncio.run(resumed.kept())
    desk.finish("r2")
    sleeper.settled([(0, {"status": "not_started", "name": "m1"})])
    asyncio.run(sleeper.kept())
    desk.finish("r1", unfinished=True)
    assert next(t.outcome for t in desk.journal.targets("r1")) == {"status": "succeeded", "name": "m1"}
    assert [r.unfinished for r in desk.journal.runs()] == [False, False]


def test_the_end_of_a_run(desk: Desk) -> None:
    """Its document, code and counts; and with a finished run nothing of its root is left to continue."""
    desk.begin("r1")
    desk.finish("r1", unfinished=True)
    desk.begin("r2", root="r1")
    assert desk.journal.document("r2") is None
    desk.finish("r2")
    assert [(r.id, r.unfinished, r.exit_code) for r in desk.journal.runs()] == [("r2", False, 1), ("r1", False, 1)]
    assert desk.journal.document("r1") == {"run": "r1"}
    assert desk.journal.run("r1").counts == {"failed": 1, "succeeded": 2}
    assert desk.journal.document("no such run") is None


def test_runs_are_found_by_the_beginning_of_their_ids(desk: Desk) -> None:
    """Exactly as written: no pattern, and a whole id wins over longer ones."""
    for run in ("ab1", "ab2", "ab12", "a%"):
        desk.begin(run)
    assert [r.id for r in desk.journal.find("ab")] == ["ab12", "ab2", "ab1"]
    assert [r.id for r in desk.journal.find("ab1")] == ["ab1"]
    assert [r.id for r in desk.journal.find("%")] == []
    assert [r.id for r in desk.journal.find("a%")] == ["a%"]


def test_the_steps_of_a_call(desk: Desk) -> None:
    """Intent, answer, statuses and outcome, each as it was, in the order of the calls."""
    steps = desk.begin("r1")
    first = intend(steps)
    desk.now_s += 2
    steps.answered(first, job_id="job-\ud800", word="running", fate=CallStatus.ACCEPTED)
    second = intend(steps, 1)
    steps.refused(second, "forbidden: \udfff")
    third = intend(steps, 2)
    desk.now_s += 8
    one, two, three = desk.journal.chain("r1")[0].calls
    assert (one.fate, one.job_id, one.age_s, one.queued_s, one.served) == (
        CallStatus.ACCEPTED,
        "job-\\ud800",
        8,
        1.5,
        (0,),
    )
    assert (two.fate, three.fate, three.age_s) == (CallStatus.REFUSED, CallStatus.INTENDED, 8)
    steps.polled(first, word="COMPLETED", fate=CallStatus.SUCCEEDED)
    steps.settled([(0, {"status": "succeeded", "name": "\ud800"})])
    assert desk.journal.chain("r1")[0].calls[0].fate is CallStatus.SUCCEEDED
    assert desk.journal.targets("r1")[0].outcome == {"status": "succeeded", "name": "\ud800"}
    assert third > second > first


def test_ages_follow_the_monotonic_clock(desk: Desk) -> None:
    """The monotonic clock within one start of the machine, the wall clock after it; never negative."""
    steps = desk.begin("r1")
    call = intend(steps)
    steps.answered(call, job_id="j", word=None, fate=CallStatus.ACCEPTED)
    desk.now_s += 10
    desk.at += timedelta(days=400)
    assert desk.journal.chain("r1")[0].calls[0].age_s == 10
    other = desk.open(boot="b2")
    assert other.chain("r1")[0].calls[0].age_s == 400 * 86400
    desk.at -= timedelta(days=800)
    assert other.chain("r1")[0].calls[0].age_s == 0
    other.close()
    unknown = desk.open(boot="")
    desk.at = START + timedelta(seconds=7)
    assert unknown.chain("r1")[0].calls[0].age_s == 7
    unknown.close()


def left(steps: Steps, *names: str, address: str = ADDRESS) -> list[str | None]:
    """The jobs (None: not known) of refreshes that may still run under these names, seen from another lane."""
    found = steps.left_refreshes(steps._database, address, frozenset(names), own=(), taken=())
    return [one.job_id for one in found]


def test_refreshes_that_others_left(desk: Desk) -> None:
    """On the same connection of the same instance, with a job or without, and neither the lane's own nor continued ones."""
    first = desk.begin("r1")
    call = intend(first)
    first.answered(call, job_id="j1", word=None, fate=CallStatus.ACCEPTED)
    intend(first)
    second = desk.begin("r2")
    assert left(second, "label c") == ["j1", None]
    assert left(second, model_name(str(target(0).model_id))) == ["j1", None]
    assert left(second, "label d") == left(second, "label c", address="other:443") == []
    (one,) = second.left_refreshes(second._database, ADDRESS, frozenset({"label c"}), own=(), taken=(call + 1,))
    assert (one.job_id, one.run, one.timeout_s) == ("j1", "r1", 60)
    assert first.left_refreshes(first._database, ADDRESS, frozenset({"label c"}), own=(0,), taken=()) == []
    second.left_over(call, CallStatus.FAILED)
    assert left(second, "label c") == [None]


def test_what_was_left_leaves_the_list_only_for_certain(desk: Desk) -> None:
    """A call without a job after its timeout, a job after a day, by the monotonic clock: a stepped wall clock hides nothing."""
    steps = desk.begin("r1")
    steps.answered(intend(steps), job_id="j1", word=None, fate=CallStatus.ACCEPTED)
    intend(steps)
    desk.at += timedelta(hours=25)
    assert left(steps, "label c") == ["j1", None]
    desk.now_s += 61
    assert left(steps, "label c") == ["j1"]
    desk.now_s += 86_400
    assert left(steps, "label c") == []


@pytest.mark.parametrize("hours, up_s, listed", [(25, 5, True), (25, 86_401, False), (73, 5, False), (-400, 5, True)])
def test_after_a_restart_the_wall_clock_is_not_taken_at_its_word(
    desk: Desk, hours: int, up_s: int, listed: bool
) -> None:
    """A job leaves the list a day after the restart, or when the wall clock has moved by two days more than that.

    How long this machine runs says nothing of another's.
    """
    if not isinstance(desk.place, Path):
        listed = hours < 73
    steps = desk.begin("r1")
    steps.answered(intend(steps), job_id="j1", word=None, fate=CallStatus.ACCEPTED)
    desk.at += timedelta(hours=hours)
    desk.now_s = up_s
    other = desk.open(boot="b2")
    assert (left(other.steps(other.run("r1")), "label c") == ["j1"]) is listed
    other.close()


def test_a_job_out_of_sight_is_not_polled_again(desk: Desk) -> None:
    """What was lost is over for other runs; what had ended stays ended."""
    steps = desk.begin("r1")
    open_call, ended = intend(steps), intend(steps, 1)
    steps.answered(open_call, job_id="j1", word=None, fate=CallStatus.ACCEPTED)
    steps.answered(ended, job_id="j2", word="COMPLETED", fate=CallStatus.SUCCEEDED)
    steps.settled([(0, {"status": "unknown"})], lost=[open_call, ended])
    assert [call.fate for call in desk.journal.chain("r1")[0].calls] == [CallStatus.LOST, CallStatus.SUCCEEDED]


def test_durations_are_the_last_few_of_each_kind(desk: Desk) -> None:
    """By instance, model, branch and kind of refresh, oldest first."""
    steps = desk.begin("r1")
    for n in range(KEPT_DURATIONS + 5):
        steps.took(base_url=URL, model_id="a", branch_id=None, kind="hard", seconds=n)
    steps.took(base_url=URL, model_id="a", branch_id="x", kind="hard", seconds=99)
    steps.took(base_url=URL, model_id="a", branch_id=None, kind="soft", seconds=7)
    steps.took(base_url="http://other", model_id="a", branch_id=None, kind="hard", seconds=1)
    durations = desk.journal.durations(URL)
    assert durations["a"]["soft"] == (7.0,)
    assert durations["a"]["hard"] == (*map(float, range(5, KEPT_DURATIONS + 5)), 99.0)
    assert desk.journal.durations("http://unknown") == {}


def test_pruning_forgets_whole_runs(desk: Desk) -> None:
    """By age and by count, roots with all that belongs to them; what is unfinished and young stays."""
    for n in range(6):
        steps = desk.begin(f"r{n}")
        intend(steps)
        if n != 2:
            desk.finish(f"r{n}")
        desk.at += timedelta(days=10)
        desk.now_s += 864_000
    desk.begin("r5b", root="r5")
    desk.finish("r5b")
    assert desk.journal.prune(keep_days=55) == 1
    assert [r.id for r in desk.journal.runs()] == ["r5b", "r5", "r4", "r3", "r2", "r1"]
    assert desk.journal.prune(keep_runs=2) == 3
    assert [r.id for r in desk.journal.runs()] == ["r5b", "r5", "r2"]
    assert desk.journal.targets("r3") == ()
    assert len(desk.journal.targets("r2")) == 3
    desk.at += timedelta(seconds=1)
    assert desk.journal.prune(keep_days=0) == 3
    assert desk.journal.runs() == ()
    assert desk.journal.prune() == 0


def test_an_active_run_is_never_forgotten(desk: Desk) -> None:
    """Neither by age nor by count, whatever was asked for."""
    desk.begin("old")
    desk.begin("r1")
    desk.at += timedelta(days=1)
    assert desk.journal.prune(keep_days=0, keep_runs=0, at_work=lambda: {"r1"}) == 1
    assert [r.id for r in desk.journal.runs()] == ["r1"]


def test_a_clock_that_is_far_ahead_forgets_nothing(desk: Desk) -> None:
    """What a run forgets at its end depends on how many came after, and not on the time of day."""
    desk.begin("unfinished")
    desk.begin("finished")
    desk.finish("finished")
    desk.at += timedelta(days=36_500)
    desk.begin("ahead")
    desk.finish("ahead")
    assert desk.journal.prune() == 0
    assert len(desk.journal.runs()) == 3


def test_days_beyond_the_calendar_keep_everything(desk: Desk) -> None:
    """A number of days that leads before the first date is no error."""
    desk.begin("r1")
    for days in (800_000, 10**9, 10**12):
        assert desk.journal.prune(keep_days=days) == 0


def test_what_may_still_run_is_not_pruned(desk: Desk) -> None:
    """A run whose refresh may still run stays, however old the wall clock makes it: its connection is closed by it."""
    steps = desk.begin("r1")
    call = intend(steps)
    steps.answered(call, job_id="j1", word=None, fate=CallStatus.ACCEPTED)
    desk.finish("r1")
    desk.at += timedelta(days=400)
    assert desk.journal.prune(keep_days=0) == 0
    steps.left_over(call, CallStatus.SUCCEEDED)
    assert desk.journal.prune(keep_days=0) == 1


def test_what_cannot_be_read_back_is_an_error(desk: Desk) -> None:
    """Orders or a document of another kind: told, and not taken for nothing."""
    desk.begin("r1")
    desk.finish("r1")
    with pytest.raises(JournalError, match="cannot be read"):
        desk.journal.orders("no such run")
    with desk.journal._database.write() as connection:
        connection.execute("UPDATE runs SET orders = ?, document = ?", (b"\0", b"\0"))
    with pytest.raises(JournalError, match="r1 was to do"):
        desk.journal.orders("r1")
    with pytest.raises(JournalError, match="report of run r1"):
        desk.journal.document("r1")


def test_a_chain_of_retries_is_known_from_each_of_its_runs(desk: Desk) -> None:
    """Calls stay with the run that made them; the plans of the others can no longer be continued."""
    first = desk.begin("r1")
    call = intend(first)
    first.answered(call, job_id="j1", word=None, fate=CallStatus.ACCEPTED)
    desk.begin("r2", root="r1")
    new = {f: getattr(desk.journal.run("r1"), f) for f in NewRun.__dataclass_fields__}
    second = desk.journal.begin(
        NewRun(**{**new, "id": "r3", "root": "r3", "origin": "r2"}),
        desk.journal.orders("r1"),
        [NewTarget(position=0, name="m1", model_id="x", lane="connection c", warnings=("w",))],
        instead_of=["r1"],
    )
    intend(second)
    desk.begin("other")
    for root in ("r1", "r3"):
        chain = desk.journal.chain(root)
        assert [(one.root, len(one.targets), [c.job_id for c in one.calls]) for one in chain] == [
            ("r1", 3, ["j1"]),
            ("r3", 1, [None]),
        ]
    assert [one.root for one in desk.journal.chain("other")] == ["other"]
    assert [r.id for r in desk.journal.runs() if r.unfinished] == ["other", "r3"]
    (stored,) = desk.journal.targets("r3")
    assert (stored.model_id, stored.lane, stored.warnings) == ("x", "connection c", ("w",))


def test_a_journal_of_the_first_version_opens(tmp_path: Path) -> None:
    """Its runs keep their history under the manifest's path; their working directory is unknown, and their open jobs known."""
    first = Layout(
        name="journal", application_id=JOURNAL.application_id, migrations=JOURNAL.migrations[:1], durable=True
    )
    old = Database.open(tmp_path / FILE, first)
    old.change(
        "INSERT INTO runs (id, root, trigger, manifest_path, manifest_file, manifest_sha256, lock, began_at)"
        " VALUES ('r0', 'r0', 'run', 'm.yaml', '/m.yaml', '', 'l', '2026-11-25T02:00:00+00:00')"
    )
    old.change("INSERT INTO targets (root, place, name, status, model_id) VALUES ('r0', 0, 't0', 'failed', 'M0')")
    for fate in ("accepted", "lost"):
        old.change(
            "INSERT INTO calls (root, run, sender, part, attempt, base_url, lane, refresh, timeout_s, fate, left_at, boot,"
            " left_s, queued_s, accepted_at, accepted_s, job_id) VALUES ('r0', 'r0', 0, 0, 1, ?, 'connection WH', '{}',"
            " 60, ?, '2026-02-28T20:00:00+00:00', '', 0, 0, '2026-02-28T20:00:00+00:00', 0, 'j0')",
            (URL, fate),
        )
    old.close()
    desk = Desk(tmp_path)
    steps = desk.begin("r1", file="/m.yaml")
    assert left(steps, "label wh") == left(steps, "model m0") == ["j0"]
    (_, before) = desk.journal.runs()
    assert (before.id, before.manifest_identity, before.directory) == ("r0", "/m.yaml", None)
    assert desk.journal.earlier("/m.yaml", before="r1", names=["t0"], good=(), silent=())["t0"].status == "failed"
    desk.journal.close()
