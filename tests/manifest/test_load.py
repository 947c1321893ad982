"""Files to manifests: all errors at once, in the file's order, bounded; never a traceback."""

import gc
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.manifest.diagnostics import MAX_KEPT, Diagnostic, Diagnostics, ManifestError, nearest, show, some
from orchestrator.manifest.load import load_manifest
from orchestrator.manifest.manifest import Place
from tests.manifest.manifests import ENVIRON, ID, KEY, MODEL, TOP, entry, faults, load


def _wrong(path: Path | str) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, environ=ENVIRON)
    return str(caught.value)


def test_a_file(tmp_path: Path) -> None:
    """A manifest has its path and its file's checksum; key files are found from any working directory."""
    path = tmp_path / "m.yaml"
    text = TOP.replace('api_keys: ["${OMNI_API_TOKEN}"]', "api_key_file: key") + MODEL
    path.write_text(text)
    (tmp_path / "key").write_text(KEY + "\n")
    manifest = load_manifest(path, environ={})
    assert (manifest.path, manifest.sha256) == (str(path), hashlib.sha256(text.encode()).hexdigest())
    assert manifest.instances["sim"].keys[0].source.file == tmp_path / "key"
    assert load(text, files={"key": KEY.encode()}).sha256 == manifest.sha256


def test_the_identity_of_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `name:` if it has one, else its path as given, made absolute without following links."""
    (tmp_path / "real.yaml").write_text(TOP + MODEL)
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    monkeypatch.chdir(tmp_path)
    for path in ("link.yaml", "./link.yaml", f"../{tmp_path.name}/link.yaml", tmp_path / "link.yaml"):
        assert load_manifest(path, environ=ENVIRON).identity == str(tmp_path / "link.yaml")
    named = load("name: nightly ${WHERE}\n" + TOP + MODEL, environ={**ENVIRON, "WHERE": "eu"})
    assert (named.name, named.identity) == ("nightly eu", "nightly eu")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a directory or an impossible name is one line, exit code 2."""
    assert _wrong(tmp_path / "nowhere.yaml").startswith(f"{tmp_path}/nowhere.yaml:1:1: error[unreadable-file]: ")
    assert _wrong(tmp_path).startswith(f"{tmp_path}:1:1: error[unreadable-file]: ")
    assert _wrong("a\0b").startswith("a\\x00b:1:1: error[unreadable-file]: ")
    (tmp_path / "m.yaml").touch(mode=0)
    if os.geteuid() != 0:
        assert "permission denied" in _wrong(tmp_path / "m.yaml")
    assert issubclass(ManifestError, UsageError)


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "1:1 empty-file"),
        ("# only comments\n", "1:1 empty-file"),
        ("---\n", "1:1 empty-file"),
        ("null\n", "1:1 empty-file"),
        ("- a\n- b\n", "1:1 wrong-type"),
        ("models\n", "1:1 wrong-type"),
        (TOP, "1:1 missing-key"),
        (TOP + "models:\n", "6:8 empty-value"),
        (TOP + "models: []\n", "6:9 empty-value"),
        (TOP + "models: {a: b}\n", "6:9 wrong-type"),
        (TOP + "models: a\n", "6:9 wrong-type"),
        (TOP + MODEL + MODEL, "9:1 duplicate-key"),
        (TOP.replace("version: 1", "version: 2") + MODEL, "1:10 unknown-version"),
        (TOP.replace("version: 1", "version: 1.0") + MODEL, "1:10 unknown-version"),
        (TOP.replace("version: 1", "version:") + MODEL, "1:9 empty-value"),
        ("name: a/b\n" + TOP + MODEL, "1:7 invalid-name"),
        ("name: ''\n" + TOP + MODEL, "1:7 empty-value"),
        ("workers: 0\n" + TOP + MODEL, "1:10 invalid-number"),
        ("workers: 1001\n" + TOP + MODEL, "1:10 invalid-number"),
        ("workers: '16'\n" + TOP + MODEL, "1:10 wrong-type"),
        ("worker: 1\n" + TOP + MODEL, "1:1 unknown-key"),
        ("concurrency: 1\n" + TOP + MODEL, "1:1 unknown-key"),
        ("targets: []\n" + TOP + MODEL, "1:1 unknown-key"),
        ("timeout: 1s\n" + TOP + MODEL, "1:1 unknown-key"),
        ("ca_file: x\n" + TOP + MODEL, "1:1 unknown-key"),
        ("on: 1\n" + TOP + MODEL, "1:1 unknown-key"),
        (TOP + MODEL + "models2: [\n", "10:1 yaml-syntax"),
    ],
)  # fmt: skip
def test_what_is_no_manifest(text: str, says: str) -> None:
    """Each is one error with its place."""
    assert faults(text) == [says]


def test_a_home_for_anchors() -> None:
    """Top-level keys that begin with x- may hold anything; a version that is left out is 1."""
    text = (TOP + MODEL).replace("version: 1\n", "x-anything: [${NOT, {}, ~]\nx-: {a: b}\n".replace("${NOT", "'${NOT'"))
    assert load(text).entries[0].name == "m0"
    assert load((TOP + MODEL).replace("version: 1", "version: '1'")).entries


def test_every_fault_at_once_in_order() -> None:
    """Errors of all stages are reported together, in the file's order."""
    lines = faults(entry("mode: x", "tags: []", "tags: [a]", defaults="{wait: y}").replace("sim:", "sim:\n    urll: x"))
    assert [line.split()[0] for line in lines] == [
        "4:5",
        "7:18",
        "11:11",
        "12:11",
        "13:5",
    ]


def test_many_faults_are_bounded() -> None:
    """Thousands of faults are counted; the text stays short and ends with how many more there are."""
    text = (
        TOP
        + "models:\n"
        + "".join(f"  - {{name: n{i}, zzz{i}: {'x' * 50}, retries: {'y' * 100}}}\n" for i in range(3000))
    )
    with pytest.raises(ManifestError) as caught:
        load(text)
    error = caught.value
    assert (error.total, len(error.diagnostics)) == (6000, MAX_KEPT)
    assert len(str(error)) < 8000
    lines = str(error).splitlines()
    assert len(lines) <= 51
    assert lines[-1] == f"and {6000 - len(lines) + 1} more"


def test_an_anchor_s_fault_counts_once() -> None:
    """Equal errors at one place count once, even when no more are kept."""
    listed = Diagnostics("m.yaml")
    for line in range(MAX_KEPT + 7):
        listed.error(Place(line + 1, 1), "no", code="c")
    listed.error(Place(1, 1), "no", code="c")
    with pytest.raises(ManifestError) as caught:
        listed.stop()
    assert caught.value.total == MAX_KEPT + 7


def test_the_collector_is_left_as_it_was() -> None:
    """Reading pauses the garbage collector, and then restores its state."""
    assert gc.isenabled()
    load(entry())
    assert gc.isenabled()
    gc.disable()
    try:
        load(entry())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_few_faults_are_all_shown() -> None:
    """Fifty short faults are fifty lines, and nothing more."""
    text = TOP + "models:\n" + "".join(f"  - {{name: n{i}, retries: x}}\n" for i in range(50))
    assert len(faults(text)) == 50


def test_a_path_is_data() -> None:
    """A path cannot break a line, control a terminal or fill the screen."""
    with pytest.raises(ManifestError) as caught:
        load_manifest("\x1b[2J\n" + "x" * 300, environ={})
    (line,) = str(caught.value).splitlines()
    assert line.startswith("\\x1b[2J ")
    assert len(line) < 350
    assert caught.value.diagnostics[0].place == Place(1, 1)


def test_a_fault_is_a_line() -> None:
    """An error has the format of a compiler, so that editors can jump to it."""
    assert str(Diagnostic(path="m.yaml", place=Place(3, 7), code="c", message="no")) == "m.yaml:3:7: error[c]: no"


def test_what_is_shown_of_a_value() -> None:
    """A value in a message is short and clean, without userinfo and without anything like a key."""
    assert show("a\n\x1bb") == '"a \\x1bb"'
    assert show("x" * 100) == '"' + "x" * 60 + '…"'
    assert show("https://u:pw@h/") == '"https://…@h/"'
    assert show(KEY + " x") == '"omni_… x"'
    assert some("abcdefghijkl", at_most=3) == "a, b, c and 9 more"
    assert nearest("sale", ["sales", "x"]) == "sales"
    assert nearest("q", ["sales"]) is None


def test_a_long_message_is_cut() -> None:
    """One long error leaves room for others."""
    names = ", ".join(f"{'n' * 59}{i}: {{base_url: 'https://a.b', api_keys: '${{OMNI_API_TOKEN}}'}}" for i in range(30))
    with pytest.raises(ManifestError) as caught:
        load(f"instances: {{{names}}}\nmodels: [{{name: a}}]\n")
    (found,) = caught.value.diagnostics
    assert found.code == "missing-instance"
    assert len(str(found)) < 1300
    assert found.hint.endswith("…")


def test_the_values_are_light() -> None:
    """The manifest's values are imported without the YAML library, pydantic or ssl, and the reader only when asked for."""
    code = "import orchestrator.manifest.manifest, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"yaml", "pydantic", "ssl", "orchestrator.manifest.load"} & set(ran.stdout.split())


def test_the_example_of_the_contract() -> None:
    """A manifest with every key loads."""
    text = f"""\
version: 1
workers: 16
instances:
  prod:
    base_url: https://blobsrus.omniapp.co
    api_keys: ["${{OMNI_API_TOKEN}}"]
    rate_limit: {{requests: 60, per: 60s}}
    request_timeout: 30s
defaults:
  mode: hard
  wait: true
  timeout: 30m
  retries: 3
  poll: {{min: 2s, max: 60s}}
  on_ambiguous: report
  collapse: true
  verify: none
models:
  - id: {ID}
    name: sales
  - model: Quarterly Finance
    instance: prod
  - id: 7d0c5ad1-7d0d-4f2c-9a57-0c1f6e1f9a10
    name: finance
    branch: nightly/schema
    mode: soft
    schemas: [finance]
    tables: [finance.invoices, "finance.ledger_*"]
    tags: [nightly, emea]
    connection: warehouse-eu
    reads: [finance, ledger]
    timeout: 45m
    enabled: true
"""
    assert [made.name for made in load(text).entries] == ["sales", "Quarterly Finance", "finance"]
