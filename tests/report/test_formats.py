"""Every format is one call away, and costs nothing before it is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.report.files import Format, render
from tests.report.reports import make_report

STARTS = {
    Format.JSON: '{\n  "schema_version": 1,',
    Format.JSONL: '{"name": "model_0000", ',
    Format.JUNIT: '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ',
    Format.MARKDOWN: "## ",
    Format.HTML: '<!doctype html>\n<html lang="en">',
    Format.CSV: "name,instance,model_id,",
    Format.EXCEL_CSV: "\ufeffname,instance,model_id,",
}


@pytest.mark.parametrize("wanted", Format)
def test_every_format_is_rendered(wanted: Format) -> None:
    """Each format gives its own kind of text, with every target in it."""
    text = render(make_report(12), wanted)
    assert text.startswith(STARTS[wanted])
    assert "model_0011" in text


def test_nothing_heavy_is_imported_early() -> None:
    """The report's rooms and the text formats load no template engine and no terminal library."""
    program = (
        "import sys; from orchestrator.report import as_html, files;"
        "print(sorted({'jinja2', 'rich', 'aiohttp', 'pydantic'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert ran.stdout == "[]\n"
