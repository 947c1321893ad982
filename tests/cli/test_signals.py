"""Signals are kept from the first moment to the last, and go to the run while there is one."""

import asyncio
import os
import signal

from orchestrator.cli.signals import Signals


def send() -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_before_amid_and_after_a_run() -> None:
    """One that comes early stops the run at its start, one amid it in the loop, and one after it ends nothing any more:
    the command has its result, and ends with its own exit code.
    """
    before, told = signal.getsignal(signal.SIGTERM), list[int]()

    async def run(signals: Signals) -> None:
        with signals.handed_over(asyncio.get_running_loop(), told.append):
            assert told == [signal.SIGTERM]
            send()
            # it is noticed also by what blocks the loop
            assert len(signals.caught) == 2
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(told) == 2

    signals = Signals()
    try:
        signals.watch()
        send()
        assert signals.caught == [signal.SIGTERM]
        asyncio.run(run(signals))
        send()
        assert len(signals.caught) == 3
        assert len(told) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
