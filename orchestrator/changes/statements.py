"""SQL text to statements: where each begins and ends, whatever quotes, comments, blocks, delimiters and batches hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from orchestrator.changes.batches import Starters
from orchestrator.changes.blocks import BATCH_ROUTINES, ROUTINES, Body, begins_routine
from orchestrator.changes.borders import begins_statement
from orchestrator.changes.lexer import Lexer, Token, TokenKind
from orchestrator.changes.verbs import SKIPPED

MAX_HEAD: Final = 60
"""What is created or dropped is named among a statement's first tokens: the definition behind them is passed over."""

_GO: Final = re.compile(r"[ \t]*\d*[ \t]*;?[ \t]*(?:--[^\n]*)?$", re.MULTILINE)
_DELIMITER: Final = re.compile(r"[ \t]+(\S+)[^\n]*")
_REST: Final = re.compile(r"[^\n]*")

_LINES: Final = frozenset({"GO", "/", "DELIMITER", "\\"})
"""What ends a statement by itself, first in a line."""
_VERBS: Final = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "UNDROP", "DO", "EXECUTE", "USE", "SET"})
"""First words, in a line, that may begin a statement although the one before has no semicolon."""
_RIGHTS: Final = frozenset({"GRANT", "REVOKE", "DENY"})
_GIVEN: Final = re.compile(r"\b(?:TO|FROM)\b", re.IGNORECASE)
_FILE_COMMANDS: Final = frozenset({"PUT", "GET", "LIST", "LS", "REMOVE", "RM"})
_FILE_ARGUMENTS: Final = re.compile(r"(?:\s+(?:'(?:[^'\\]|\\.)*'|(?:file:|@|snow:)[^\s;]*))+", re.IGNORECASE)
"""Paths behind SnowSQL's PUT and its kin: what looks like a comment in one is a part of it."""
_COLUMNS_MAY_COME: Final = re.compile(
    r"(?:merge|insert)\s+(?:overwrite\s+)?with\s+schema\s+evolution\b|copy\s+from\s+database\b|load\s+data\b"
    r"|copy\s+into\s[^;]*?(?:mergeSchema|match_by_column_name)",
    re.IGNORECASE,
)
"""Data statements that may make a table or add columns to it."""
_LINE_WORDS: Final = {"mysql": frozenset({"USE", "SOURCE"})}
"""First words, in a line, of what the client takes without a semicolon: the line's end ends it."""
_CLIENTS: Final = {"tsql": ":", "duckdb": ".", "snowflake": "!"}
"""How a line begins that is for sqlcmd, DuckDB's shell or SnowSQL."""


class Statement(NamedTuple):
    """One statement's tokens, its final sign left out."""

    tokens: list[Token]
    start: int
    end: int
    several: bool = False
    """It holds semicolons, and the client was told that something else ends a statement."""
    broken: str = ""
    """What is wrong with its end: a quote, a comment or a body that never closes."""
    client: str = ""
    """The line, where it is a command to the client program and not SQL."""


class Splitter:
    """Reads one text, statement by statement; only what can matter is looked at word by word."""

    def __init__(self, lexer: Lexer) -> None:
        """The lexer stands at the text's beginning."""
        self._lexer = lexer
        self._text = lexer.text
        self._tokens: list[Token] = []
        self._body: Body | None = None
        self._several = False
        self._parens = 0
        self._line_end: int | None = None
        self._line_words = _LINE_WORDS.get(lexer.dialect.name, frozenset())
        self._routines = BATCH_ROUTINES if lexer.dialect.batches else ROUTINES
        # psql's backslash ends a statement in every dialect; a string or a quoted name has no upper form, and never does.
        self._client = _CLIENTS.get(lexer.dialect.name, "\\")
        self._enders = _LINES | {";", self._client}
        self._starters = Starters() if lexer.dialect.batches else None
        self._has_paths = lexer.dialect.name == "snowflake"
        self._may_matter = {"COPY", "LOAD"} | ({"MERGE", "INSERT"} if lexer.dialect.name == "databricks" else set())
        self.evolves = False
        """Databricks: data statements may add columns, as a setting of the session says."""

    def statements(self) -> Iterator[Statement]:
        """Each statement that is not known to be harmless by its first word alone."""
        lexer, starters = self._lexer, self._starters
        while (token := lexer.next()).kind is not TokenKind.END:
            if self._line_end is not None and token.start >= self._line_end:
                yield from self._finish(self._line_end)
            if token.kind is TokenKind.BROKEN:
                yield from self._finish(token.start, broken=f"{token.text[:2].strip()} is never closed")
                continue
            if token.upper in self._enders or lexer.delimiter != ";":
                ended = self._ends(token)
                if ended is not None:
                    yield from ended
                    continue
            if starters is None and token.upper in _VERBS and self._tokens and self._is_border(token):
                yield from self._finish(token.start)
            if starters is not None and self._body is None and starters.starts(self._tokens, token, self._following):
                yield from self._finish(token.start)
                starters.starts([], token, self._following)
            self._add(token)
            if len(self._tokens) == 1 and token.upper in self._line_words and self._begins_line(token):
                line = _REST.match(self._text, token.start)
                self._line_end = line.end() if line else len(self._text)
            if len(self._tokens) == 1 or len(self._tokens) >= MAX_HEAD:
                yield from self._skip(token)
            elif token.upper == "(" and self._tokens[0].upper == "CREATE":
                self._skip_columns()
        broken = "its body never ends" if self._body is not None and self._body.is_open() and not starters else ""
        yield from self._finish(len(self._text), broken=broken)

    def _skip_columns(self) -> None:
        """Passes over what a new table's columns are: they are read only if need be, from the text."""
        head = [token.upper for token in self._tokens]
        if self._body is None and "TABLE" in head and head.count("(") == 1 and head[-2] not in {"IDENTIFIER", "%", "$"}:
            before = self._lexer.pos
            if self._lexer.skip_parens():
                end = self._lexer.pos
                closing = Token(TokenKind.SIGN, ")", ")", end - 1, end)
                if self._starters is not None:
                    self._starters.starts(self._tokens, closing, self._following)
                self._add(closing)
            else:
                self._lexer.pos = before

    def _following(self) -> Token:
        """The token after the present one, without taking it."""
        here = self._lexer.pos
        following = self._lexer.next()
        self._lexer.pos = here
        return following

    def _ends(self, token: Token) -> Iterator[Statement] | None:
        """What the statement's end gives, where `token` ends it; None where it does not."""
        word = token.upper
        if self._lexer.delimiter != ";" and self._text.startswith(self._lexer.delimiter, token.start):
            self._lexer.pos = token.start + len(self._lexer.delimiter)
            return self._finish(token.start)
        if word == ";":
            if self._lexer.delimiter != ";":
                self._several = True
                return None
            if self._body is not None and (self._starters or self._body.is_open()):
                return None
            return self._finish(token.start)
        if word == "\\" and self._text.startswith(";", token.end):
            return self._finish(token.start)  # psql: the end of a statement that is sent with the next one
        anywhere = word == "\\" or (word == "GO" and not self._tokens)
        if word in self._enders and (anywhere or self._begins_line(token)):
            return self._line(token)
        return None

    def _begins_line(self, token: Token) -> bool:
        return not self._text[self._text.rfind("\n", 0, token.start) + 1 : token.start].strip()

    def _is_border(self, token: Token) -> bool:
        """Whether a statement begins here, at the beginning of a line, although nothing ended the one before."""
        if self._parens > 0 or self._lexer.delimiter != ";":
            return False
        if self._text.find("\n", self._tokens[-1].end, token.start) < 0:
            return False
        if self._body is not None and self._body.is_open():
            return False
        return begins_statement(
            self._tokens, token, self._following(), self._lexer.dialect, routine=self._body is not None
        )

    def _line(self, token: Token) -> Iterator[Statement] | None:
        """A line that ends the statement before it by itself."""
        if token.upper == "DELIMITER":
            named = _DELIMITER.match(self._text, token.end)
            if named is None:
                return None
            self._lexer.pos = named.end()
            finished = list(self._finish(token.start))
            self._lexer.delimiter = named[1]
            return iter(finished)
        if token.upper in {"\\", self._client}:
            rest = _REST.match(self._text, token.start)
            self._lexer.pos = rest.end() if rest else token.end
            line = rest[0] if rest else ""
            finished = list(self._finish(token.start))
            return iter([*finished, Statement([token], token.start, self._lexer.pos, client=line)])
        alone = _GO.match(self._text, token.end)
        if alone is None or (token.upper == "/" and alone[0].strip()):
            return None
        self._lexer.pos = alone.end()
        return self._finish(token.start)

    def _add(self, token: Token) -> None:
        self._tokens.append(token)
        if token.upper in {"(", ")"}:
            self._parens += 1 if token.upper == "(" else -1
        if self._body is not None:
            self._body.feed(token)
        elif token.upper in self._routines and len(self._tokens) <= MAX_HEAD and begins_routine(self._tokens):
            self._body = Body()
            for each in self._tokens:
                self._body.feed(each)

    def _skip(self, token: Token) -> Iterator[Statement]:
        """Passes over the rest of a statement of which enough is known."""
        if self._lexer.delimiter != ";" or self._body is not None:
            return
        if len(self._tokens) == 1:
            if self._has_paths and token.upper in _FILE_COMMANDS:
                paths = _FILE_ARGUMENTS.match(self._text, token.end)
                self._lexer.pos = paths.end() if paths else token.end
            if token.upper not in SKIPPED or self._wants_a_look(token):
                return
        elif self._tokens[0].upper != "CREATE" or self._starters is not None or self._tokens[1].upper == "SCHEMA":
            return
        begin = self._lexer.pos
        ending = self._lexer.skip()
        while (
            ending.upper == "\n"
            and self._tokens[0].upper in _RIGHTS
            and not _GIVEN.search(self._text, begin, ending.start)
        ):
            begin = ending.start
            ending = self._lexer.skip()  # a right that is called CREATE TABLE
        if ending.kind is TokenKind.BROKEN:
            yield from self._finish(ending.start, broken=f"{ending.text[:2].strip()} is never closed")
        elif ending.kind is not TokenKind.WORD:
            yield from self._finish(ending.start)

    def _wants_a_look(self, token: Token) -> bool:
        """Whether a statement that begins with a harmless word is to be read all the same; data behind COPY is passed."""
        if self._starters is not None and token.upper in {"GRANT", "REVOKE", "DENY"}:
            return True
        if token.upper not in self._may_matter:
            return False
        if token.upper in {"MERGE", "INSERT"}:
            return self.evolves or _COLUMNS_MAY_COME.match(self._text, token.start) is not None
        head = self._text[token.start : token.start + 5000]
        data = re.match(r"copy\b[^;]*?\bfrom\s+stdin\b[^;]*;[^\n]*\n", head, re.IGNORECASE)
        if data is None:
            return _COLUMNS_MAY_COME.match(head) is not None
        closing = re.compile(r"^\\\.[ \t]*$", re.MULTILINE).search(self._text, token.start + data.end() - 1)
        self._lexer.pos = closing.end() if closing else len(self._text)
        self._tokens.clear()
        return True

    def _finish(self, end: int, *, broken: str = "") -> Iterator[Statement]:
        tokens, several = self._tokens, self._several
        self._tokens, self._body, self._several, self._line_end, self._parens = [], None, False, None, 0
        if self._starters is not None:
            self._starters.begin()
        if tokens and (broken or tokens[0].upper not in SKIPPED or len(tokens) > 1):
            yield Statement(tokens, tokens[0].start, end, several, broken)
        elif broken:
            yield Statement([], end, end, broken=broken)
