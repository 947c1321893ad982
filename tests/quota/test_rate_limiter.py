"""The rate limiter by itself: permits given, given back and refused; keys, the concurrency limit, and what closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from orchestrator.manifest.manifest import RateLimit, Secret
from orchestrator.quota.choice import SUBMITTING, CallRequest, FollowedJob, Purpose
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.rate_limiter import (
    ConcurrencyLimit,
    KeyHeld,
    KeySetAside,
    LimiterClosed,
    RateLimiter,
    StopReason,
)
from orchestrator.quota.window import LedgerLost, MemoryWindow
from orchestrator.simulator import virtual
from tests.rehearsal import Witness

SUBMIT = CallRequest(purpose=Purpose.SUBMIT)


@asynccontextmanager
async def limiter(
    *limits: int,
    per_s: float = 60.0,
    workers: int = 100,
    concurrency_limit: ConcurrencyLimit | None = None,
    ledger: MemoryWindow | None = None,
) -> AsyncIterator[tuple[RateLimiter, Witness]]:
    """A rate limiter that is served, with a key for each limit."""
    loop = asyncio.get_running_loop()
    witness = Witness()
    opened = RateLimiter(
        keys=[
            KeyQuota(
                label=f"k{n}",
                secret=Secret(f"k{n}"),
                limit=RateLimit(requests=requests, per_s=per_s),
                ledger=ledger or MemoryWindow(per_s),
                rng=Random(n),
            )
            for n, requests in enumerate(limits)
        ],
        concurrency_limit=concurrency_limit or ConcurrencyLimit(workers),
        durations=DurationModel(),
        observer=witness,
        clock=loop.time,
    )
    serving = asyncio.create_task(opened.serve())
    try:
        yield opened, witness
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def test_a_cancelled_waiter_gives_its_permit_back() -> None:
    """A request that is cancelled before it gets its permit, or at that moment, costs no call and no place on the wire."""

    async def main() -> None:
        async with limiter(2) as (opened, _):
            first = await opened.acquire(SUBMIT)
            early = asyncio.create_task(opened.acquire(SUBMIT))
            await asyncio.sleep(0)
            early.cancel()
            await asyncio.gather(early, return_exceptions=True)
            concurrency_limit = ConcurrencyLimit(1)
        async with limiter(2, concurrency_limit=concurrency_limit) as (opened, _):
            holder = await opened.acquire(SUBMIT)
            waiters = [asyncio.create_task(opened.acquire(SUBMIT)) for _ in range(2)]
            await asyncio.sleep(1)
            assert not any(w.done() for w in waiters)
            holder.unsent()
            for _ in range(50):
                await asyncio.sleep(0)
                if concurrency_limit.is_full:
                    break
            # the turn is given, and the one who waited for it has not run since
            waiters[0].cancel()
            turn = await waiters[1]
            assert opened.keys[0].counted(opened.now()) == 1
            turn.answered()
            assert concurrency_limit.busy == 0
            assert opened.keys[0].counted(opened.now()) == 1
        first.answered()

    virtual.run(main())


def test_a_permit_ends_once() -> None:
    """A second report about a call changes nothing: one place, one call, one hold."""

    async def main() -> None:
        async with limiter(5) as (opened, witness):
            turn = await opened.acquire(SUBMIT)
            turn.throttled(3.0)
            turn.answered()
            turn.unsent()
            turn.throttled(9.0)
            turn.refused()
            assert [held.wait_s for held in witness.of(KeyHeld)] == [3.0]
            assert not opened.keys[0].refused
            assert opened.keys[0].counted(opened.now()) == 1

    virtual.run(main())


@pytest.mark.parametrize("reason", list(StopReason))
def test_closing_fails_all_requests(reason: StopReason) -> None:
    """Who waits is told at once why there is no turn; who comes later as well; other purposes go on; the first reason stays."""

    async def main() -> None:
        async with limiter(1) as (opened, _):
            await opened.acquire(SUBMIT)
            waiting = [asyncio.create_task(opened.acquire(SUBMIT)) for _ in range(5)]
            probe = asyncio.create_task(opened.acquire(CallRequest(purpose=Purpose.PROBE)))
            await asyncio.sleep(1)
            opened.close(reason, frozenset({Purpose.SUBMIT, Purpose.LOOK_UP}))
            opened.close(StopReason.STOPPED)
            told = await asyncio.gather(*waiting, return_exceptions=True)
            assert [getattr(t, "reason", None) for t in told] == [reason] * 5
            with pytest.raises(LimiterClosed) as caught:
                await opened.acquire(SUBMIT)
            assert caught.value.reason is reason
            with pytest.raises(LimiterClosed) as stopped:
                await probe
            assert stopped.value.reason is StopReason.STOPPED

    virtual.run(main())


def test_a_refused_key_is_set_aside() -> None:
    """Calls continue with the other key; the last refused key closes the rate limiter; each is reported once."""

    async def main() -> None:
        async with limiter(3, 3) as (opened, witness):
            turns = [await opened.acquire(SUBMIT) for _ in range(6)]
            by_key = {name: [t for t in turns if t.secret == Secret(name)] for name in ("k0", "k1")}
            assert {name: len(of) for name, of in by_key.items()} == {"k0": 3, "k1": 3}
            for turn in by_key["k0"]:
                turn.refused()
            assert [aside.keys_left for aside in witness.of(KeySetAside)] == [1]
            for turn in by_key["k1"]:
                turn.answered()
            began_at = opened.now()
            again = await opened.acquire(SUBMIT)
            assert again.secret == Secret("k1")
            assert opened.now() - began_at >= 60
            waiting = [asyncio.create_task(opened.acquire(SUBMIT)) for _ in range(9)]
            await asyncio.sleep(0.1)
            again.refused()
            told = await asyncio.gather(*waiting, return_exceptions=True)
            refused = [t for t in told if isinstance(t, LimiterClosed)]
            assert refused
            assert {t.reason for t in refused} == {StopReason.KEYS_REFUSED}
            assert [aside.keys_left for aside in witness.of(KeySetAside)] == [1, 0]

    virtual.run(main())


def test_the_concurrency_limit_is_shared_by_all_rate_limiters() -> None:
    """`workers` bounds the active calls over all instances, and a place that becomes free goes to a request that waits."""

    async def main() -> None:
        concurrency_limit = ConcurrencyLimit(3)
        async with (
            limiter(100, concurrency_limit=concurrency_limit) as (one, _),
            limiter(100, concurrency_limit=concurrency_limit) as (other, _),
        ):
            held = [await one.acquire(SUBMIT) for _ in range(3)]
            waiting = [asyncio.create_task(d.acquire(SUBMIT)) for d in (other, one, other)]
            await asyncio.sleep(5)
            assert not any(w.done() for w in waiting)
            assert concurrency_limit.busy == 3
            for turn in held:
                turn.answered()
            turns = await asyncio.gather(*waiting)
            assert concurrency_limit.busy == 3
            for turn in turns:
                turn.unsent()
            assert concurrency_limit.busy == 0

    virtual.run(main())


def test_purposes_pause_and_go_on() -> None:
    """What is paused waits; the others go through."""

    async def main() -> None:
        async with limiter(100) as (opened, _):
            opened.pause(SUBMITTING)
            held = [
                asyncio.create_task(opened.acquire(CallRequest(purpose=p))) for p in (Purpose.SUBMIT, Purpose.LOOK_UP)
            ]
            for purpose in (Purpose.PROBE, Purpose.PROOF):
                (await opened.acquire(CallRequest(purpose=purpose))).answered()
            await asyncio.sleep(30)
            assert not any(h.done() for h in held)
            opened.pause(frozenset())
            for turn in await asyncio.gather(*held):
                turn.answered()

    virtual.run(main())


def _due_poll() -> CallRequest:
    """A poll of a job that is past its timeout: it may go at once."""
    now = asyncio.get_running_loop().time()
    job = FollowedJob(
        model="m", accepted_at=now - 9, unfinished_at=now - 9, polled_at=now - 9, min_s=1, max_s=1, timeout_at=now - 1
    )
    return CallRequest(purpose=Purpose.POLL, job=job)


def test_polls_pause_and_one_is_let_pass() -> None:
    """Paused polls wait without busy loops; one passes if it is let, and the others can be turned away."""

    async def main() -> None:
        async with limiter(100) as (opened, _):
            opened.pause(frozenset(Purpose) - {Purpose.PROBE})
            polls = [asyncio.create_task(opened.acquire(_due_poll())) for _ in range(3)]
            await asyncio.sleep(30)
            assert not any(poll.done() for poll in polls)
            opened.allow_one_poll()
            await asyncio.sleep(30)
            assert sum(poll.done() for poll in polls) == 1
            opened.fail_waiting(frozenset({Purpose.POLL}), lambda purpose: ValueError(purpose.name))
            ends = await asyncio.gather(*polls, return_exceptions=True)
            assert sum(isinstance(end, ValueError) for end in ends) == 2
            (await opened.acquire(CallRequest(purpose=Purpose.PROBE))).answered()

    virtual.run(main())


@pytest.mark.parametrize("request_timeout_s, counts_s", [(0.0, 120.0), (30.0, 120.0), (300.0, 360.0)])
def test_a_call_that_was_given_up_counts_longer(request_timeout_s: float, counts_s: float) -> None:
    """A call that got no answer counts for two windows, or for one and the request timeout: a stalled server may still
    count it. Those that were answered meanwhile leave the window first.
    """
    key = KeyQuota(
        label="k",
        secret=Secret("k"),
        limit=RateLimit(requests=2, per_s=60.0),
        ledger=MemoryWindow(60.0),
        rng=Random(0),
        request_timeout_s=request_timeout_s,
    )

    async def main() -> None:
        lost, answered = await key.leave(0.0), await key.leave(0.0)
        assert lost is not None
        assert answered is not None
        key.lost(lost, 1.0)
        key.answered(answered, 2.0)
        assert key.ready_at(2.0) == pytest.approx(62.0, abs=0.1)
        assert [key.counted(at) for at in (61.0, 63.0, counts_s + 0.9, counts_s + 1.1)] == [2, 1, 1, 0]

    virtual.run(main())


def test_who_goes_first() -> None:
    """When one call may go: a probe, a look-up, submits by rank, and last of all a proof read."""

    async def main() -> None:
        async with limiter(1, per_s=1.0) as (opened, _):
            (await opened.acquire(SUBMIT)).answered()
            order: list[str] = []

            async def go(name: str, ask: CallRequest) -> None:
                (await opened.acquire(ask)).answered()
                order.append(name)

            wishes = [
                ("proof", CallRequest(purpose=Purpose.PROOF)),
                ("short", CallRequest(purpose=Purpose.SUBMIT, rank=(-5.0, 0.0))),
                ("long", CallRequest(purpose=Purpose.SUBMIT, rank=(-50.0, 2.0))),
                ("long too", CallRequest(purpose=Purpose.SUBMIT, rank=(-50.0, 1.0))),
                ("look up", CallRequest(purpose=Purpose.LOOK_UP)),
                ("probe", CallRequest(purpose=Purpose.PROBE)),
                ("later", CallRequest(purpose=Purpose.PROBE, not_before=opened.now() + 3.5)),
            ]
            await asyncio.gather(*(go(name, ask) for name, ask in wishes))
            assert order == ["probe", "look up", "long too", "later", "long", "short", "proof"]

    virtual.run(main())


def test_the_budget_that_is_left() -> None:
    """`budget` tells an estimate how many calls may go and when those that count now count no more."""

    async def main() -> None:
        async with limiter(10, 10) as (opened, _):
            for _ in range(4):
                (await opened.acquire(SUBMIT)).answered()
            opened.refuse(opened.keys[1])
            budget = opened.budget()
            assert (budget.calls, budget.per_s) == (10, 60.0)
            assert all(0 < at <= 60.0 for at in budget.used)

    virtual.run(main())


class LostLedger(MemoryWindow):
    """A log that cannot be used from the first moment on."""

    def when(self, now: float, limit: int) -> float | None:
        raise LedgerLost("lost")


def test_calls_that_cannot_be_counted_close_the_rate_limiter() -> None:
    """Who waits is told, and so is who comes later: nothing hangs, and nothing leaves uncounted."""

    async def main() -> None:
        async with limiter(2, ledger=LostLedger(60.0)) as (opened, _):
            for purpose in (Purpose.SUBMIT, Purpose.POLL):
                with pytest.raises(LimiterClosed) as closed:
                    await opened.acquire(CallRequest(purpose=purpose))
                assert closed.value.reason is StopReason.STATE_LOST

    virtual.run(main())
