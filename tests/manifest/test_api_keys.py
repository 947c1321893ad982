"""API keys: only from variables and files, trimmed, checked, and never shown."""

import os
import pickle
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.manifest.credentials import KeyTextError, api_key_again, clean_key
from orchestrator.manifest.manifest import KeySource, Secret
from tests.manifest.manifests import ENVIRON, KEY, MODEL, TOP, entry, faults, load

BAD = {
    "inner newline": (KEY + "\nx", "contains a line break"),
    "inner carriage return": (KEY + "\rx", "contains a line break"),
    "inner tab": (KEY + "\tx", "contains a blank, a tab or a control character"),
    "inner blank": (KEY + " x", "contains a blank"),
    "escape": (KEY + "\x1b", "control character"),
    "cyrillic": (KEY + "\u0435", "not ASCII"),
    "zero width": (KEY + "\u200b", "not ASCII"),
    "no-break space": (KEY + "\u00a0", "not ASCII"),
    "empty": ("", "is empty"),
    "blank": (" \r\n\t", "is empty"),
    "a mark alone": ("\ufeff", "is empty"),
    "bearer": (f"Bearer {KEY}", 'begins with "Bearer"'),
    "bearer, loud": (f"BEARER  {KEY}", 'begins with "Bearer"'),
    "bearer alone": ("Bearer", "begins with"),
    "endless": ("k" * 9000, "is longer than 8192"),
}


@pytest.mark.parametrize(
    "around", [f"{KEY}\n", f"{KEY}\r\n", f"  {KEY} ", f"{KEY}\t", f"\ufeff{KEY}", f"\ufeff {KEY}\n\n"]
)
def test_outer_blanks_are_trimmed(around: str) -> None:
    """Blanks, line ends and a byte order mark around a key are removed, from a variable or a file."""
    from_variable = load(TOP + MODEL, environ={"OMNI_API_TOKEN": around})
    from_file = load(
        TOP.replace('api_keys: ["${OMNI_API_TOKEN}"]', "api_key_file: key") + MODEL, files={"key": around.encode()}
    )
    for manifest in (from_variable, from_file):
        assert [key.secret for key in manifest.instances["sim"].keys] == [Secret(KEY)]


@pytest.mark.parametrize("key, says", BAD.values(), ids=BAD)
def test_bad_keys_are_faults_that_do_not_show_them(key: str, says: str) -> None:
    """A text that cannot be a key is an error that names its variable or file, and shows no part of it."""
    from_variable = faults(TOP + MODEL, environ={"OMNI_API_TOKEN": key})
    text = TOP.replace('api_keys: ["${OMNI_API_TOKEN}"]', "api_key_file: key") + MODEL
    from_file = faults(text, files={"key": key.encode()})
    assert (from_variable, from_file) == (["5:16 invalid-api-key"], ["5:19 invalid-api-key"])
    with pytest.raises(KeyTextError) as caught:
        clean_key(key)
    assert says in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_every_placeholder_is_a_part() -> None:
    """A key can consist of several variables, and is used verbatim: a dollar in it is not a placeholder."""
    text = (TOP + MODEL).replace("${OMNI_API_TOKEN}", " ${A}${B} ")
    (key,) = load(text, environ={"A": "pa$HOME$$x${Y}", "B": "z"}).instances["sim"].keys
    assert key.secret == Secret("pa$HOME$$x${Y}z")
    assert key.source == KeySource(text="${A}${B}")


@pytest.mark.parametrize(
    "written", [KEY, f"x{KEY}", "Bearer ${OMNI_API_TOKEN}", f"${{OMNI_API_TOKEN:-{KEY}}}", "$$", ""]
)
@pytest.mark.parametrize("with_keys", [True, False])
def test_a_key_written_out_is_a_fault(written: str, with_keys: bool) -> None:
    """A key in the manifest, even as a default, is an error that does not repeat it and needs no variable."""
    text = (TOP + MODEL).replace('["${OMNI_API_TOKEN}"]', f"['{written}']")
    (line,) = faults(text, with_keys=with_keys)
    assert line == "5:16 written-out-key"


@pytest.mark.parametrize(
    "value, says",
    [
        ('["${NONE}"]', "5:16 unset-variable"),
        ('["${OMNI_API_TOKEN"]', "5:16 invalid-placeholder"),
        ("[]", "5:15 empty-value"),
        ("", "5:14 empty-value"),
        ("~", "5:15 empty-value"),
        ("{a: b}", "5:15 wrong-type"),
        ("[[a]]", "5:16 wrong-type"),
        ("[null]", "5:16 empty-value"),
    ],
)
def test_what_is_no_list_of_keys(value: str, says: str) -> None:
    """Everything but a text of placeholders is an error."""
    assert faults((TOP + MODEL).replace('["${OMNI_API_TOKEN}"]', value)) == [says]


def test_one_text_is_one_key() -> None:
    """A single text is a list of one."""
    (key,) = load((TOP + MODEL).replace('["${OMNI_API_TOKEN}"]', "${OMNI_API_TOKEN}")).instances["sim"].keys
    assert key.secret == Secret(KEY)


def test_variables_and_files_add_up() -> None:
    """Keys from variables and files are used, each once; a repeated key is a warning, because it has one quota."""
    text = TOP + "    api_key_file: [one, two]\n" + MODEL
    manifest = load(text, files={"one": b"another\n", "two": KEY.encode()})
    keys = manifest.instances["sim"].keys
    assert [key.secret for key in keys] == [Secret(KEY), Secret("another")]
    assert keys[1].source.file == Path("one").absolute()
    assert [warning.code for warning in manifest.warnings] == ["repeated-key"]


def test_key_files_that_cannot_be_read() -> None:
    """The error says why, and shows the path as it is written, without the values of its variables."""
    text = (
        TOP.replace('api_keys: ["${OMNI_API_TOKEN}"]', "api_key_file: [nowhere, '${OMNI_API_TOKEN}', '', \"a\\0b\"]")
        + MODEL
    )
    assert faults(text) == [
        "5:20 unreadable-file",
        "5:29 unreadable-file",
        "5:50 invalid-path",
        "5:54 invalid-path",
    ]


def test_a_key_file_that_is_no_text() -> None:
    """Bytes that are not text are not a key."""
    (line,) = faults(
        TOP.replace('api_keys: ["${OMNI_API_TOKEN}"]', "api_key_file: key") + MODEL, files={"key": b"\xff\xfe"}
    )
    assert line == "5:19 invalid-api-key"


def test_keys_are_not_read_unless_asked_for() -> None:
    """An offline check needs no variable and no file of any key, and finds everything else."""
    text = TOP + "    api_key_file: nowhere\n" + MODEL
    manifest = load(text, environ={}, with_keys=False)
    assert [key.secret for key in manifest.instances["sim"].keys] == [None, None]
    assert manifest.secrets == ()
    (line,) = faults(text + "    retries: x\n", environ={}, with_keys=False)
    assert line.endswith(" invalid-number")
    (line,) = faults(text + "    branch: ${NONE}\n", environ={}, with_keys=False)
    assert line.endswith(" unset-variable")


def test_what_the_redactor_must_know() -> None:
    """The secrets are all values of variables under `api_keys`, as they are and trimmed, and all keys from files."""
    text = (TOP + "    api_key_file: key\n" + MODEL).replace("${OMNI_API_TOKEN}", "${A}${B}")
    manifest = load(text, environ={"A": " first", "B": "second\n"}, files={"key": b"third\n"})
    assert {secret.reveal() for secret in manifest.secrets} == {
        " first",
        "first",
        "second\n",
        "second",
        "firstsecond",
        "third",
    }


@pytest.mark.parametrize("with_keys", [True, False])
def test_a_secret_in_another_place_does_not_show(with_keys: bool) -> None:
    """The value of a variable under `api_keys` is not shown, even if the variable is used elsewhere."""
    secret = "not-like-a-key-" * 8
    text = entry("mode: ${OMNI_API_TOKEN}", "timeout: x${OMNI_API_TOKEN}", "schemas: ['a,${OMNI_API_TOKEN}']")
    text = text.replace("http://127.0.0.1:8080", "${OMNI_API_TOKEN}").replace(
        "m0", "m0\n    instance: ${OMNI_API_TOKEN}"
    )
    lines = faults(text, environ={"OMNI_API_TOKEN": secret}, with_keys=with_keys)
    assert len(lines) == 5
    assert not any("like-a-key" in line for line in lines)


def test_what_looks_like_a_key_does_not_show() -> None:
    """A key in a wrong place is recognized by its beginning."""
    lines = faults(entry(f"mode: {KEY}", f"{KEY}: 1") + f"{KEY}: 1\n")
    assert len(lines) == 3
    assert not any("CANARY" in line for line in lines)


def test_reading_a_key_again(tmp_path: Path) -> None:
    """A resumed run reads each key from the same place as the first run."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert api_key_again(KeySource(text="${A}"), {"A": KEY}) == Secret(KEY)
    assert api_key_again(KeySource(file=file), {}) == Secret(KEY)
    assert api_key_again(KeySource(file=file), {}, lambda path: b"other") == Secret("other")


@pytest.mark.parametrize(
    "source, says",
    [
        (KeySource(text="${A}"), "the variable A is not set"),
        (KeySource(text="${B}"), "the key in the variable B contains a line break"),
        (KeySource(text="${A"), "never closed"),
        (KeySource(), "is empty"),
        (
            KeySource(file=Path("/nowhere/key")),
            "(/nowhere/key): the key file cannot be read: no such file or directory",
        ),
    ],
)
def test_a_key_that_is_gone(source: KeySource, says: str) -> None:
    """A key that cannot be read again is a usage error, exit code 2."""
    with pytest.raises(UsageError) as caught:
        api_key_again(source, {"B": "CANARY\nx"})
    assert says in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_secrets_do_not_show_themselves() -> None:
    """Printing, formatting and pickling do not reveal the text; equal texts are equal."""
    secret = clean_key(KEY)
    assert KEY not in f"{secret} {secret!r} {secret!s} {[secret]}"
    assert secret.reveal() == KEY
    assert secret == Secret(KEY)
    assert secret != KEY
    assert len({secret, Secret(KEY)}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(KeyTextError):
        clean_key("")


@pytest.mark.parametrize(
    "line",
    [
        'name: "x ${OMNI_API_TOKEN}"',
        "tags: [a, '${OMNI_API_TOKEN}']",
        "schemas: ['${OMNI_API_TOKEN}']",
        "tables: ['s.${OMNI_API_TOKEN}']",
        "branch: ${OMNI_API_TOKEN}",
        "connection: ${OMNI_API_TOKEN}",
        "reads: ${OMNI_API_TOKEN}",
        "model: ${OMNI_API_TOKEN}",
        f"name: x {KEY}",
        f"tags: [{KEY}]",
        "tags: ['${TEAM_HOOK}']",
        "name: x https://hooks.example.com/services/canary-token",
    ],
)
@pytest.mark.parametrize("with_keys", [True, False])
def test_a_key_has_one_place(line: str, with_keys: bool) -> None:
    """A key, or a secret of `notify`, anywhere else in the manifest is an error that does not show it."""
    environ = {**ENVIRON, "TEAM_HOOK": "https://hooks.example.com/services/canary-token"}
    text = TOP + "notify: {webhook: '${TEAM_HOOK}'}\n" + "models:\n  - id: 3c90c3cc-0d44-4b50-8888-8dd25736052a\n"
    (found,) = faults(f"{text}    {line}\n", environ=environ, with_keys=with_keys)
    assert found.endswith(" misplaced-secret")


@pytest.mark.parametrize(
    "old, new",
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/${OMNI_API_TOKEN}"),
        ("sim:", f"{KEY}:"),
        ("models:", "defaults: {tags: ['${OMNI_API_TOKEN}']}\nmodels:"),
        ("models:", "notify: {webhook: 'https://hooks.example.com/${OMNI_API_TOKEN}'}\nmodels:"),
        ("models:", f"notify: {{webhook: 'https://hooks.example.com/{KEY}'}}\nmodels:"),
    ],
)
def test_a_key_goes_to_no_other_address(old: str, new: str) -> None:
    """A key in an address, an instance's name, a default or a notification's address is an error."""
    lines = faults((TOP + MODEL).replace(old, new))
    assert any(line.endswith(" misplaced-secret") for line in lines)


def test_a_key_from_a_file_has_one_place() -> None:
    """The key in a key file is recognized elsewhere in the manifest, above and below the file's line."""
    text = (
        f"defaults: {{tags: [{KEY}]}}\n" + TOP.replace('api_keys: ["${OMNI_API_TOKEN}"]', "api_key_file: key") + MODEL
    )
    lines = faults(text + f"    branch: {KEY}\n", files={"key": KEY.encode()}, environ={})
    assert len(lines) == 2
    assert all(line.endswith(" misplaced-secret") for line in lines)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_key_in_quotes(quote: str) -> None:
    """A key in quotes is an error that says so and shows nothing of it."""
    (line,) = faults(TOP + MODEL, environ={"OMNI_API_TOKEN": f"{quote}{KEY}{quote}"})
    assert line == "5:16 invalid-api-key"


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "large"])
def test_a_key_file_is_a_small_regular_file(tmp_path: Path, kind: str) -> None:
    """A pipe without a writer, a device, a folder or a large file is refused at once."""
    path = tmp_path / "key"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"x" * 50_000)
    with pytest.raises(UsageError, match=r"named pipe|device|folder|larger than"):
        api_key_again(KeySource(file=path), {})
