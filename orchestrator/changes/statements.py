"""SQL text to statements: where each begins and ends, whatever quotes, comments, blocks, delimiters and batches hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from orchestrator.changes.blocks import BATCH_ROUTINES, ROUTINES, Body, begins_routine
from orchestrator.changes.cursor import words
from orchestrator.changes.dialects import Dialect
from orchestrator.changes.keywords import ADJECTIVES, CALLING, SKIPPED, is_kind
from orchestrator.changes.lexer import Lexer, Token, TokenKind

LINE_VERBS: Final = words("CREATE ALTER DROP RENAME UNDROP DO EXECUTE USE SET SELECT CALL")
"""First words, in a line, that may begin a statement although the one before has no semicolon."""
RIGHTS: Final = words("GRANT REVOKE DENY")
_OPEN: Final = words("""
    , ( . = + - / || := :: => : < > [ % AS THEN ELSE DO BEGIN LOOP REPEAT ROW ATOMIC INSTEAD ALSO OR FOR EXPLAIN ANALYZE VERBOSE
    IMMEDIATE DECLARE TRY CATCH
""")
"""A statement that ends in one of these is not complete."""
_STANDING: Final = words("""
    TABLE VIEW MATERIALIZED SCHEMA DATABASE SEQUENCE FUNCTION PROCEDURE PROC EXTENSION DOMAIN TYPE TEMPORARY TEMP DYNAMIC EXTERNAL
    CATALOG
""")
"""What ALTER and DROP may name behind an ALTER: the other kinds (a column, an index) are parts of what it alters."""
_PLACES: Final = words("CREATE ALTER DROP")
_ALWAYS: Final = words("""
    INSERT UPDATE DELETE MERGE SELECT EXEC EXECUTE DECLARE PRINT GRANT REVOKE DENY TRUNCATE RETURN WHILE RAISERROR THROW COMMIT ROLLBACK
    SAVE USE BACKUP RESTORE DBCC WAITFOR BEGIN REVERT SP_RENAME BULK GOTO END ELSE
""")
"""Words that begin a statement of T-SQL, except behind the words in `_PARTS`."""
_PARTS: Final = {
    **dict.fromkeys(("UPDATE", "DELETE"), words("ON FOR AFTER OF ,")),
    **dict.fromkeys(("INSERT", "SELECT"), words("FOR AFTER OF ,")),
    **dict.fromkeys(("EXEC", "EXECUTE"), words("WITH")),
    "SP_RENAME": words("EXEC EXECUTE ="),
    "USE": words("( ,"),
}
_HEAD: Final = 200
"""How many tokens of a routine are searched for its body."""

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


def begins_statement(
    tokens: Sequence[Token], token: Token, ahead: Sequence[Token], dialect: Dialect, *, routine: bool
) -> bool:
    """Return whether `token`, first in its line, begins a statement behind `tokens`, in which no parenthesis is open.

    `routine` says that these define a routine, and `ahead` holds the four tokens behind the token.
    """
    following = ahead[0]
    head, word = tokens[0].upper, token.upper
    if tokens[-1].upper in _OPEN and head != "ANALYZE":
        return False
    if word == "CREATE" and head == "CREATE" and dialect.views_depend and tokens[1].upper == "SCHEMA":
        return tokens[2].upper == "IF"  # else it is an element of the new schema
    if word == "DO":
        begins = following.kind is TokenKind.STRING
    elif word == "EXECUTE":
        begins = following.upper == "IMMEDIATE"
    elif word == "RENAME":
        begins = following.upper in {"TABLE", "TABLES", "OBJECT"}
    elif word == "SET":
        begins = following.upper in {"SEARCH_PATH", "SCHEMA"} and head in {"CREATE", "DROP"} and not routine
    elif word in {"SELECT", "CALL"}:
        begins = head not in {"EXPLAIN", "WITH"} and _calls(ahead)
    elif word == "USE":
        begins = following.kind in {TokenKind.WORD, TokenKind.QUOTED} and head in _PLACES and not routine
    else:
        begins = _names_kind(head, word, following)
    if not begins or (head == "ALTER" and _is_bare(tokens)):
        return False
    return not routine or _is_whole(tokens, dialect)


def _calls(ahead: Sequence[Token]) -> bool:
    """Return whether a function or a procedure is called first, which may change tables: `f(`, `s.f(`."""
    named = ahead[2:] if ahead[1].upper == "." else ahead
    return named[0].kind in {TokenKind.WORD, TokenKind.QUOTED} and named[1].upper == "("


def _names_kind(head: str, word: str, following: Token) -> bool:
    """Return whether CREATE, ALTER or DROP begins a statement: a kind of thing follows, and it is no clause of an ALTER."""
    if word == "CREATE" or head != "ALTER":
        return following.upper == "OR" or is_kind(following.upper)
    return following.upper in _STANDING


def _is_bare(tokens: Sequence[Token]) -> bool:
    """Return whether nothing stands behind the name of what is altered yet."""
    if len(tokens) > 16:
        return False
    after = [each for each in tokens[1:] if each.upper not in ADJECTIVES | {"IF", "EXISTS", "ONLY", "*"}]
    while after and is_kind(after[0].upper):
        after = after[1:]
    return all((each.upper == ".") is bool(number % 2) for number, each in enumerate(after))


def _is_whole(tokens: Sequence[Token], dialect: Dialect) -> bool:
    """Return whether a routine's definition has its body: a string, a block that has ended, or the function that it runs."""
    if dialect.escape_strings or "END" in {each.upper for each in tokens[-2:]}:
        return True
    return any(each.kind is TokenKind.STRING and before.upper == "AS" for before, each in pairwise(tokens[:_HEAD]))


def begins_in_batch(tokens: Sequence[Token], word: str, following: Callable[[], Token]) -> bool:
    """Return whether a word of T-SQL begins a statement behind `tokens`, in which no parenthesis and no CASE is open."""
    before = tokens[-1].upper
    if tokens[0].upper in RIGHTS and not any(each.upper in {"TO", "FROM"} for each in tokens[:-1]):
        return False
    if word in _PLACES:
        return not (word == "ALTER" and before == "OR") and _names_kind(tokens[0].upper, word, following())
    if word in RIGHTS:
        return following().upper != "OPTION"
    if word in _ALWAYS:
        return before not in _PARTS.get(word, ())
    if word == "IF":
        return not (is_kind(before) or before == "OR") or following().upper == "NOT"
    if word == "SET":
        option = following()
        plain = option.kind in {TokenKind.VARIABLE, TokenKind.WORD} and option.upper not in {"NULL", "DEFAULT"}
        return plain and before != "ON"
    return False


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
        self._cases = 0
        self._batches = lexer.dialect.batches
        name = lexer.dialect.name
        self._routines = BATCH_ROUTINES if self._batches else ROUTINES
        self._client = _CLIENTS.get(name, "\\")
        self._enders = words("GO / DELIMITER \\ ;") | {self._client}
        self._may_matter = words("COPY LOAD MERGE INSERT" if name == "databricks" else "COPY LOAD")
        self.evolves = False
        """Databricks: data statements may add columns, as a setting of the session says."""

    def statements(self) -> Iterator[Statement]:
        """Return each statement that is not known to be harmless by its first word alone."""
        lexer = self._lexer
        while (token := lexer.next()).kind is not TokenKind.END:
            if token.kind is TokenKind.BROKEN:
                yield from self._finish(token.start, broken=f"{token.text[:2].strip()} is never closed")
                continue
            if token.upper in self._enders or lexer.delimiter != ";":
                ended = self._ends(token)
                if ended is not None:
                    yield from ended
                    continue
            if self._tokens and (self._starts(token) if self._batches else self._is_border(token)):
                yield from self._finish(token.start)
            self._add(token)
            if len(self._tokens) == 1:
                yield from self._skip(token)
        is_open = self._body is not None and self._body.is_open() and not self._batches
        yield from self._finish(len(self._text), broken="its body never ends" if is_open else "")

    def _starts(self, token: Token) -> bool:
        """Return whether a word of T-SQL begins a statement, although nothing ended the one before."""
        word = token.upper
        if self._body is not None or token.kind is not TokenKind.WORD or self._parens or self._tokens[-1].upper == ".":
            return False
        if word == "CASE" or (self._cases and word in {"END", "ELSE"}):
            self._cases += (word == "CASE") - (word == "END")
            return False
        return begins_in_batch(self._tokens, word, lambda: self._lexer.peek()[0])

    def _ends(self, token: Token) -> list[Statement] | None:
        """Return what the statement's end gives if `token` ends it; None if it does not."""
        word = token.upper
        if self._lexer.delimiter != ";" and self._text.startswith(self._lexer.delimiter, token.start):
            self._lexer.pos = token.start + len(self._lexer.delimiter)
            return self._finish(token.start)
        if word == ";":
            if self._lexer.delimiter != ";":
                self._several = True
                return None
            if self._body is not None and (self._batches or self._body.is_open()):
                return None
            return self._finish(token.start)
        if word == "\\" and self._text.startswith(";", token.end):
            return self._finish(token.start)  # psql: the end of a statement that is sent with the next one
        before = self._text[self._text.rfind("\n", 0, token.start) + 1 : token.start]
        is_alone = word == "\\" or (word == "GO" and not self._tokens) or not before.strip()
        return self._line(token) if word in self._enders and is_alone else None

    def _is_border(self, token: Token) -> bool:
        """Return whether a statement begins here, at the beginning of a line, although nothing ended the one before."""
        if token.upper not in LINE_VERBS or self._parens or self._lexer.delimiter != ";":
            return False
        if self._body is not None and self._body.is_open():
            return False
        if self._text.find("\n", self._tokens[-1].end, token.start) < 0:
            return False
        return self._begins(self._tokens, token, self._lexer.peek(4))

    def _begins(self, tokens: Sequence[Token], token: Token, ahead: Sequence[Token]) -> bool:
        return begins_statement(tokens, token, ahead, self._lexer.dialect, routine=self._body is not None)

    def _line(self, token: Token) -> list[Statement] | None:
        """Read a line that ends the statement before it by itself."""
        if token.upper == "DELIMITER":
            named = _DELIMITER.match(self._text, token.end)
            if named is None:
                return None
            self._lexer.pos = named.end()
            finished = self._finish(token.start)
            self._lexer.delimiter = named[1]
            return finished
        if token.upper in {"\\", self._client}:
            end = self._text.find("\n", token.start)
            self._lexer.pos = end if end >= 0 else len(self._text)
            line = self._text[token.start : self._lexer.pos]
            return [*self._finish(token.start), Statement([token], token.start, self._lexer.pos, client=line)]
        alone = _GO.match(self._text, token.end)
        if alone is None or (token.upper == "/" and alone[0].strip()):
            return None
        self._lexer.pos = alone.end()
        return self._finish(token.start)

    def _add(self, token: Token) -> None:
        self._tokens.append(token)
        self._parens = max(0, self._parens + (token.upper == "(") - (token.upper == ")"))
        if self._body is not None:
            self._body.feed(token)
        elif token.upper in self._routines and len(self._tokens) <= MAX_HEAD and begins_routine(self._tokens):
            self._body = Body()
            for each in self._tokens:
                self._body.feed(each)

    def _skip(self, token: Token) -> list[Statement]:
        """Pass the rest of a statement that its first word shows to be data, rights or a remark."""
        lexer, word = self._lexer, token.upper
        if lexer.delimiter != ";":
            return []
        if word in _FILE_COMMANDS and lexer.dialect.name == "snowflake":
            paths = _FILE_ARGUMENTS.match(self._text, token.end)
            lexer.pos = paths.end() if paths else token.end
        if word not in SKIPPED or self._wants_a_look(token):
            return []
        begin = lexer.pos
        while (ending := lexer.skip()).upper == "\n" and not self._ends_before_line(begin, ending):
            pass
        if word in CALLING and self._may_run_sql(begin, ending.start):
            lexer.pos = begin
        elif ending.kind is TokenKind.BROKEN:
            lexer.pos = ending.start
        elif ending.kind is not TokenKind.WORD:
            return self._finish(ending.start)
        return []

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
        if self._batches and token.upper in RIGHTS:
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

    def _finish(self, end: int, *, broken: str = "") -> list[Statement]:
        tokens, several = self._tokens, self._several
        self._tokens, self._body, self._several, self._parens, self._cases = [], None, False, 0, 0
        if broken or (tokens and (tokens[0].upper not in SKIPPED or len(tokens) > 1)):
            return [Statement(tokens, tokens[0].start if tokens else end, end, several, broken)]
        return []
