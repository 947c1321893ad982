"""Signals are kept from the first moment to the last, and go to the run while there is one."""

import asyncio
import os
import signal

from orchestrator.app.context import StopRequests
from orchestrator.cli.run_command import stop_on_signals


def send() -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_before_during_and_after_a_run() -> None:
    """An early one stops the run at its start, one during the run stops the loop, and one after it ends nothing any more:
    the command has its result, and ends with its own exit code.
    """
    before, stops = signal.getsignal(signal.SIGTERM), list[int]()

    async def run(stop: StopRequests) -> None:
        with stop.connected(lambda: stops.append(1)):
            assert stops == [1]
            send()
            # it is noticed also by what blocks the loop
            assert len(stop.signals) == 2
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(stops) == 2

    stop = StopRequests()
    try:
        stop_on_signals(stop)
        send()
        assert stop.signals == [signal.SIGTERM]
        asyncio.run(run(stop))
        send()
        assert len(stop.signals) == 3
        assert len(stops) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
