"""The example outputs in the documentation, each made by the program itself.

A fenced block under the comment `<!-- output -->` holds what a command of `SCRIPTS` prints. `python -m tests.docs.outputs`
writes all of them anew; `test_outputs` compares them.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.docs.pages import blocks, read_page
from tests.docs.terminal import Terminal, opened_terminal
from tests.house.tree import ROOT
from tests.omni.certificates import make_server_context

Script = Callable[[Terminal], Iterator[str]]

_BLOCK: Final = re.compile(r"(^<!-- output -->\n+```\w+\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[str]:
    """The texts of the YAML blocks of a page, in order."""
    return [block.text for block in blocks("yaml") if str(block.page) == page]


def _demo(terminal: Terminal) -> None:
    shutil.copytree(ROOT / "configs", terminal.folder / "configs")


def readme(terminal: Terminal) -> Iterator[str]:
    """The demo, as `make demo` shows it."""
    _demo(terminal)
    yield f"$ make demo\n{terminal.output('omni-refresh run configs/demo.yaml --simulate')}demo: exit code 1, as staged\n"


def first_run(terminal: Terminal) -> Iterator[str]:
    """The tutorial's commands, with the files that it shows."""
    manifest, scenario = examples("docs/tutorial/first-run.md")
    terminal.write("first.yaml", manifest)
    yield terminal.show("omni-refresh check first.yaml")
    terminal.write("first.yaml", manifest.replace("models:", "modells:"))
    yield terminal.show("omni-refresh check first.yaml")
    terminal.write("first.yaml", manifest)
    yield terminal.show("omni-refresh run first.yaml --simulate --quiet")
    yield terminal.show("jq -c '.outcomes[] | {name, status, polls}' omni-refresh-report.simulated.json")
    terminal.write("first.scenario.yaml", scenario)
    yield terminal.show("omni-refresh run first.yaml --simulate --quiet")


def interrupted(terminal: Terminal) -> Iterator[str]:
    """A run that a signal stops, what `resume` says, and a retry of what failed."""
    url = terminal.serve(
        models=[
            {"name": "Finance", "duration": 6, "result": ["FAILED", "COMPLETED"]},
            {"name": "Stock", "duration": 45},
            {"name": "Sales", "duration": 5},
        ]
    )
    models = "  - {model: Finance, name: finance}\n  - {model: Stock, name: stock}\n  - {model: Sales, name: sales}\n"
    terminal.write("nightly.yaml", _manifest(url, models))
    yield terminal.output("omni-refresh run nightly.yaml", stop_after_s=8)
    terminal.wait_until(datetime(2026, 11, 20, 2, 30, tzinfo=UTC))
    terminal.output("omni-refresh resume")
    yield terminal.show("omni-refresh retry")


def look_first(terminal: Terminal) -> Iterator[str]:
    """A plan of the demo, and a check against an instance that does not have all of it."""
    _demo(terminal)
    yield terminal.show(
        'omni-refresh plan configs/demo.yaml --simulate --select "Campaigns*" --select Ledger --select Payroll'
    )
    warehouse = {
        "name": "warehouse",
        "schedules": [{"schedule": "15 2 * * ? *"}],
        "schemas": {"sales": ["orders"], "finance": ["invoices"]},
    }
    url = terminal.serve(
        connections=[warehouse],
        models=[{"name": name, "connection": "warehouse"} for name in ("Finance", "Sales", "Stock", "HR", "Returns")],
    )
    names = "  - {model: Finanec}\n  - {model: Stock}\n  - model: Sales\n    schemas: [sale]\n  - {model: HR}\n  - {model: Returns}\n"
    terminal.write("nightly.yaml", _manifest(url, names))
    yield terminal.show("omni-refresh check nightly.yaml --online")


def discovered(terminal: Terminal) -> Iterator[str]:
    """The manifest that `discover` writes, and how an instance differs from it later."""
    warehouses = [{"name": "warehouse-eu"}, {"name": "warehouse-us"}]
    models: list[dict[str, object]] = [
        {"name": "Finance", "connection": "warehouse-eu"},
        {"name": "Sales", "connection": "warehouse-eu", "branches": ["nightly/schema"]},
        {"name": "HR", "connection": "warehouse-us"},
    ]
    before = terminal.serve(connections=warehouses, models=models, shown="blobsrus.omniapp.co")
    text = terminal.output(f"omni-refresh discover --base-url {before}")
    yield text.replace("http://blobsrus", "https://blobsrus")
    later = terminal.serve(
        connections=warehouses, models=[*models[1:], {"name": "Returns", "connection": "warehouse-eu"}]
    )
    terminal.write(
        "nightly.yaml",
        terminal.output(f"omni-refresh discover --base-url {before}").replace("http://blobsrus.omniapp.co", later),
    )
    yield terminal.show("omni-refresh discover --diff nightly.yaml")


def untrusted(terminal: Terminal) -> Iterator[str]:
    """A run against a server whose certificate a company's own authority signed."""
    url = terminal.serve(
        tls=make_server_context(terminal.folder), shown="blobsrus.omniapp.co", models=[{"name": "sales"}]
    )
    terminal.write("nightly.yaml", _manifest(url, "  - {name: sales}\n"))
    yield terminal.output("omni-refresh run nightly.yaml")


def history(terminal: Terminal) -> Iterator[str]:
    """Six nights of three models: one is slow in two of them and fails once, one fails twice."""
    nights: tuple[dict[str, dict[str, object]], ...] = (
        {"ledger": {"duration": 40}},
        {"ledger": {"duration": 43}},
        {"ledger": {"duration": 45}, "finance": {"result": "FAILED"}},
        {"ledger": {"duration": 87}},
        {"ledger": {"duration": 41, "result": "FAILED"}},
        {"ledger": {"duration": 85}, "finance": {"result": "FAILED"}},
    )
    models = "".join(f"  - {{name: {name}}}\n" for name in ("ledger", "finance", "stock"))
    usual: dict[str, dict[str, object]] = {"finance": {"duration": 4}, "stock": {"duration": 26}}
    for number, night in enumerate(nights):
        terminal.wait_until(datetime(2026, 11, 20 + number, 2, tzinfo=UTC))
        url = terminal.serve(
            models=[
                {"name": name, **usual.get(name, {}), **night.get(name, {})} for name in ("ledger", "finance", "stock")
            ]
        )
        terminal.write("nightly.yaml", _manifest(url, models))
        terminal.output("omni-refresh run nightly.yaml")
    yield terminal.show("omni-refresh history --limit 2")
    yield terminal.show("omni-refresh history --model ledger")
    yield terminal.show("omni-refresh history --flaky --limit 30")


def read_a_report(terminal: Terminal) -> Iterator[str]:
    """Questions to the JSON report of the demo."""
    _demo(terminal)
    terminal.output("omni-refresh run configs/demo.yaml --simulate --report demo.json")
    for block in blocks("console"):
        if str(block.page) == "docs/how-to/read-a-report.md" and block.comment == "output":
            yield terminal.show(block.text.partition("\n")[0].removeprefix("$ "))


def changed(terminal: Terminal) -> Iterator[str]:
    """What a migration with three statements changed."""
    terminal.write("migrations/V13__ledger.sql", _MIGRATION)
    yield terminal.show("omni-refresh changes --ddl migrations/V13__ledger.sql --dialect postgres")


def selected(terminal: Terminal) -> Iterator[str]:
    """A selection that matches nothing."""
    _demo(terminal)
    yield terminal.show("omni-refresh run configs/demo.yaml --simulate --select Stok")


_MIGRATION: Final = """\
-- Payments are kept in the ledger.

CREATE TABLE ledger.entries (
    id bigint PRIMARY KEY,
    amount numeric NOT NULL
);

GRANT SELECT ON ledger.entries TO reporting;
ALTER TABLE billing.payments DROP COLUMN amount;
"""


def _manifest(url: str, models: str) -> str:
    return f"""\
instances:
  prod:
    base_url: {url}
    api_keys: ["${{OMNI_API_TOKEN}}"]
models:
{models}"""


SCRIPTS: Final[dict[str, Script]] = {
    "README.md": readme,
    "docs/tutorial/first-run.md": first_run,
    "docs/how-to/resume-and-retry.md": interrupted,
    "docs/how-to/plan-and-check.md": look_first,
    "docs/how-to/discover.md": discovered,
    "docs/how-to/private-ca-and-proxies.md": untrusted,
    "docs/how-to/history.md": history,
    "docs/how-to/read-a-report.md": read_a_report,
    "docs/how-to/after-migration.md": changed,
    "docs/reference/cli.md": selected,
}


def make_outputs(page: str, folder: Path) -> list[str]:
    """Run a page's script in `folder`; return the texts of its output blocks."""
    with opened_terminal(folder) as terminal:
        return list(SCRIPTS[page](terminal))


def shown_outputs(page: str) -> list[str]:
    """Return the texts of the output blocks that a page holds."""
    return [match[2] for match in _BLOCK.finditer(read_page(page))]


def main() -> None:
    """Write every output block anew."""
    for page in SCRIPTS:
        with tempfile.TemporaryDirectory() as folder:
            made = make_outputs(page, Path(folder))
        before, *parts = _BLOCK.split(read_page(page))
        assert len(parts) == 4 * len(made), f"{page}: {len(parts) // 4} blocks for {len(made)} outputs"
        for number, text in enumerate(made):
            parts[4 * number + 1] = text
        (ROOT / page).write_text(before + "".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
