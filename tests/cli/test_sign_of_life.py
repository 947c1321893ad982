"""Off a terminal a run says now and then that it lives."""

import io
import json
from datetime import UTC, datetime

from orchestrator.cli.narrator import Narrator
from orchestrator.log import LogFormat, Redactor, set_up_logging
from orchestrator.run.outcome import Status

START = datetime(2026, 11, 25, 2, tzinfo=UTC)


def test_a_sign_of_life_tells_the_time_left() -> None:
    """Off a terminal the line that is written now and then says what is left, too."""
    stream = io.StringIO()
    set_up_logging(stream=stream, utcnow=lambda: START, redactor=Redactor(()), log_format=LogFormat.JSON)
    narrator = Narrator()
    narrator.settled[Status.FAILED] += 2
    narrator.progress(60.04, 20.4)
    narrator.progress(90.0)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["elapsed_s"], first["settled"], first["failed"]) == ("run_progressed", 60.0, 2, 2)
    assert first["left_s"] == 20
    assert "left_s" not in second
