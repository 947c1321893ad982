"""The log of a run."""

import io
import json
from datetime import UTC, datetime

from orchestrator.cli.log_observer import LogObserver
from orchestrator.engine.events import RunProgress
from orchestrator.engine.outcome import Status
from orchestrator.log import LogFormat, Redactor, set_up_logging

START = datetime(2026, 11, 25, 2, tzinfo=UTC)


def test_a_progress_line_has_the_time_left() -> None:
    """A progress line says how far the run is and what is left, if that is known."""
    stream = io.StringIO()
    set_up_logging(stream=stream, utcnow=lambda: START, redactor=Redactor(()), log_format=LogFormat.JSON)
    observe = LogObserver()
    observe(RunProgress(elapsed_s=60.04, done=2, total=9, left_s=20.4, statuses={Status.FAILED: 2}))
    observe(RunProgress(elapsed_s=90.0, done=2, total=9, left_s=None))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["elapsed_s"], first["settled"], first["failed"]) == ("run_progressed", 60.0, 2, 2)
    assert first["left_s"] == 20
    assert "left_s" not in second
