"""Takes the pictures in docs/screenshots: the report of the demo's run in Chromium, and the terminal as `rich` draws it.

`python -m tests.browser.screenshots` takes them anew, in half a minute. It needs chromium, and no network.
"""

import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from orchestrator.engine.events import ActiveLane
from orchestrator.engine.outcome import Status
from orchestrator.report.document import parse_document
from orchestrator.report.summary import render_summary
from orchestrator.terminal.progress import BudgetUse, Progress, render_progress
from tests.browser.chromium import chromium, open_page
from tests.house.tree import ROOT

FOLDER = ROOT / "docs" / "screenshots"

# Each with its width and height in CSS pixels, and whether it is dark.
SHOTS = (
    ("report-light.png", 1280, 1400, False),
    ("report-dark.png", 1280, 1400, True),
    ("report-phone-light.png", 375, 1500, False),
    ("report-phone-dark.png", 375, 1500, True),
)

# The terminal's own typeface: the usual template fetches one from the network.
_TEMPLATE = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "monospace"
)


def a_nightly_s_moment() -> Progress:
    """Two minutes into a run over 300 models."""

    def lane(target: str, age_s: float, usual_s: float | None, behind: int = 0) -> ActiveLane:
        return ActiveLane(instance="prod", target=target, serves=1, age_s=age_s, usual_s=usual_s, behind=behind)

    lanes = [
        lane("Quarterly Finance", 148, 62, 3),
        lane("Web Analytics", 96, 110),
        lane("Supply Chain", 71, 68, 1),
        lane("Payroll", 44, 50),
        lane("Churn Model", 38, None, 6),
    ]
    others = [lane(f"other {n}", 20, 30) for n in range(30)]
    return Progress(
        title="omni-refresh nightly.yaml",
        elapsed_s=154,
        selected=300,
        total=300,
        settled={Status.SUCCEEDED: 92, Status.REJECTED: 2, Status.FAILED: 1, Status.SKIPPED: 4},
        left_s=320,
        budgets=(
            BudgetUse(instance="prod", used=55, calls=60, per_s=60, held_s=None),
            BudgetUse(instance="emea", used=17, calls=120, per_s=60, held_s=8),
        ),
        lanes=(*lanes, *others),
    )


def draw_terminal(lines: list[Text], title: str, width: int) -> str:
    """A terminal's window as SVG, without any outside font."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    for line in lines:
        console.print(line, soft_wrap=True)
    return console.export_svg(title=title, code_format=_TEMPLATE, unique_id=re.sub(r"\W+", "-", title))


def main() -> None:
    """Take every picture."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page, document = Path(folder, "report.html"), Path(folder, "report.json")
        command = [
            sys.executable,
            "-m",
            "orchestrator",
            "run",
            "configs/demo.yaml",
            "--simulate",
            "--quiet",
        ]
        reports = ["--report", str(page), "--report", str(document)]
        subprocess.run([*command, *reports], cwd=ROOT, check=False, capture_output=True)
        report = parse_document(json.loads(document.read_text(encoding="utf-8")))
        with chromium() as browser, open_page(browser) as tab:
            for name, width, height, dark in SHOTS:
                tab.window(width, dark=dark)
                tab.open(page)
                (FOLDER / name).write_bytes(tab.screenshot(height=height))
    for width in (80, 40):
        drawn = draw_terminal(
            render_progress(a_nightly_s_moment(), width), "omni-refresh run nightly.yaml"[:width], width
        )
        (FOLDER / f"progress-{width}.svg").write_text(drawn, encoding="utf-8")
    summary = Text.from_ansi(
        render_summary(report, width=100, color=True, report_paths=("omni-refresh-report.simulated.json",))
    )
    drawn = draw_terminal(list(summary.split("\n")), "omni-refresh run configs/demo.yaml --simulate", 100)
    (FOLDER / "summary.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
