"""Words that do not belong in the repository: somebody's machine, somebody's network, somebody's working day."""

import ast
import re

from tests.house.tree import ROOT, files, modules

_BINARY = {".png", ".jpg", ".gif", ".ico", ".woff2", ".gz", ".zip", ".db"}

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
    "an issue's number": r"(?i:\bissue" + r" #?\d+\b)",
    "a private key": "-----BEGIN " + "[A-Z ]*PRIVATE KEY",
}


def _texts() -> list[tuple[str, str]]:
    return [
        (str(path), (ROOT / path).read_text(encoding="utf-8", errors="replace"))
        for path in files()
        if path.suffix not in _BINARY
    ]


def test_no_word_that_does_not_belong() -> None:
    """No file names a path of one machine, a registry's host, an issue's number, or holds a private key."""
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match[0]!r}"
        for path, text in _texts()
        for what, pattern in FORBIDDEN.items()
        for match in re.finditer(pattern, text)
    ]
    assert not found, "\n".join(found)


def test_the_search_finds_what_it_forbids() -> None:
    """Each pattern finds an example of its kind, and none is set off by what is written every day."""
    examples = {
        "a folder of one machine": f"see {'/' + 'work'}/main",
        "the host of a package registry": "https://" + "pypi." + "org/simple",
        "an index address": "pip install --index" + "-url x",
        "talk of a working day": "as the last " + "session did",
        "an issue's number": "see issue" + " 12",
        "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    }
    assert {what for what, pattern in FORBIDDEN.items() if re.search(pattern, examples[what])} == set(FORBIDDEN)
    everyday = "a session of the client; color: #333; api/v1/models; the issue is 5 s old; a # 5 comment; homework/tmpl"
    assert not [what for what, pattern in FORBIDDEN.items() if re.search(pattern, everyday)]


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


def test_a_public_type_name_has_one_meaning() -> None:
    """Each public class of the package has a name of its own, so that a search for it finds one thing."""
    homes: dict[str, list[str]] = {}
    for module in modules():
        for node in module.syntax.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(module.path))
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}
