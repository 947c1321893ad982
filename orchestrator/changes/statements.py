"""Split SQL text into statements: quotes, comments, blocks, delimiters, batches and control words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from orchestrator.changes.dialects import Dialect
from orchestrator.changes.keywords import ADJECTIVES, CALLING, SKIPPED, is_kind
from orchestrator.changes.lexer import NOTHING, Cursor, Lexer, Token, TokenKind, words
from orchestrator.changes.literals import remember_all
from orchestrator.changes.session import Session

ROUTINES: Final = words("FUNCTION PROCEDURE PROC TRIGGER EVENT PACKAGE TASK ALERT RULE")
"""Objects whose definition contains statements that run later."""
BATCH_ROUTINES: Final = words("FUNCTION PROCEDURE PROC TRIGGER")
"""Objects whose definition ends with its batch, in dialects with batches."""

_COMPOUND: Final = words("IF WHILE LOOP REPEAT FOR")
_BEFORE_STATEMENT: Final = words("; BEGIN THEN ELSE DO LOOP ROW REPEAT : AS >>")
_HEAD_STOPS: Final = words("( AS SELECT TABLE VIEW SCHEMA INDEX TYPE PARTITION")
_CONTROL: Final = words("BEGIN THEN ELSE DO LOOP")
_UNTIL: Final = {
    **dict.fromkeys(("IF", "ELSEIF", "ELSIF", "WHEN", "EXCEPTION", "CASE"), words("THEN")),
    **dict.fromkeys(("WHILE", "FOR"), words("DO LOOP")),
    "FOREACH": words("LOOP"),
}
"""Words that begin a condition, each with the words that end it."""
_TRANSACTION: Final = words("""
    TRANSACTION TRAN WORK ISOLATION READ DEFERRABLE IMMEDIATE EXCLUSIVE CONCURRENT DISTRIBUTED
""")
_ALONE: Final = words("LOOP REPEAT ELSE THEN")
_PRAGMAS: Final = words("OPTION PRINT_STRICT_PARAMS VARIABLE_CONFLICT")
"""Compiler options of PL/pgSQL, each with a value, at the beginning of a body."""
LINE_VERBS: Final = words("CREATE ALTER DROP RENAME UNDROP DO EXECUTE USE SET SELECT CALL")
"""Words that may begin a statement at the start of a line, even if the statement before has no semicolon."""
RIGHTS: Final = words("GRANT REVOKE DENY")
_OPEN: Final = words("""
    , ( . = + - / || := :: => : < > [ % AS THEN ELSE DO BEGIN LOOP REPEAT ROW ATOMIC INSTEAD ALSO OR FOR EXPLAIN ANALYZE VERBOSE
    IMMEDIATE DECLARE TRY CATCH
""")
"""A statement is incomplete if it ends in one of these."""
_STANDING: Final = words("""
    TABLE VIEW MATERIALIZED SCHEMA DATABASE SEQUENCE FUNCTION PROCEDURE PROC EXTENSION DOMAIN TYPE TEMPORARY TEMP DYNAMIC EXTERNAL
    CATALOG
""")
"""Kinds of objects after which ALTER or DROP begins a statement behind an ALTER. Other kinds (column, index) are clauses of it."""
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
MAX_HEAD: Final = 60
"""A routine is recognized by the first tokens of its definition."""

_GO: Final = re.compile(r"[ \t]*\d*[ \t]*;?[ \t]*(?:--[^\n]*)?$", re.MULTILINE)
_DELIMITER: Final = re.compile(r"[ \t]+(\S+)[^\n]*")
_GIVEN: Final = re.compile(r"\b(?:TO|FROM)\b", re.IGNORECASE)
_FILE_COMMANDS: Final = words("PUT GET LIST LS REMOVE RM")
_FILE_ARGUMENTS: Final = re.compile(r"(?:\s+(?:'(?:[^'\\]|\\.)*'|(?:file:|@|snow:)[^\s;]*))+", re.IGNORECASE)
"""Paths after PUT and similar commands of SnowSQL, which may contain `/*`."""
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
"""A string in a data statement that may be SQL for a function to run."""
_CALL: Final = re.compile(r"([^\W\d]\w*+)\"?\s*+\(")
_CLIENTS: Final = {"tsql": ":", "duckdb": ".", "snowflake": "!"}
"""The first sign of a command line of sqlcmd, DuckDB's shell or SnowSQL. A backslash (psql) is read in every dialect."""


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
    """Return whether the call of a function or procedure comes next: `f(`, `s.f(`."""
    named = ahead[2:] if ahead[1].upper == "." else ahead
    return named[0].kind in {TokenKind.WORD, TokenKind.QUOTED} and named[1].upper == "("


def _names_kind(head: str, word: str, following: Token) -> bool:
    """Return whether CREATE, ALTER or DROP begins a statement: a kind of object follows, and it is not a clause of an ALTER."""
    if word == "CREATE" or head != "ALTER":
        return following.upper == "OR" or is_kind(following.upper)
    return following.upper in _STANDING


def _is_bare(tokens: Sequence[Token]) -> bool:
    """Return whether the statement ends with the name of the altered object."""
    if len(tokens) > 16:
        return False
    after = [each for each in tokens[1:] if each.upper not in ADJECTIVES | {"IF", "EXISTS", "ONLY", "*"}]
    while after and is_kind(after[0].upper):
        after = after[1:]
    return all((each.upper == ".") is bool(number % 2) for number, each in enumerate(after))


def _is_whole(tokens: Sequence[Token], dialect: Dialect) -> bool:
    """Return whether a routine's definition is complete: it has a body in a string, an ended block, or a function to run."""
    if dialect.escape_strings or "END" in {each.upper for each in tokens[-2:]}:
        return True
    return any(each.kind is TokenKind.STRING and before.upper == "AS" for before, each in pairwise(tokens[:200]))


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


def begins_routine(tokens: Sequence[Token]) -> bool:
    """Return whether the statement that begins with these tokens defines a routine."""
    before = (NOTHING, *tokens)
    verbs = (at for at, token in enumerate(tokens) if token.upper in {"CREATE", "ALTER"})
    begin = next((at for at in verbs if at == 0 or before[at].upper in _CONTROL), len(tokens))
    for token, following in pairwise([*tokens[begin + 1 : begin + 24], NOTHING]):
        if token.upper in ROUTINES:
            return True
        if token.upper in _HEAD_STOPS:
            return (token.upper, following.upper) == ("TABLE", "FUNCTION")
    return False


class Body:
    """Tracks the open blocks of a routine's definition, token by token."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._before = NOTHING
        self._depth = 0
        self._declaring = False
        self._parens = 0
        self._compound = False
        """Whether the token before began a compound statement."""
        self._calls: list[int] = []
        """The open parentheses around each `IF (` that may be a function call."""

    def feed(self, token: Token) -> None:
        """Process the next token, semicolons included."""
        before, word = self._before.upper, token.upper
        if before == "END":
            self._depth = max(0, self._depth - 1)
        elif before == "BEGIN" and word not in {"TRANSACTION", "TRAN", "WORK", ";"}:
            self._depth += 1
            self._declaring = False
        if token.kind is TokenKind.SIGN and word in {"(", ")", ","}:
            self._sign(word, before)
        if before != "END":
            self._compound = word in _COMPOUND and before in _BEFORE_STATEMENT
            if word == "CASE" or self._compound:
                self._depth += 1
            elif word == "DECLARE" and not self._depth:
                self._declaring = True
        self._before = token

    def _sign(self, sign: str, before: str) -> None:
        if sign == "(":
            if before in _COMPOUND and self._compound:
                self._calls.append(self._parens)
            self._parens += 1
        elif sign == ")":
            self._parens = max(0, self._parens - 1)
            if self._calls and self._calls[-1] >= self._parens:
                self._calls.pop()
        elif self._calls and self._calls[-1] == self._parens - 1:
            self._calls.pop()  # `IF (a, b, c)` is a function, and opens nothing
            self._depth = max(0, self._depth - 1)

    def is_open(self) -> bool:
        """Return whether a semicolon that comes now belongs to the body."""
        ends = self._before.upper == "END"
        return self._depth - ends > 0 or self._declaring or self._parens > 0


class Statement(NamedTuple):
    """The tokens of one statement, without the sign that ends it."""

    tokens: list[Token]
    start: int
    end: int
    several: bool = False
    """Whether it contains semicolons, because a client command changed the delimiter."""
    broken: str = ""
    """What is wrong with its end: a quote, comment or body that is never closed."""
    client: str = ""
    """The line, if it is a command to the client program and not SQL."""


class Splitter:
    """Splits one text into statements. Data statements are skipped without reading their words."""

    def __init__(self, lexer: Lexer, routines: Mapping[str, object]) -> None:
        """`lexer` is at the beginning of the text. `routines` are the known ones, by their names in lower case."""
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
        """Yield each statement, except those that are harmless by their first word."""
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
        """Return the finished statements if `token` ends one; None otherwise."""
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
        ahead, dialect = self._lexer.peek(4), self._lexer.dialect
        return begins_statement(self._tokens, token, ahead, dialect, routine=self._body is not None)

    def _line(self, token: Token) -> list[Statement] | None:
        """Read a line that ends the statement before it."""
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
        """Skip the rest of a statement if its first word is one of data, rights or remarks."""
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
        """Return whether a part of the text may call a known routine, or a function with SQL in an argument."""
        if _DDL_AS_TEXT.search(self._text, begin, end):
            return True
        calls = _CALL.finditer(self._text, begin, end) if self._known else ()
        return any(self._known.get(call[1].lower()) for call in calls)

    def _ends_before_line(self, begin: int, ending: Token) -> bool:
        """Return whether a skipped statement ends before the next line."""
        token, *ahead = self._lexer.peek(5)
        if token.upper not in LINE_VERBS:
            return True
        if self._tokens[0].upper in RIGHTS and not _GIVEN.search(self._text, begin, ending.start):
            return False  # a right that is called CREATE TABLE
        return begins_statement(self._tokens[:3], token, ahead, self._lexer.dialect, routine=False)

    def _wants_a_look(self, token: Token) -> bool:
        """Return whether a statement must be read although its first word is harmless. Skips the data after COPY."""
        if self._batches and token.upper in RIGHTS:
            return True
        if token.upper not in self._may_matter:
            return False
        if token.upper in {"MERGE", "INSERT"}:
            return self.evolves or _MAY_ADD_COLUMNS.match(self._text, token.start) is not None
        end = token.start + 5000
        if (data := _COPIED.match(self._text, token.start, end)) is None:
            return _MAY_ADD_COLUMNS.match(self._text, token.start, end) is not None
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


def pass_control(cursor: Cursor, session: Session) -> bool:
    """Skip control words, labels and conditions. Return False if no statement is left to read."""
    while not cursor.done():
        word = cursor.word
        if session.declaring and word != "BEGIN":
            remember_all(session, cursor.rest())
            return False
        if word == "BEGIN":
            session.declaring = False
            cursor.next()
            if cursor.word in _TRANSACTION or (cursor.word == "NAME" and cursor.peek(2).kind is TokenKind.END):
                return False
            cursor.take("NOT", "ATOMIC")
            cursor.take_any({"ATOMIC", "TRY", "CATCH"})
        elif word == "DECLARE" and cursor.peek(2).upper == "HANDLER":
            ahead = cursor.find("BEGIN", "CREATE", "ALTER", "DROP", "RENAME", "EXECUTE")
            cursor.at = len(cursor.tokens) if ahead < 0 else cursor.at + ahead
        elif cursor.take("DECLARE"):
            session.declaring = session.dialect.declare_section or (session.in_body and session.dialect.escape_strings)
            cursor.take("OR", "REPLACE")
            cursor.take_any({"VARIABLE", "VAR"})
            remember_all(session, cursor.rest())
            return False
        elif word in _UNTIL:
            if not _pass_condition(cursor, word):
                return False
        elif word in _ALONE:
            cursor.next()
        elif word == "END" or not _pass_label(cursor):
            return word != "END"
    return False


def _pass_condition(cursor: Cursor, word: str) -> bool:
    """Skip a condition, up to the word that ends it outside parentheses and CASE ... END."""
    depth = cases = 0
    for ahead, token in enumerate(cursor.rest()[1:], start=1):
        if depth <= 0 and cases <= 0 and token.upper in _UNTIL[word]:
            cursor.at += ahead + 1
            return True
        depth += (token.upper == "(") - (token.upper == ")")
        cases += (token.upper == "CASE") - (token.upper == "END")
    return False


def _pass_label(cursor: Cursor) -> bool:
    """Skip `<<label>>`, `label:` and the compiler options of PL/pgSQL."""
    is_pragma = cursor.word == "#" and cursor.peek(1).upper in _PRAGMAS
    if is_pragma or (cursor.word == "<<" and cursor.peek(2).upper == ">>"):
        cursor.at += 3
        return True
    is_label = cursor.peek().kind is TokenKind.WORD and cursor.peek(1).upper == ":"
    if is_label and cursor.peek(2).kind in {TokenKind.WORD, TokenKind.END}:
        cursor.at += 2
        return True
    return False
