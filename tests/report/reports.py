"""Reports for tests: any number of targets, every status, and the texts that break careless formats."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import settings
from hypothesis import strategies as st

from orchestrator.engine.outcome import CallKind, CallMade, Failure, Outcome, Status, Validation
from orchestrator.engine.run_stats import BudgetSample
from orchestrator.manifest.manifest import Mode
from orchestrator.report.report import Report, RunFacts, Trigger

START = datetime(2026, 11, 25, 2, 0, 0, 123456, tzinfo=UTC)

EVIL = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "ok |\n\n## Injected\n<img src=x>",
    '=HYPERLINK("http://e")',
    "@SUM(1)",
    "+1",
    "-1",
    "\t=1",
    "a\x1b[2Jb\x1b]0;t\x07",
    "x\x00y\x0b\ufffe",
    "\n::error::x\n##vso[task.complete]",
    "]]>&<>'\"",
    "\u202egnp.exe",
    "日本 🎉 é",
    "half \ud800 pair",
    "javascript:alert(1)",
    "%s %d {0} {{x}} ${y} {% raw %}",
    "`code` ``` | \\| @team #1 [x](http://e) <!-- -->",
    "x" * 100_000,
    "\x9b2J\u2028next",
)

FAILURES = {
    Status.UNKNOWN: Failure(
        kind="server_error",
        http_status=502,
        message="Bad gateway",
        hint="The refresh may have started: look at the connection in Omni before it is sent again.",
    ),
    Status.FAILED: Failure(
        kind="job_failed",
        message="The job ended FAILED.",
        hint="Omni gives no reason over the API: open the connection's schema refreshes in Omni.",
        last_status="FAILED",
    ),
    Status.NO_EFFECT: Failure(
        kind="no_effect",
        message="Not in the model after the refresh: finance.ledger_2026",
        hint="Check the spelling; names must be as the warehouse stores them.",
    ),
    Status.TIMED_OUT: Failure(
        kind="timed_out",
        message="Not finished after 30m; the last word was RUNNING.",
        hint="It may still be running: raise `timeout`, or retry later, which asks for the job first.",
        last_status="RUNNING",
    ),
    Status.REJECTED: Failure(
        kind="forbidden",
        http_status=403,
        message="You do not have permission to refresh the schema of this connection.",
        hint="The key's user needs Connection Admin, or Modeler where the connection has one shared model.",
    ),
    Status.ERROR: Failure(
        kind="dns",
        message="Name or service not known",
        hint="Check base_url and this machine's DNS; nothing was started.",
    ),
    Status.THROTTLED: Failure(
        kind="throttled",
        http_status=429,
        message="Too many requests",
        hint="Something else uses the key's budget: lower `--rate`, or give this run a key of its own.",
    ),
    Status.INTERRUPTED: Failure(
        kind="stopped",
        message="The run was stopped before the job ended.",
        hint="Resume the run: it asks for the job and does not start another.",
        last_status="RUNNING",
    ),
    Status.NOT_STARTED: Failure(
        kind="stopped", message="The run was stopped before this was sent.", hint="Resume the run."
    ),
}


def make_id(number: int) -> str:
    """A stable id."""
    return str(uuid.UUID(int=Random(number).getrandbits(128), version=4))


def make_outcome(
    number: int, status: Status = Status.SUCCEEDED, *, queued_s: float = 0.4, took_s: float = 8.1
) -> Outcome:
    """One target's outcome with all that its status goes with."""
    never_sent = status in (Status.NOT_STARTED, Status.SKIPPED, Status.ERROR, Status.THROTTLED)
    sent_at = START + timedelta(seconds=queued_s)
    has_job = not never_sent and status not in (Status.REJECTED, Status.UNKNOWN)
    word = {Status.SUCCEEDED: "COMPLETED", Status.NO_EFFECT: "COMPLETED", Status.FAILED: "FAILED"}.get(
        status, "RUNNING"
    )
    return Outcome(
        name=f"model_{number:04d}",
        instance="prod",
        model_id=make_id(number),
        status=status,
        connection=f"warehouse-{number % 7}",
        mode=Mode.SOFT if number % 3 == 0 else Mode.HARD,
        schemas=("finance",) if number % 3 == 0 else (),
        tags=("nightly",),
        job_ids=(make_id(number + 1_000_000),) if has_job else (),
        job_status=word if has_job else None,
        submitted_at=None if never_sent else sent_at,
        finished_at=None if never_sent else sent_at + timedelta(seconds=took_s),
        duration_s=None if never_sent else took_s,
        queued_s=None if never_sent else queued_s,
        attempts=0 if never_sent else 1,
        polls=2 if has_job else 0,
        warnings=("disabled in the manifest",) if status is Status.SKIPPED else (),
        error=FAILURES.get(status),
    )


def make_facts(duration_s: float = 612.0) -> RunFacts:
    """A run's facts."""
    return RunFacts(
        id="20261125T020000-7f3a",
        trigger=Trigger.RUN,
        manifest_path="configs/nightly.yaml",
        manifest_sha256="9f" * 32,
        started_at=START,
        finished_at=START + timedelta(seconds=duration_s),
        duration_s=duration_s,
        requests=940,
        polls=612,
        throttled=3,
    )


def make_report(count: int, *, bad_share: float = 0.1, budget: bool = False, seed: int = 7) -> Report:
    """A run over `count` targets as the real ones look: mostly good, lanes of a connection one after another."""
    random = Random(seed)
    bad = [status for status in Status if not status.is_good]
    lanes = [0.0] * 7
    outcomes = []
    for number in range(count):
        status = Status.SUCCEEDED
        if random.random() < bad_share:
            status = bad[min(int(random.expovariate(0.5)), len(bad) - 1)]
        elif random.random() < 0.06:
            status = random.choice([Status.ACCEPTED, Status.SKIPPED])
        took_s = min(600.0, random.lognormvariate(2.5, 0.9)) if status is not Status.REJECTED else 0.3
        queued_s = max(lanes[number % 7], number * 0.4) + random.random()
        outcome = make_outcome(number, status, queued_s=queued_s, took_s=took_s)
        if outcome.duration_s is not None:
            lanes[number % 7] = queued_s + took_s
        outcomes.append(outcome)
    duration_s = max(lanes) + 2 if count else 0.1
    samples = tuple(
        BudgetSample(t_s=second, used=min(60, int(second * 1.7) % 80), requests=60, held=200 < second < 230)
        for second in range(0, int(duration_s), 5)
    )
    run = replace(make_facts(duration_s), budget=samples if budget else ())
    return Report(run=run, outcomes=tuple(outcomes), exit_code=int(any(not o.status.is_good for o in outcomes)))


def make_evil_report(texts: tuple[str, ...] = EVIL) -> Report:
    """Each text as a name, a server's message and everything else that is foreign, once."""
    outcomes = []
    for number, text in enumerate(texts):
        failure = Failure(
            kind="bad_request", http_status=400, message=text[:2000], hint=text[:300], last_status=text[:100]
        )
        outcome = replace(
            make_outcome(number, Status.REJECTED),
            name=f"{number} {text[:200]}",
            branch=text[:200],
            connection=text[:200],
            schemas=(text[:200],),
            tags=(text[:200],),
            warnings=(text[:2000],),
            job_status=text[:100],
            covered_by=text[:200],
            validation=Validation(new=(text[:200],)),
            error=failure,
            calls=tuple(
                CallMade(number=n, what=CallKind.POLL, left_at=START, end=text[:100], http_status=502, word=text[:100])
                for n in range(1, 16)
            ),
            usual_s=0.1,
            failing_since=START - timedelta(days=3),
            previous_status=Status.FAILED,
        )
        outcomes.append(outcome)
    outcomes.append(make_outcome(len(texts)))
    run = replace(make_facts(), manifest_path=texts[0], warnings=tuple(text[:2000] for text in texts))
    return Report(run=run, outcomes=tuple(outcomes), exit_code=1)


HALF = settings(max_examples=max(1, settings().max_examples // 2))
"""For tests over whole reports: each holds many hostile texts, so half as many will do."""

ANY_TEXT = st.one_of(
    st.sampled_from([text[:300] for text in EVIL]), st.text(st.characters(codec=None, categories=None), max_size=40)
)
_MOMENTS = st.integers(min_value=-(10**11), max_value=10**12).map(lambda ms: START + timedelta(milliseconds=ms))
_SECONDS = st.floats(min_value=0, max_value=1e6)
_COUNTS = st.integers(min_value=0, max_value=10_000)
_TEXTS = st.lists(ANY_TEXT, max_size=3).map(tuple)


def _maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


_FAILURES = st.builds(
    Failure,
    kind=ANY_TEXT,
    message=ANY_TEXT,
    hint=ANY_TEXT,
    http_status=_maybe(st.integers(min_value=100, max_value=599)),
    last_status=_maybe(ANY_TEXT),
)

ANY_OUTCOME = st.builds(
    Outcome,
    name=ANY_TEXT,
    instance=ANY_TEXT,
    model_id=_maybe(ANY_TEXT),
    status=st.sampled_from(Status),
    branch=_maybe(ANY_TEXT),
    branch_id=_maybe(ANY_TEXT),
    connection=_maybe(ANY_TEXT),
    mode=st.sampled_from(Mode),
    schemas=_TEXTS,
    tables=_TEXTS,
    tags=_TEXTS,
    covered_by=_maybe(ANY_TEXT),
    job_ids=_TEXTS,
    job_status=_maybe(ANY_TEXT),
    submitted_at=_maybe(_MOMENTS),
    finished_at=_maybe(_MOMENTS),
    duration_s=_maybe(_SECONDS),
    queued_s=_maybe(_SECONDS),
    attempts=_COUNTS,
    polls=_COUNTS,
    throttled=_COUNTS,
    warnings=_TEXTS,
    promotion_pending=st.booleans(),
    verified=_maybe(st.booleans()),
    validation=_maybe(st.builds(Validation, new=_TEXTS, fixed=_TEXTS)),
    previous_status=_maybe(st.sampled_from(Status)),
    error=_maybe(_FAILURES),
    calls=st.lists(
        st.builds(
            CallMade,
            number=_COUNTS,
            what=st.sampled_from(CallKind),
            left_at=_MOMENTS,
            end=ANY_TEXT,
            http_status=_maybe(st.integers(min_value=100, max_value=599)),
            word=_maybe(ANY_TEXT),
            took_s=_maybe(_SECONDS),
            wait_s=_maybe(_SECONDS),
        ),
        max_size=3,
    ).map(tuple),
    usual_s=_maybe(_SECONDS),
    failing_since=_maybe(_MOMENTS),
)

ANY_REPORT = st.builds(
    Report,
    run=st.builds(
        RunFacts,
        id=ANY_TEXT,
        trigger=st.sampled_from(Trigger),
        manifest_path=ANY_TEXT,
        manifest_sha256=ANY_TEXT,
        started_at=_MOMENTS,
        finished_at=_MOMENTS,
        duration_s=_SECONDS,
        signal=_maybe(st.sampled_from([1, 2, 15])),
        resumed_from=_maybe(ANY_TEXT),
        requests=_COUNTS,
        polls=_COUNTS,
        throttled=_COUNTS,
        refused_instances=_TEXTS,
        quota=_maybe(st.dictionaries(ANY_TEXT, st.dictionaries(ANY_TEXT, _COUNTS | ANY_TEXT, max_size=2), max_size=2)),
        warnings=_TEXTS,
        budget=st.lists(
            st.builds(BudgetSample, t_s=_SECONDS, used=_COUNTS, requests=_COUNTS, held=st.booleans()), max_size=3
        ).map(tuple),
    ),
    outcomes=st.lists(ANY_OUTCOME, max_size=4).map(tuple),
    exit_code=st.sampled_from([0, 1, 3, 5]),
)
