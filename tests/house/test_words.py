"""Words that do not belong in the repository: names of one machine or network, archaic English, sentences in asserts."""

import ast
import re
from collections.abc import Iterable, Iterator

from tests.house.tree import ROOT, files, modules

_BINARY = {".png", ".jpg", ".gif", ".ico", ".woff2", ".gz", ".zip", ".db"}

_ISSUE = "an issue's number"
"""A regression test may name its issue; other files explain themselves without it."""

# Each is put together here, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a folder of one machine": "|".join(
        rf"(?<![\w.~$}}\])-]){re.escape('/' + top)}/" for top in ("work", "root", "tmp")
    ),
    "the host of a package registry": "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("files", "pythonhosted"),
            ("registry", "npmjs"),
            ("deb", "debian"),
            ("crates", "io"),
            ("proxy", "golang"),
        )
    ),
    "an index address": "|".join(
        "--" + option for option in ("index" + "-url", "extra-index" + "-url", "find" + "-links")
    ),
    "talk of a working day": r"\b(?:this|last|next|earlier) " + "sess" + r"ion\b",
    _ISSUE: r"(?i:\bissue" + r" #?\d+\b)",
    "a private key": "-----BEGIN " + "[A-Z ]*PRIVATE KEY",
}


def _texts() -> list[tuple[str, str]]:
    return [
        (str(path), (ROOT / path).read_text(encoding="utf-8", errors="replace"))
        for path in files()
        if path.suffix not in _BINARY
    ]


def test_no_word_that_does_not_belong() -> None:
    """No file names a path of one machine or a registry's host, or holds a private key; only tests name issues."""
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match[0]!r}"
        for path, text in _texts()
        for what, pattern in FORBIDDEN.items()
        if what != _ISSUE or not path.startswith("tests/")
        for match in re.finditer(pattern, text)
    ]
    assert not found, "\n".join(found)


def test_the_search_finds_what_it_forbids() -> None:
    """Each pattern finds an example of its kind, and none matches everyday text."""
    examples = {
        "a folder of one machine": f"see {'/' + 'work'}/main",
        "the host of a package registry": "https://" + "pypi." + "org/simple",
        "an index address": "pip install --index" + "-url x",
        "talk of a working day": "as the last " + "session did",
        _ISSUE: "see issue" + " 12",
        "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    }
    assert {what for what, pattern in FORBIDDEN.items() if re.search(pattern, examples[what])} == set(FORBIDDEN)
    everyday = "a session of the client; color: #333; api/v1/models; the issue is 5 s old; a # 5 comment; homework/tmpl"
    assert not [what for what, pattern in FORBIDDEN.items() if re.search(pattern, everyday)]


_PHRASES = (
    *("whoever", "whosoever", "nobody", "whom", "in which case", "all the same"),
    *("gives? way", "gave way", "given way", "giving way", "ask(?:s|ed|ing)? after", "ask(?:s|ed|ing)? again"),
    *("go on with", "goes on with", "going on with", "went on with", "gone on with", "bec(?:ome|omes|ame) of"),
    *("(?:is|are|was|were|still) at work", "under way", "is said of", "are said of", "held against"),
    *("stands? (?:there|beside|between|below|above) (?:it|them)", "(?:none|true|false|empty|infinite) where"),
)
ARCHAIC = re.compile(rf"\b(?:{'|'.join(_PHRASES)})\b".replace(" ", r"[\s#]+"))
"""Phrases that plain technical English does not need, in lower case. A line break or a comment sign may replace each blank."""

PLAIN = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/", "configs/", "benchmarks/", "orchestrator/", "tests/")
"""The files and folders that hold none of them."""


def test_plain_english() -> None:
    """Code, messages and documents use plain technical English: none of the archaic phrases above."""
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for path, text in _texts()
        if path.startswith(PLAIN) and path != "tests/house/test_words.py"
        for match in ARCHAIC.finditer(text.lower())
    ]
    assert not found, "\n".join(found)


def test_the_search_finds_archaic_english() -> None:
    """The phrases are found across line breaks, and everyday words do not match."""
    for text in ("Who" + "ever asks", "one in which\n    # case", "it goes on\nwith the rest", "the run is at work"):
        assert ARCHAIC.search(text.lower()), text
    for text in ("the network is down", "given a way out", "the call goes on", "ask the server again", "a whole body"):
        assert not ARCHAIC.search(text.lower()), text


def test_text_files_are_tidy() -> None:
    """Python, YAML and TOML files end in one line feed and carry no tabs, trailing blanks or carriage returns."""
    suffixes = (".py", ".yaml", ".yml", ".toml")
    untidy = [
        path
        for path, text in _texts()
        if path.endswith(suffixes)
        and text
        and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]+$|\t|\r", text, re.MULTILINE))
    ]
    assert not untidy


_TYPE_NAME = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")


def _type_names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The public classes and type aliases that a module defines."""
    for node in body:
        names = [node.name] if isinstance(node, ast.ClassDef) else []
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from (name for name in names if _TYPE_NAME.fullmatch(name))


def test_a_public_type_name_has_one_meaning() -> None:
    """Each public class or alias of the package has a name of its own, so that a search for it finds one thing."""
    homes: dict[str, list[str]] = {}
    for module in modules():
        for name in _type_names(module.syntax.body):
            homes.setdefault(name, []).append(str(module.path))
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


def test_the_search_finds_type_names() -> None:
    """Classes and aliases are types; constants and private names are not."""
    source = "class One: ...\nTwo = int | str\nThree: TypeAlias = int\nT = TypeVar('T')\nFOUR = 4\n_Five = int\nsix = 6"
    assert list(_type_names(ast.parse(source).body)) == ["One", "Two", "Three"]


PRODUCTS = {
    *("BigQuery", "EventBridge", "GitHub", "GitLab", "MyBatis"),
}
"""Names of other people's products that look like types."""


def _named_in(texts: Iterable[str]) -> set[str]:
    """What looks like a type's name in some texts: `RateLimiter`, but not `Python`."""
    return {name for text in texts for name in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", text)} - PRODUCTS


def test_docstrings_name_what_exists() -> None:
    """A type that a docstring of the package names is one that the code uses: a rename reaches the prose."""
    used: set[str] = set()
    told: dict[str, str] = {}
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                used.add(node.name)
            elif isinstance(node, ast.Name):
                used.add(node.id)
            elif isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.alias):
                used.add(node.name.rpartition(".")[2])
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                told |= dict.fromkeys(_named_in([str(node.value.value)]), f"{module.path}:{node.lineno}")
    assert not {place: name for name, place in told.items() if name not in used}


def test_the_search_finds_names_of_types() -> None:
    """Two capitals are a type's name; a word, a product and a constant are none."""
    assert _named_in(["`RateLimiter` in Python on GitHub, KEY_NAME"]) == {"RateLimiter"}


SENTENCES = 32
"""How many asserts may hold a sentence. These are promises: whole lines of the log, the summary and the tables."""

_SENTENCE = re.compile(r"\b[A-Za-z][a-z]*[,:;]?(?: [a-z][a-z'-]*[,:;]?){3} [a-z]+")


def _sentences(nodes: Iterable[ast.AST]) -> Iterator[int]:
    """The lines of the asserts that hold five words of plain text in a row."""
    for node in nodes:
        if isinstance(node, ast.Assert):
            texts = (k.value for k in ast.walk(node.test) if isinstance(k, ast.Constant) and isinstance(k.value, str))
            if any(_SENTENCE.search(text) for text in texts):
                yield node.lineno


def test_tests_assert_facts_and_not_sentences() -> None:
    """A better wording breaks no test: assert a code, a field, a name or a number, or lower SENTENCES with what you remove."""
    found = [f"{module.path}:{line}" for module in modules("tests") for line in _sentences(module.nodes)]
    assert len(found) <= SENTENCES, "\n".join(found)


def test_the_search_finds_a_sentence() -> None:
    """Five words in a row are one; a name, a number, SQL and a test's own message are none."""
    sentence = 'assert error.message == "the model could not be found: m1"'
    facts = 'assert error.code == "no-model", "the model could not be found"\nassert "DROP TABLE s.t; SELECT 1" in sql'
    assert list(_sentences(ast.walk(ast.parse(sentence)))) == [1]
    assert not list(_sentences(ast.walk(ast.parse(facts))))
