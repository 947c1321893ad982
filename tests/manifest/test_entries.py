"""Entries: defaults applied, labels, modes and scopes, everything taken as written."""

import pytest

from orchestrator.manifest.diagnostics import ManifestError
from orchestrator.manifest.manifest import Entry, Mode, OnAmbiguous, Place, PollBounds, RefreshKind, Verify
from tests.manifest.manifests import ID, MODEL, OTHER_ID, TOP, entry, faults, load


def one(*lines: str, defaults: str = "") -> Entry:
    """The entry that these lines make."""
    (made,) = load(entry(*lines, defaults=defaults)).entries
    return made


def test_an_entry_with_nothing_has_the_defaults() -> None:
    """Without a value in the model or in `defaults`, an entry has the documented default."""
    assert one() == Entry(index=0, name="m0", instance="sim", model_id=ID, place=Place(7, 5))
    assert (Entry(index=0, name="x", instance="x").mode, load(entry()).workers, load(entry()).collapse) == (
        Mode.HARD,
        16,
        True,
    )


def test_an_entry_with_everything() -> None:
    """Every key arrives, from the model or from `defaults`."""
    lines = (
        "branch: nightly/schema", "mode: soft", "schemas: [a]", "tables: [a.b, 'a.*']", "tags: [x, y]", "connection: wh", "reads: [c, d]",
        "wait: false", "timeout: 45m", "retries: 0", "poll: {min: 500ms, max: 3s}", "on_ambiguous: resend", "verify: scope", "enabled: false",
    )  # fmt: skip
    made = one(*lines)
    assert made == Entry(
        index=0,
        name="m0",
        instance="sim",
        model_id=ID,
        branch="nightly/schema",
        mode=Mode.SOFT,
        mode_pinned=True,
        schemas=("a",),
        tables=("a.b", "a.*"),
        tags=("x", "y"),
        connection="wh",
        reads=("c", "d"),
        wait=False,
        timeout_s=2700.0,
        retries=0,
        poll=PollBounds(min_s=0.5, max_s=3.0),
        on_ambiguous=OnAmbiguous.RESEND,
        verify=Verify.SCOPE,
        enabled=False,
        place=Place(7, 5),
    )
    inherited = one(defaults="{" + ", ".join(lines) + ", instance: sim, collapse: false}")
    assert inherited.mode_pinned is False
    same = {name: getattr(made, name) for name in Entry.__slots__ if name not in {"mode_pinned", "place"}}
    assert same == {name: getattr(inherited, name) for name in same}
    assert load(entry(defaults="{collapse: false}")).collapse is False


def test_a_model_goes_before_the_defaults() -> None:
    """A model's own value wins, and replaces a list completely."""
    defaults = (
        "{wait: false, retries: 0, tags: [a, b], timeout: 1s, verify: scope, enabled: false, poll: {min: 5s, max: 9s}}"
    )
    made = one(
        "wait: true",
        "retries: 7",
        "tags: c",
        "timeout: 2s",
        "verify: none",
        "enabled: true",
        "poll: {max: 7s}",
        defaults=defaults,
    )
    assert (made.wait, made.retries, made.tags, made.timeout_s, made.verify) == (True, 7, ("c",), 2.0, Verify.NONE)
    assert (made.enabled, made.poll) == (True, PollBounds(min_s=5.0, max_s=7.0))


@pytest.mark.parametrize(
    "name",
    [
        "no",
        "on",
        "yes",
        "off",
        "y",
        "NO",
        "true",
        "2024_01",
        "0123",
        "1e3",
        "12:30:00",
        "0x1F",
        "1_000",
        ".5",
        "=",
        "2024-01-01",
    ],
)
@pytest.mark.parametrize("style", ["[{}]", "['{}']", '["{}"]', "{}", "\n      - {}"])
def test_names_are_as_written(name: str, style: str) -> None:
    """Words that YAML reads as booleans, numbers or times are names, in any style; one alone is a list of one."""
    made = one(f"schemas: {style.format(name)}")
    assert made.schemas == (name,)
    assert one(f"branch: '{name}'", f"connection: '{name}'").branch == name


@pytest.mark.parametrize(
    "name",
    ["a b", "100%25", "a+b", "x&hard_refresh=true", "q=1#f", "Ünï.日本", '"Q.uoted"', "slash/t", "a$b", " a ", "a\\b"],
)
def test_odd_names_are_as_written(name: str) -> None:
    """In a name, only a comma has a meaning."""
    assert one(f"tables: ['{name}']").tables == (name,)


@pytest.mark.parametrize("key", ["schemas", "tables", "tags", "reads"])
@pytest.mark.parametrize(
    "value, says",
    [
        ("", "empty-value"),
        ("null", "empty-value"),
        ("~", "empty-value"),
        ("[]", "empty-value"),
        ("''", "empty-value"),
        ("['']", "empty-value"),
        ("[' ']", "empty-value"),
        ("[null]", "empty-value"),
        ("[a, ]\n    #", ""),
        ("[[a], [b]]", "wrong-type, wrong-type"),
        ("[{a: b}]", "wrong-type"),
        ("{a: b}", "wrong-type"),
        ("['a,b']", "comma-in-name"),
        ("a, b", "comma-in-name"),
        ('["a\\nb"]', "control-character"),
        ('["a\\x00b"]', "control-character"),
        (f"[{'x' * 501}]", "invalid-name"),
    ],
)
def test_empty_and_wrong_lists_are_faults(key: str, value: str, says: str) -> None:
    """An empty, null or blank scope is an error, never a refresh of everything; so is anything but a list of names."""
    text = entry(f"{key}: {value}")
    if not says:
        load(text)
        return
    lines = faults(text)
    assert ", ".join(line.split()[1] for line in lines) == says
    assert all(line.startswith("9:") for line in lines)


@pytest.mark.parametrize(
    "key", ["branch", "connection", "model", "name", "instance", "id", "mode", "timeout", "retries", "wait", "enabled"]
)
@pytest.mark.parametrize("value", ["", "~", "[a]", "{a: b}"])
def test_single_values_must_be_one(key: str, value: str) -> None:
    """A null, a list or a mapping in place of one value is one error."""
    text = entry(f"{key}: {value}")
    text = text.replace("    name: m0\n", "") if key == "name" else text
    text = text.replace(f"  - id: {ID}\n    ", "  - ") if key == "id" else text
    (line,) = faults(text)
    assert line.split()[1] in {"empty-value", "wrong-type"}


def test_names_in_a_list_twice() -> None:
    """A name that occurs twice in a list is sent once, with a warning at its place."""
    manifest = load(entry("schemas: [a, b, a]"))
    assert manifest.entries[0].schemas == ("a", "b")
    assert [(w.place, w.code) for w in manifest.warnings] == [(Place(9, 21), "repeated-name")]


@pytest.mark.parametrize(
    "own, defaults, mode",
    [
        ("", "", Mode.HARD),
        ("", "{mode: soft}", Mode.SOFT),
        ("mode: hard", "{mode: soft}", Mode.HARD),
        ("schemas: [a]", "", Mode.SOFT),
        ("tables: [a.b]", "{mode: hard}", Mode.SOFT),
        ("", "{mode: hard, schemas: [a]}", Mode.SOFT),
        ("mode: soft", "{mode: hard}", Mode.SOFT),
    ],
)
def test_scopes_make_a_refresh_soft(own: str, defaults: str, mode: Mode) -> None:
    """A model with a scope and no mode of its own is soft, whatever the defaults say."""
    made = one(*([own] if own else []), defaults=defaults)
    assert (made.mode, made.mode_pinned) == (mode, own.startswith("mode"))


def test_a_dbt_sync_has_a_branch_and_nothing_of_a_schema_refresh() -> None:
    """A mode or a scope beside `refresh: dbt_sync` is an error, a missing branch too; a mode of the defaults does not matter."""
    made = one("refresh: dbt_sync", "branch: b", defaults="{mode: hard}")
    assert (made.refresh, made.mode, made.mode_pinned) == (RefreshKind.DBT_SYNC, Mode.SOFT, False)
    assert [f.split()[1] for f in faults(entry("refresh: dbt_sync"))] == ["dbt-sync"]
    assert [f.split()[1] for f in faults(entry("refresh: dbt_sync", "branch: b", "mode: soft", "schemas: [a]"))] == [
        "dbt-sync",
        "dbt-sync",
    ]
    assert [f.split()[1] for f in faults(entry("refresh: dbt_sync", "branch: b", defaults="{tables: [a.b]}"))] == [
        "dbt-sync"
    ]
    assert [f.split()[1] for f in faults(entry("refresh: dbt"))] == ["invalid-choice"]


def test_hard_with_a_scope_is_a_fault() -> None:
    """A hard refresh with a scope is an error, which says if the scope is from `defaults`."""
    assert faults(entry("mode: hard", "tables: [a.b]")) == ["9:11 hard-with-scope"]
    assert faults(entry("mode: hard", defaults="{schemas: [a]}")) == ["10:11 hard-with-scope"]


def test_tables_without_schemas_are_a_warning() -> None:
    """Tables without schemas are a warning at their place, with the name of the entry."""
    manifest = load(entry("tables: [a.b]"))
    assert [(w.place, w.entry) for w in manifest.warnings] == [(Place(9, 13), "m0")]
    assert manifest.warnings[0].code == "tables-without-schemas"
    assert not load(entry("tables: [a.b]", "schemas: [a]")).warnings


@pytest.mark.parametrize(
    "lines, label, model_name",
    [
        (f"id: {ID}", ID, None),
        (f"id: {ID.upper()}", ID, None),
        (f"id: {ID}\n    branch: b/c", f"{ID}@b/c", None),
        (f"id: {ID}\n    model: M", "M", "M"),
        ("model: Quarterly Finance", "Quarterly Finance", "Quarterly Finance"),
        ("model: M\n    branch: b", "M@b", "M"),
        ("model: M\n    name: label\n    branch: b", "label", "M"),
        ("name: Sales", "Sales", "Sales"),
        ("name: Sales\n    branch: b", "Sales", "Sales"),
        ("name: 0123", "0123", "0123"),
    ],
)
def test_labels(lines: str, label: str, model_name: str | None) -> None:
    """The label is the name, else the model's name or id with its branch; without an id a name is looked up."""
    (made,) = load(f"{TOP}models:\n  - {lines}\n").entries
    assert (made.name, made.model_name) == (label, model_name)
    assert made.model_id == (ID if "id:" in lines else None)


def test_labels_are_data() -> None:
    """A label can contain any character: outputs escape it."""
    for name in ("ok |\n\n## Injected\n<img src=x>", "a\x1b[2J", "x\x00y", "\u202egnp.exe"):
        text = "".join(f"\\U{ord(char):08x}" for char in name)
        (made,) = load(f'{TOP}models:\n  - {{id: {ID}, name: "{text}"}}\n').entries
        assert made.name == name


def test_labels_are_unique() -> None:
    """Each repeated label is an error that names the first one's line."""
    text = (
        TOP
        + f"models:\n  - {{id: {ID}, name: a}}\n  - {{id: {OTHER_ID}, name: a}}\n  - model: M\n  - name: M\n  - id: {ID}\n  - id: {ID.upper()}\n"
    )
    assert faults(text) == ["8:54 duplicate-name", "10:11 duplicate-name", "12:5 duplicate-name"]


@pytest.mark.parametrize(
    "text", ["3c90c3cc", ID + "0", ID.replace("-", ""), "{" + ID + "}", "g" + ID[1:], "٣" + ID[1:], "Sales"]
)
def test_ids(text: str) -> None:
    """An id has 36 characters in five groups; anything else is an error."""
    (line,) = faults(f'{TOP}models:\n  - id: "{text}"\n')
    assert line == "7:9 invalid-id"


@pytest.mark.parametrize(
    "line, says",
    [
        ("mode: on", "9:11 invalid-choice"),
        ("mode: Soft", "9:11 invalid-choice"),
        ("mode: hrad", "9:11 invalid-choice"),
        ("on_ambiguous: retry", "9:19 invalid-choice"),
        ("verify: scopes", "9:13 invalid-choice"),
        ("wait: yes", "9:11 invalid-boolean"),
        ("enabled: off", "9:14 invalid-boolean"),
        ("enabled: 2", "9:14 invalid-boolean"),
        ("enabled: 'true'", "9:14 wrong-type"),
        ("retries: -1", "9:14 invalid-number"),
        ("retries: 101", "9:14 invalid-number"),
        ("retries: 3.0", "9:14 invalid-number"),
        ("retries: 0x3", "9:14 invalid-number"),
        ("retries: 1_0", "9:14 invalid-number"),
        (f"retries: {'9' * 5000}", "9:14 invalid-number"),
        ("retries: '3'", "9:14 wrong-type"),
        ("timeout: 45 min", "9:14 invalid-duration"),
        ("timeout: 0", "9:14 invalid-duration"),
        ("timeout: .inf", "9:14 invalid-duration"),
        ("poll: 5s", "9:11 wrong-type"),
        ("poll: [1s, 2s]", "9:11 wrong-type"),
        ("poll: {mni: 1s}", "9:12 unknown-key"),
        ("poll: {min: 5s, max: 4s}", "9:17 poll-bounds"),
        ("collapse: true", "9:5 unknown-key"),
        ("workers: 3", "9:5 unknown-key"),
        ("base_url: x", "9:5 unknown-key"),
    ],
)
def test_wrong_values_say_what_to_write(line: str, says: str) -> None:
    """A value of the wrong kind is one fault at its place, with what to write instead."""
    assert faults(entry(line)) == [says]


@pytest.mark.parametrize("text", ["True", "TRUE", "true"])
def test_booleans_of_yaml(text: str) -> None:
    """The booleans of YAML 1.2 are booleans in their three spellings."""
    assert one(f"wait: {text}").wait is True


@pytest.mark.parametrize(
    "own, defaults, bounds",
    [
        ("{min: 90s}", "", (90, 90)),
        ("{max: 1s}", "", (1, 1)),
        ("{min: 50ms}", "", (0.05, 60)),
        ("{max: 5}", "", (2, 5)),
        ("{max: 5s}", "{poll: {min: 3s, max: 9s}}", (3, 5)),
        ("{}", "{poll: {min: 3s, max: 9s}}", (3, 9)),
    ],
)
def test_poll_bounds(own: str, defaults: str, bounds: tuple[float, float]) -> None:
    """A bound that is left out comes from `defaults`, or is adapted to the other."""
    poll = one(f"poll: {own}", defaults=defaults).poll
    assert (poll.min_s, poll.max_s) == bounds


def test_quick_polls_are_for_this_machine() -> None:
    """Polls below a second are allowed only for this machine. The error is at the bound, once, even in `defaults`."""
    text = entry("poll: {max: 500ms}").replace("http://127.0.0.1:8080", "https://a.b")
    assert faults(text) == ["9:17 poll-too-short"]
    text = (
        entry(defaults="{poll: {min: 0.9}}").replace("http://127.0.0.1:8080", "https://a.b") + f"  - id: {OTHER_ID}\n"
    )
    assert faults(text) == ["6:24 poll-too-short"]
    assert one("poll: {min: 1s}").poll == PollBounds(min_s=1.0)


@pytest.mark.parametrize(
    "key, meant",
    [
        *((key, "mode") for key in ("hard_refesh", "hard_refresh", "hardRefresh", "Hard-Refresh", "mod", "MODE")),
        *((key, "schemas") for key in ("schema", "shemas", "Schemas")),
        *((key, "tables") for key in ("table", "tabels")),
        *((key, "branch") for key in ("branch_id", "branchId", "brnach")),
        *(("model_id", "id"), ("modelId", "id"), ("model_name", "model"), ("label", "name"), ("nmae", "name")),
        *(
            ("connection_id", "connection"),
            ("max_retries", "retries"),
            ("poll_interval", "poll"),
            ("disabled", "enabled"),
        ),
    ],
)
def test_near_misses_are_suggested(key: str, meant: str) -> None:
    """An unknown key is an error that suggests the one that was probably meant."""
    with pytest.raises(ManifestError) as caught:
        load(entry(f"{key}: x"))
    (found,) = caught.value.diagnostics
    assert (found.code, found.place, found.hint) == ("unknown-key", Place(9, 5), f"did you mean `{meant}`?")


def test_a_key_like_no_other() -> None:
    """If no key is similar, the error is still at the key."""
    assert faults(entry("zzzzz: x")) == ["9:5 unknown-key"]


def test_anchors_and_merges_in_entries() -> None:
    """Merged keys are the entry's own, and explicit ones win. Errors are at the place where the value is written."""
    text = (
        TOP
        + f"x-base: &b {{mode: soft, schemas: [a], timeout: 1m}}\nmodels:\n  - <<: *b\n    id: {ID}\n    timeout: 2m\n"
    )
    (made,) = load(text).entries
    assert (made.mode, made.mode_pinned, made.schemas, made.timeout_s) == (Mode.SOFT, True, ("a",), 120.0)
    (line,) = faults(text.replace("[a]", "[]") + f"  - <<: *b\n    id: {OTHER_ID}\n")
    assert line == "6:34 empty-value"


@pytest.mark.parametrize(
    "item, says",
    [
        ("", "9:4 empty-value"),
        (ID, "9:5 wrong-type"),
        ("[a]", "9:5 wrong-type"),
        ("{}", "9:5 missing-key"),
        ("{tags: [a]}", "9:5 missing-key"),
    ],
)
def test_what_is_no_entry(item: str, says: str) -> None:
    """An item of `models` that is not a mapping, or names no model, is an error."""
    assert faults(f"{TOP}{MODEL}  - {item}\n") == [says]


def test_defaults_know_no_single_model() -> None:
    """Keys that name one model, and nulls, are errors in `defaults`."""
    codes = [line.split()[1] for line in faults(entry(defaults="{id: x, name: y, schemas: }"))]
    assert codes == ["unknown-key", "unknown-key", "empty-value"]
    assert faults(entry().replace("models:", "defaults:\nmodels:")) == ["6:10 empty-value"]
