"""SQL text to statements: where each begins and ends, whatever quotes, comments, blocks, delimiters and batches hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from orchestrator.changes.blocks import BATCH_ROUTINES, ROUTINES, Body, begins_routine
from orchestrator.changes.borders import LINE_VERBS, RIGHTS, Starters, begins_statement
from orchestrator.changes.cursor import words
from orchestrator.changes.keywords import CALLING, SKIPPED
from orchestrator.changes.lexer import Lexer, Token, TokenKind

MAX_HEAD: Final = 60
"""What is created or dropped is named among a statement's first tokens: the definition behind them is passed."""

_GO: Final = re.compile(r"[ \t]*\d*[ \t]*;?[ \t]*(?:--[^\n]*)?$", re.MULTILINE)
_DELIMITER: Final = re.compile(r"[ \t]+(\S+)[^\n]*")
_GIVEN: Final = re.compile(r"\b(?:TO|FROM)\b", re.IGNORECASE)
_FILE_COMMANDS: Final = words("PUT GET LIST LS REMOVE RM")
_FILE_ARGUMENTS: Final = re.compile(r"(?:\s+(?:'(?:[^'\\]|\\.)*'|(?:file:|@|snow:)[^\s;]*))+", re.IGNORECASE)
"""Paths behind SnowSQL's PUT and the like: what looks like a comment in one is a part of it."""
_MAY_ADD_COLUMNS: Final = re.compile(
    r"(?:merge|insert)\s+(?:overwrite\s+)?with\s+schema\s+evolution\b|copy\s+from\s+database\b|load\s+data\b"
    r"|copy\s+into\s[^;]*?(?:mergeSchema|match_by_column_name)",
    re.IGNORECASE,
)
"""Data statements that may create a table or add columns to it."""
_COPIED: Final = re.compile(r"copy\b[^;]*?\bfrom\s+stdin\b[^;]*;[^\n]*\n", re.IGNORECASE)
_COPIED_END: Final = re.compile(r"^\\\.[ \t]*$", re.MULTILINE)
_DDL_AS_TEXT: Final = re.compile(
    r"['\"$](?=[CARUDEcarude\s\\])(?:\s|\\[nrt])*+(?:CREATE|ALTER|DROP|RENAME|UNDROP|EXCHANGE)\s", re.IGNORECASE
)
"""A string in data that may be SQL for a function to run."""
_CALL: Final = re.compile(r"([^\W\d]\w*+)\"?\s*+\(")
_CLIENTS: Final = {"tsql": ":", "duckdb": ".", "snowflake": "!"}
"""How a line begins that is for sqlcmd, DuckDB's shell or SnowSQL; psql's backslash is understood in every dialect."""


class Statement(NamedTuple):
    """One statement's tokens, its final sign left out."""

    tokens: list[Token]
    start: int
    end: int
    several: bool = False
    """It holds semicolons, because a client's command made something else end a statement."""
    broken: str = ""
    """What is wrong with its end: a quote, a comment or a body that never closes."""
    client: str = ""
    """The line, if it is a command to the client program and not SQL."""


class Splitter:
    """Reads one text, statement by statement; only what can matter is looked at word by word."""

    def __init__(self, lexer: Lexer, routines: Mapping[str, object]) -> None:
        """`lexer` stands at the beginning of the text. `routines` holds the routines that are known, by their names in lower case."""
        self._lexer = lexer
        self._known = routines
        self._text = lexer.text
        self._tokens: list[Token] = []
        self._body: Body | None = None
        self._several = False
        self._parens = 0
        name = lexer.dialect.name
        self._routines = BATCH_ROUTINES if lexer.dialect.batches else ROUTINES
        self._client = _CLIENTS.get(name, "\\")
        self._enders = words("GO / DELIMITER \\ ;") | {self._client}
        self._starters = Starters() if lexer.dialect.batches else None
        self._may_matter = words("COPY LOAD MERGE INSERT" if name == "databricks" else "COPY LOAD")
        self.evolves = False
        """Databricks: data statements may add columns, as a setting of the session says."""

    def statements(self) -> Iterator[Statement]:
        """Return each statement that is not known to be harmless by its first word alone."""
        lexer, starters = self._lexer, self._starters
        while (token := lexer.next()).kind is not TokenKind.END:
            if token.kind is TokenKind.BROKEN:
                yield from self._finish(token.start, broken=f"{token.text[:2].strip()} is never closed")
                continue
            if token.upper in self._enders or lexer.delimiter != ";":
                ended = self._ends(token)
                if ended is not None:
                    yield from ended
                    continue
            if starters is None and token.upper in LINE_VERBS and self._tokens and self._is_border(token):
                yield from self._finish(token.start)
            if starters is not None and self._body is None and starters.starts(self._tokens, token, self._following):
                yield from self._finish(token.start)
                starters.starts([], token, self._following)
            self._add(token)
            if len(self._tokens) == 1:
                yield from self._skip(token)
        is_open = self._body is not None and self._body.is_open() and not starters
        yield from self._finish(len(self._text), broken="its body never ends" if is_open else "")

    def _following(self) -> Token:
        return self._lexer.peek()[0]

    def _end_of_line(self, start: int) -> int:
        end = self._text.find("\n", start)
        return end if end >= 0 else len(self._text)

    def _ends(self, token: Token) -> Iterator[Statement] | None:
        """Return what the statement's end gives if `token` ends it; None if it does not."""
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
        """Return whether a statement begins here, at the beginning of a line, although nothing ended the one before."""
        if self._parens > 0 or self._lexer.delimiter != ";" or (self._body is not None and self._body.is_open()):
            return False
        if self._text.find("\n", self._tokens[-1].end, token.start) < 0:
            return False
        return self._begins(self._tokens, token, self._lexer.peek(4))

    def _begins(self, tokens: Sequence[Token], token: Token, ahead: Sequence[Token]) -> bool:
        return begins_statement(tokens, token, ahead, self._lexer.dialect, routine=self._body is not None)

    def _line(self, token: Token) -> Iterator[Statement] | None:
        """Read a line that ends the statement before it by itself."""
        if token.upper == "DELIMITER":
            named = _DELIMITER.match(self._text, token.end)
            if named is None:
                return None
            self._lexer.pos = named.end()
            finished = list(self._finish(token.start))
            self._lexer.delimiter = named[1]
            return iter(finished)
        if token.upper in {"\\", self._client}:
            self._lexer.pos = self._end_of_line(token.start)
            line = self._text[token.start : self._lexer.pos]
            return iter([*self._finish(token.start), Statement([token], token.start, self._lexer.pos, client=line)])
        alone = _GO.match(self._text, token.end)
        if alone is None or (token.upper == "/" and alone[0].strip()):
            return None
        self._lexer.pos = alone.end()
        return self._finish(token.start)

    def _add(self, token: Token) -> None:
        self._tokens.append(token)
        self._parens += (token.upper == "(") - (token.upper == ")")
        if self._body is not None:
            self._body.feed(token)
        elif token.upper in self._routines and len(self._tokens) <= MAX_HEAD and begins_routine(self._tokens):
            self._body = Body()
            for each in self._tokens:
                self._body.feed(each)

    def _skip(self, token: Token) -> Iterator[Statement]:
        """Pass the rest of a statement that its first word shows to be data, rights or a remark."""
        lexer, word = self._lexer, token.upper
        if lexer.delimiter != ";":
            return
        if word in _FILE_COMMANDS and lexer.dialect.name == "snowflake":
            paths = _FILE_ARGUMENTS.match(self._text, token.end)
            lexer.pos = paths.end() if paths else token.end
        if word not in SKIPPED or self._wants_a_look(token):
            return
        begin = lexer.pos
        while (ending := lexer.skip()).upper == "\n" and not self._ends_before_line(begin, ending):
            pass
        if word in CALLING and self._may_run_sql(begin, ending.start):
            lexer.pos = begin
        elif ending.kind is TokenKind.BROKEN:
            yield from self._finish(ending.start, broken=f"{ending.text[:2].strip()} is never closed")
        elif ending.kind is not TokenKind.WORD:
            yield from self._finish(ending.start)

    def _may_run_sql(self, begin: int, end: int) -> bool:
        """Return whether data in that part of the text may call a routine of the given SQL, or a function that is given SQL."""
        if _DDL_AS_TEXT.search(self._text, begin, end):
            return True
        calls = _CALL.finditer(self._text, begin, end) if self._known else ()
        return any(self._known.get(call[1].lower()) for call in calls)

    def _ends_before_line(self, begin: int, ending: Token) -> bool:
        """Return whether a statement that is passed ends before the line that comes next."""
        token, *ahead = self._lexer.peek(5)
        if token.upper not in LINE_VERBS:
            return True
        if self._tokens[0].upper in RIGHTS and not _GIVEN.search(self._text, begin, ending.start):
            return False  # a right that is called CREATE TABLE
        return self._begins(self._tokens[:3], token, ahead)

    def _wants_a_look(self, token: Token) -> bool:
        """Return whether a statement that begins with a harmless word is to be read; data behind COPY is passed."""
        if self._starters is not None and token.upper in RIGHTS:
            return True
        if token.upper not in self._may_matter:
            return False
        if token.upper in {"MERGE", "INSERT"}:
            return self.evolves or _MAY_ADD_COLUMNS.match(self._text, token.start) is not None
        data = _COPIED.match(self._text, token.start, token.start + 5000)
        if data is None:
            return _MAY_ADD_COLUMNS.match(self._text, token.start, token.start + 5000) is not None
        closing = _COPIED_END.search(self._text, data.end() - 1)
        self._lexer.pos = closing.end() if closing else len(self._text)
        self._tokens.clear()
        return True

    def _finish(self, end: int, *, broken: str = "") -> Iterator[Statement]:
        tokens, several = self._tokens, self._several
        self._tokens, self._body, self._several, self._parens = [], None, False, 0
        if self._starters is not None:
            self._starters.begin()
        if tokens and (broken or tokens[0].upper not in SKIPPED or len(tokens) > 1):
            yield Statement(tokens, tokens[0].start, end, several, broken)
        elif broken:
            yield Statement([], end, end, broken=broken)
