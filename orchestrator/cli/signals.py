"""Turns signals into stop requests, from the first moment to the end of the process."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Final

from orchestrator.app.context import StopRequests
from orchestrator.cli.streams import end_result_when

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PATIENCE_S: Final = 2.0
"""After a signal, a result that no program reads is waited for so many seconds."""


def stop_on_signals(stop: StopRequests) -> None:
    """From now on SIGINT, SIGTERM and SIGHUP request a stop, to the end of the process.

    So a signal that comes when the run has ended does not change its exit code. One that was ignored at the start (`nohup`)
    stays ignored.
    """
    signalled_at_s = float("inf")

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal signalled_at_s
        del frame
        signalled_at_s = time.monotonic()
        stop.request(number)

    end_result_when(lambda: time.monotonic() - signalled_at_s > PATIENCE_S)
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, request)
