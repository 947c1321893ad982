"""Report files are whole or not there, and what cannot be written is found before the first call."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.report.files import (
    STEP_SUMMARY_LIMIT,
    Format,
    ReportError,
    append_step_summary,
    check_writable,
    format_of,
    write_report,
)

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sync fails as on a full disk: where space is only promised, that is when it shows."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    """Text and bytes arrive as they are, nothing else is left in the folder, and others may read it as the umask says."""
    umask = os.umask(0o022)
    try:
        check_writable(tmp_path / "r.json")
        assert names(tmp_path) == []
        write_report(tmp_path / "r.json", "é\n")
        write_report(str(tmp_path / "b.json"), b"\x00")
    finally:
        os.umask(umask)
    assert (tmp_path / "r.json").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "b.json").read_bytes() == b"\x00"
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o644
    assert names(tmp_path) == ["b.json", "r.json"]


def test_text_that_utf8_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    """A lone surrogate is spelled out: a report is never lost to one character."""
    write_report(tmp_path / "r.md", "half \ud800 pair")
    assert (tmp_path / "r.md").read_text(encoding="utf-8") == r"half \ud800 pair"


def test_the_old_files_mode_is_kept(tmp_path: Path) -> None:
    """A report that was private stays private, one that a group may write stays so."""
    path = tmp_path / "r.json"
    for mode in (0o600, 0o664):
        path.write_text("old")
        path.chmod(mode)
        write_report(path, "new")
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert path.read_text() == "new"


def test_a_link_is_kept(tmp_path: Path) -> None:
    """A symbolic link stays one and its target is replaced, also where the target is not there yet."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "r.json"
    link.symlink_to(tmp_path / "real" / "report.json")
    for text in ("first", "second"):
        check_writable(link)
        write_report(link, text)
        assert link.is_symlink()
        assert (tmp_path / "real" / "report.json").read_text() == text
    assert names(tmp_path) == ["r.json", "real"]
    assert names(tmp_path / "real") == ["report.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, full_disk: None) -> None:
    """Where the disk is full, the old report is still whole, no temporary file is left, and the reason is told."""
    path = tmp_path / "r.json"
    path.write_text("old")
    with pytest.raises(ReportError, match=rf"r\.json .*{os.strerror(errno.ENOSPC)}") as caught:
        write_report(path, "new")
    assert caught.value.exit_code == 5
    assert path.read_text() == "old"
    assert names(tmp_path) == ["r.json"]


def test_a_kill_never_tears_a_report(tmp_path: Path) -> None:
    """A process that is killed while it writes reports leaves a whole one."""
    path = tmp_path / "r.json"
    program = (
        "import sys\nfrom orchestrator.report.files import write_report\n"
        "for number in range(10**9):\n    write_report(sys.argv[1], f'{number % 10}' * 300_000)\n    print(flush=True)"
    )
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.kill()
        process.communicate()
        text = path.read_text()
        assert len(text) == 300_000
        assert len(set(text)) == 1


WRONG = {
    "missing folder": ("no/r.json", "there is no folder .*no; create it or choose another path"),
    "file as folder": ("file/r.json", "file is a file, not a folder"),
    "folder": ("folder", "it is a folder; name a file in it"),
    "read-only": ("locked.json", "the file is read-only; make it writable"),
    "pipe": ("pipe.json", "it is a pipe or a device; name a file, or print the report with --json"),
    "device": ("device.json", "it is a pipe or a device"),
    "link to nowhere": ("lost.json", "there is no folder .*gone"),
    "circle of links": ("circle.json", "Too many levels of symbolic links; choose another path"),
    "proc": ("/proc/nope/r.json", "there is no folder /proc/nope"),
    "proc itself": ("/proc/r.json", "No such file or directory; choose another path"),
    "too long": ("x" * 300 + ".json", "File name too long"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with everything that cannot be a report."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked.json").write_text("old")
    (tmp_path / "locked.json").chmod(0o444)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "device.json").symlink_to("/dev/full")
    (tmp_path / "lost.json").symlink_to(tmp_path / "gone" / "r.json")
    (tmp_path / "circle.json").symlink_to(tmp_path / "circle.json")
    return tmp_path


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_written_is_found_before(what: str, place: Path) -> None:
    """Each obstacle is a usage error that names the path, what is in the way and what to do; writing fails as clearly."""
    name, told = WRONG[what]
    before = names(place)
    with pytest.raises(UsageError, match=told) as caught:
        check_writable(place / name)
    assert str(place / name) in str(caught.value)
    with pytest.raises(ReportError, match=told.partition(";")[0]):
        write_report(place / name, "new")
    assert names(place) == before
    assert (place / "locked.json").read_text() == "old"


def test_a_full_folder_is_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which no file can be made is found by trying, whatever its mode says."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match=os.strerror(errno.EROFS)):
        check_writable(tmp_path / "r.json")


@pytest.mark.parametrize("wanted", Format)
def test_the_format_follows_the_suffix(wanted: Format) -> None:
    """Each format has one suffix, in any case of its letters, and the last one counts."""
    assert format_of(f"out/report.2026{wanted.value.upper()}") is wanted
    assert format_of(Path("a") / f"b{wanted.value}") is wanted


@pytest.mark.parametrize("path", ["report", "report.yaml", ".json", "r.json.gz", "r.json/x", ""])
def test_another_suffix_is_refused(path: str) -> None:
    """A path without a known suffix is a usage error that names those there are."""
    with pytest.raises(UsageError, match=", ".join(Format).replace(".", r"\.")):
        format_of(path)


def test_the_step_summary_is_appended(tmp_path: Path) -> None:
    """The job summary of other steps stays, a blank line apart; the file is made where there is none."""
    path = tmp_path / "summary.md"
    append_step_summary(path, "one\n")
    append_step_summary(path, "two\n")
    assert path.read_text() == "one\n\ntwo\n"


@pytest.mark.parametrize("there", [0, 1000, STEP_SUMMARY_LIMIT - 100, STEP_SUMMARY_LIMIT - 10, STEP_SUMMARY_LIMIT + 5])
def test_the_step_summary_stays_under_its_limit(tmp_path: Path, there: int) -> None:
    """A summary that would become too large is cut at a line's end with a note, or left out; never is a line torn."""
    path = tmp_path / "summary.md"
    path.write_text("x" * there)
    append_step_summary(path, "| é | row |\n" * 200_000)
    text = path.read_text(encoding="utf-8")
    assert text[:there] == "x" * there
    assert len(text.encode()) < max(STEP_SUMMARY_LIMIT, there + 1)
    added = text[there:].strip().splitlines()
    assert not added or added[-1].startswith("… cut")
    assert set(added[:-1]) <= {"| é | row |", ""}
    assert added or there > STEP_SUMMARY_LIMIT - 60


def test_a_step_summary_that_fails_is_reported(tmp_path: Path) -> None:
    """A job summary that cannot be written is a report that could not be written, with the reason."""
    with pytest.raises(ReportError, match=rf"summary\.md .*{os.strerror(errno.ENOENT)}"):
        append_step_summary(tmp_path / "no" / "summary.md", "text")
