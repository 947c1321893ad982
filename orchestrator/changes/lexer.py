"""SQL text to tokens, and a position in them: comments left out, quotes undone. No grammar is known here."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

from orchestrator.changes.dialects import Dialect
from orchestrator.changes.errors import TemplatedError
from orchestrator.changes.tool_text import TEMPLATE


class TokenKind(IntEnum):
    """What a token is."""

    WORD = 1
    QUOTED = 2
    """A name in quotes, backticks or brackets; `text` is what they hold."""
    STRING = 3
    NUMBER = 4
    VARIABLE = 5
    """`@x`, `@@x`."""
    SIGN = 6
    BROKEN = 7
    """A quote or a comment that never ends: the rest of the text."""
    END = 8
    """Behind the last token."""


class Token(NamedTuple):
    """One token. `upper` is what rules compare: a word in upper case, or a sign; empty for all else."""

    kind: TokenKind
    text: str
    upper: str
    start: int
    end: int
    quote: str = ""
    """How a string or a quoted name begins, without its prefix: `'`, `"`, `` ` ``, `[`, `$tag$`."""
    body: int = 0
    """Where the content of a string begins."""


NOTHING: Final = Token(TokenKind.END, "", "", -1, -1)

_WORDS: Final = {
    "tsql": r"(?:[^\W\d]|\#)[\w$#@]*+",
    "redshift": r"\#?[^\W\d][\w$]*+",
    "bigquery": r"[^\W\d][\w$]*+(?:-\w++)*+",
}
"""What a word may hold, in dialects that allow more than the others: `#x` is a temporary table, `a-b` may be a project."""
_BACKSLASHED: Final = r"(?:[^{q}\\]++|\\.|{q}{q})*+"
_DOUBLED: Final = r"(?:[^{q}]++|{q}{q})*+"
_STOPS: Final = "CREATE|ALTER|DROP|SELECT|EXEC|EXECUTE|USE|DECLARE|SET|GRANT|REVOKE|DENY|IF|BEGIN|DELIMITER"
"""Words at which `skip` stops in dialects whose statements need no semicolon between them."""
_LINE_STOPS: Final = (
    r"[ \t]*+(?:[gG][oO]\b[ \t]*+\d*+[ \t]*+;?+[ \t]*+$|/[ \t]*+$|(?i:DELIMITER)\s|\\"
    r"|(?:/\*(?:[^*]++|\*(?!/))*+\*/[ \t]*+)?(?i:CREATE|ALTER|DROP|RENAME|UNDROP|DO|EXECUTE|USE|SET|CALL)\s"
    r"|(?i:SELECT)\s++[\w.\"]++\()"
)
"""Beginnings of lines at which `skip` stops: the statement may end before them."""
_VERSIONED: Final = re.compile(r"/\*M?!(?!999999)\d*")
"""How a comment begins that the server runs; no server has the version 999999."""


@cache
def _patterns(dialect: Dialect) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return two patterns of a dialect.

    The first matches the next token, and the blanks and comments before it; its group says what it is. The second matches all that a
    statement may hold, up to what may end it or needs a closer look.
    """
    content = _BACKSLASHED if dialect.backslash else _DOUBLED
    comments = [r"--(?=\s|$)[^\n]*+|^[ \t]*+--[^\n]*+" if dialect.name == "mysql" else r"--[^\n]*+"]
    if dialect.hash_comments:
        comments.append(r"\#(?!\{)[^\n]*+" if dialect.name != "mysql" else r"\#[^\n]*+")
    if dialect.slash_comments:
        comments.append(r"(?<![:/])//[^\n]*+")
    if not dialect.nested_comments:
        begins = r"/\*(?!M?!)" if dialect.versioned_comments else r"/\*"
        comments.append(begins + r"(?:[^*]++|\*(?!/))*+\*/")
    strings: list[str] = []
    if dialect.triple_quotes:
        triple = r"(?:[rRbB]{{0,2}}){q}{q}{q}(?:[^\\{q}]++|\\.|{q}(?!{q}{q}))*+{q}{q}{q}"
        strings += [triple.format(q="'"), triple.format(q='"')]
    if dialect.raw_strings:
        raw = content if dialect.name == "bigquery" else _DOUBLED
        strings += [f"(?:[rR][bB]?|[bB][rR]){q}{raw.format(q=q)}{q}" for q in ("'", '"')]
    if dialect.escape_strings:
        strings.append("[eE]'" + _BACKSLASHED.format(q="'") + "'")
    strings.append("(?:[nNbBxX]|[uU]&)?'" + content.format(q="'") + "'")
    names = ["`" + _DOUBLED.format(q="`") + "`"]
    if dialect.double_quoted_strings:
        strings.append('(?:[bB])?"' + content.format(q='"') + '"')
    else:
        names.append('(?:[uU]&)?"' + _DOUBLED.format(q='"') + '"')
    if dialect.brackets:
        names.append(r"\[(?:[^\]]++|\]\])*+\]")
    word = _WORDS.get(dialect.name, r"[^\W\d][\w$]*+")
    parts = [
        rf"(?P<string>{'|'.join(strings)})",
        rf"(?P<word>(?![uU]&['\"]){word})",
        rf"(?P<name>{'|'.join(names)})",
        r"(?P<number>\d\w*+)",
        r"(?P<variable>@{1,2}[^\W\d][\w$]*+)",
        rf"(?P<template>{TEMPLATE})",
        r"(?P<comment>/\*)",
        r"(?P<dollar>\$(?:[^\W\d]\w*+)?\$)",
        r"(?P<sign>:=|::|\|\||\+=|=>|<<|>>|.)",
    ]
    blank = rf"(?:[\s\ufeff\u200b]++|{'|'.join(comments)})*+"
    flags = re.DOTALL | re.MULTILINE
    token = re.compile(f"{blank}(?:{'|'.join(parts)})?", flags)
    return token, re.compile(_run(dialect, strings, comments), flags)


def _run(dialect: Dialect, strings: list[str], comments: list[str]) -> str:
    """Return the pattern of what can be passed in one go: all up to what may end a statement or needs a closer look."""
    plain = r"[^;'\"`$/\-\#\[{<&\\\n*@]++"
    if dialect.batches:
        plain = r"(?:[^\w;'\"`$/\-\#\[{<&\\\n*@]|\d)++|(?!(?i:" + _STOPS + r")\b)(?:[^\W\d]|\#)[\w$#@]*+"
    prefixed = [each for each in strings if each.startswith(("[eE]", "(?:[rR]")) and "'" in each]
    behind = [rf"(?<=[^\w][eErR]){each[each.index(chr(39)) :]}" for each in prefixed]
    quotes = "`" if dialect.double_quoted_strings else '"`'
    names = [rf"{q}[^{q}{{$<&]*+{q}" for q in quotes] + ([r"\[[^\]{$<&]*+\]"] if dialect.brackets else [r"\["])
    signs = [r"-(?!-)", r"/(?!\*)", r"\*(?!/)", "@", r"[{](?![{%\#])", r"<(?!%)", r"&(?!\{)", r"\$(?=\d)"]
    if dialect.name == "mysql":
        signs.append(r"--(?!\s)")
    if not dialect.hash_comments:
        signs.append(r"\#")
    line_break = rf"\n(?!{_LINE_STOPS})"
    return f"(?:{'|'.join([plain, *behind, *strings, *names, line_break, *comments, *signs])})*+"


class Lexer:
    """Walks through one text. A caller that knows where to continue may set `pos`."""

    def __init__(self, text: str, dialect: Dialect, *, source: str = "", first_line: int = 1) -> None:
        """`first_line` is the number of the text's first line in its file."""
        self.text = text
        self.dialect = dialect
        self.source = source
        self.pos = 0
        self._first_line = first_line
        self._breaks: list[int] | None = None
        self._token, self._run = _patterns(dialect)
        self._open_versions = 0
        self.delimiter = ";"
        """What ends a statement from here on; a client's command may change it."""

    def line(self, at: int) -> int:
        """Return the number of the line that holds the character at `at`."""
        if self._breaks is None:
            self._breaks = [match.start() for match in re.finditer("\n", self.text)]
        return self._first_line + bisect_right(self._breaks, at - 1)

    def next(self) -> Token:
        """Take the next token, or one of kind END. Raises `TemplatedError` at a placeholder."""
        match_at = self._token.match
        while True:
            match = match_at(self.text, self.pos)
            group = match.lastgroup if match else None
            if match is None or group is None:
                self.pos = len(self.text)
                return Token(TokenKind.END, "", "", self.pos, self.pos)
            start, end = match.span(group)
            self.pos = end
            text = match[group]
            if group == "word":
                if self.delimiter[0] == "$" and self.delimiter in text:
                    text = text[: text.index(self.delimiter)]
                    end = self.pos = start + len(text)
                return Token(TokenKind.WORD, text, text.upper(), start, end)
            token = self._sign(text, start, end) if group == "sign" else self._other(group, text, start, end)
            if token is not None:
                return token

    def peek(self, count: int = 1) -> list[Token]:
        """Return the next tokens without taking them."""
        here = self.pos
        tokens = [self.next() for _ in range(count)]
        self.pos = here
        return tokens

    def _other(self, group: str, text: str, start: int, end: int) -> Token | None:
        if group in {"number", "variable"}:
            return Token(TokenKind[group.upper()], text, text.upper(), start, end)
        if group == "template":
            raise TemplatedError(text, source=self.source, line=self.line(start))
        if group == "comment":
            return self._comment(start)
        if group != "dollar":
            return self._name(text, start, end) if group == "name" else _string(text, start, end, self.dialect)
        if self.delimiter[0] == "$" and self.text.startswith(self.delimiter, start):
            return self._take_sign(self.delimiter, start)
        closing = self.text.find(text, end)
        if closing < 0:
            return self._broken(start) if text == "$$" else self._take_sign("$", start)
        self.pos = closing + len(text)
        return Token(TokenKind.STRING, self.text[end:closing], "", start, self.pos, text, end)

    def _take_sign(self, sign: str, start: int) -> Token:
        self.pos = start + len(sign)
        return Token(TokenKind.SIGN, sign, sign, start, self.pos)

    def _sign(self, text: str, start: int, end: int) -> Token | None:
        if text in {"'", '"', "`"} or (text == "[" and self.dialect.brackets):
            return self._broken(start)
        if text == "*" and self._open_versions and self.text.startswith("/", end):
            self._open_versions -= 1
            self.pos = end + 1
            return None
        return Token(TokenKind.SIGN, text, text, start, end)

    def _broken(self, start: int) -> Token:
        self.pos = len(self.text)
        return Token(TokenKind.BROKEN, self.text[start : start + 80], "", start, self.pos)

    def _comment(self, start: int) -> Token | None:
        """Pass the block comment that begins at `start`, or enter it if the server runs what it holds."""
        if self.dialect.versioned_comments and (version := _VERSIONED.match(self.text, start)):
            self.pos = version.end()
            self._open_versions += 1
            return None
        depth, here = 1, start + 2
        marks = re.compile(r"/\*|\*/")
        while depth:
            mark = marks.search(self.text, here)
            if mark is None:
                return self._broken(start)
            depth += 1 if mark[0] == "/*" and self.dialect.nested_comments else -1 if mark[0] == "*/" else 0
            here = mark.end()
        self.pos = here
        return None

    def _name(self, text: str, start: int, end: int) -> Token:
        escaped = text[0] in "uU"
        text = text.lstrip("uU&") if escaped else text
        quote, closing = text[0], text[-1]
        name = text[1:-1].replace(closing * 2, closing)
        if escaped:  # `U&"..."`; a UESCAPE behind it names another sign than the backslash
            named = re.compile(r"\s*UESCAPE\s*'(.)'", re.IGNORECASE).match(self.text, self.pos)
            self.pos = named.end() if named else self.pos
            escape = re.escape(named[1] if named else "\\")
            pattern = rf"{escape}(?:({escape})|\+([0-9a-fA-F]{{6}})|([0-9a-fA-F]{{4}}))"
            name = re.sub(pattern, lambda found: found[1] or chr(int(found[2] or found[3], 16) % 0x110000), name)
        return Token(TokenKind.QUOTED, name, "", start, end, quote)

    def skip(self) -> Token:
        """Go to the end of the statement without looking at its words, and return what ends it.

        That is a semicolon, a BROKEN token or END; a line break, if the line behind it may end or begin a statement; in dialects
        without semicolons a word that may begin a statement, which is not passed.
        """
        run, text = self._run.match, self.text
        while True:
            if (match := run(text, self.pos)) is not None:
                self.pos = match.end()
            start = self.pos
            sign = text[start : start + 1]
            if not sign:
                return Token(TokenKind.END, "", "", start, start)
            if sign in ";\n":
                return self._take_sign(sign, start)
            if sign == "\\":  # a command to the client, to be read next
                return Token(TokenKind.SIGN, "\n", "\n", start, start)
            if text.startswith("*/", start):
                self._open_versions = max(0, self._open_versions - 1)
                self.pos = start + 2
                continue
            token = self._comment(start) if text.startswith("/*", start) else self.next()
            if token is not None and token.kind in {TokenKind.BROKEN, TokenKind.WORD}:
                self.pos = token.end if token.kind is TokenKind.BROKEN else token.start
                return token


def tokens_of(text: str, dialect: Dialect) -> list[Token]:
    """Return the text's tokens, up to its end or to something that never closes."""
    lexer, tokens = Lexer(text, dialect), list[Token]()
    while (token := lexer.next()).kind not in {TokenKind.END, TokenKind.BROKEN}:
        tokens.append(token)
    return tokens


_PREFIXES: Final = "bBeEnNrRuUxX&"
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": " "}


def _string(text: str, start: int, end: int, dialect: Dialect) -> Token:
    """Return the string's value. Escapes are undone as far as SQL inside a string needs it: quotes, backslashes, line ends."""
    body = text.lstrip(_PREFIXES)
    prefix = text[: len(text) - len(body)].lower()
    quote = body[0]
    width = 3 if dialect.triple_quotes and len(body) >= 6 and body[:3] == quote * 3 else 1
    value = body[width:-width]
    if width == 1:
        value = value.replace(quote * 2, quote)
    if ("e" in prefix or (dialect.backslash and "r" not in prefix)) and "\\" in value:
        value = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), value, flags=re.DOTALL)
    return Token(TokenKind.STRING, value, "", start, end, quote, start + len(prefix) + width)


def words(text: str) -> frozenset[str]:
    """Return the set of the words in `text`: a compact way to write down many keywords."""
    return frozenset(text.split())


class Cursor:
    """Reads tokens from left to right; behind the last one, every token is NOTHING."""

    def __init__(self, tokens: Sequence[Token], at: int = 0) -> None:
        """Stand before the token with the number `at`."""
        self.tokens = tokens
        self.at = at

    def peek(self, ahead: int = 0) -> Token:
        """Return the token that comes next, or `ahead` tokens later."""
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else NOTHING

    @property
    def word(self) -> str:
        """The next token as rules compare it: a word in upper case, a sign, or an empty string."""
        return self.tokens[self.at].upper if self.at < len(self.tokens) else ""

    def next(self) -> Token:
        """Take the next token."""
        token = self.peek()
        self.at += 1
        return token

    def take(self, *sequence: str) -> bool:
        """Pass `sequence` if exactly these words come next."""
        if any(self.peek(ahead).upper != word for ahead, word in enumerate(sequence)):
            return False
        self.at += len(sequence)
        return True

    def take_any(self, known: AbstractSet[str]) -> str:
        """Pass the next word if it is one of `known`, and return it; else return an empty string."""
        word = self.word
        if word not in known:
            return ""
        self.at += 1
        return word

    def done(self) -> bool:
        """Return whether nothing follows."""
        return self.at >= len(self.tokens)

    def rest(self) -> Sequence[Token]:
        """Return the tokens that follow."""
        return self.tokens[self.at :]

    def until(self, *ends: str) -> Sequence[Token]:
        """Return the tokens up to the first of the words `ends` outside parentheses, or all that follow."""
        end = self.find(*ends)
        return self.rest()[:end] if end >= 0 else self.rest()

    def find(self, *wanted: str) -> int:
        """Return how far ahead, outside parentheses, one of the words comes; -1 if none does."""
        depth = 0
        for ahead, token in enumerate(self.tokens[self.at :]):
            if depth == 0 and token.upper in wanted:
                return ahead
            depth += (token.upper == "(") - (token.upper == ")")
        return -1

    def take_to(self, *wanted: str) -> bool:
        """Pass everything up to and including the first of the words outside parentheses; False, and stay, without one."""
        ahead = self.find(*wanted)
        self.at += ahead + 1
        return ahead >= 0

    def holds(self, word: str) -> bool:
        """Return whether `word` comes anywhere in what follows."""
        return any(token.upper == word for token in self.tokens[self.at :])

    def skip_parens(self, opening: str = "(", closing: str = ")") -> Sequence[Token]:
        """Pass a pair of parentheses or words that opens here, and return the tokens inside; nothing if none opens."""
        if self.word != opening:
            return ()
        begin, depth = self.at, 0
        while not self.done():
            word = self.next().upper
            depth += (word == opening) - (word == closing)
            if not depth:
                return self.tokens[begin + 1 : self.at - 1]
        return self.tokens[begin + 1 :]


def split_commas(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """Return the parts between the commas that stand outside parentheses."""
    parts: list[Sequence[Token]] = []
    depth = begin = 0
    for at, token in enumerate(tokens):
        depth += (token.upper in {"(", "["}) - (token.upper in {")", "]"})
        if token.upper == "," and depth <= 0:
            parts.append(tokens[begin:at])
            begin = at + 1
    parts.append(tokens[begin:])
    return parts
