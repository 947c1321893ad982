"""SQL text to tokens: comments left out, quotes undone, each token with its place. No grammar is known here."""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import IntEnum
from typing import Final, NamedTuple

from orchestrator.changes.dialects import Dialect
from orchestrator.changes.errors import TemplatedError
from orchestrator.changes.lexicon import lexicon


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
    """How a string or a quoted name begins, without its prefix: `'`, `"`, `` ` ``, `[`, `$`."""
    body: int = 0
    """Where the content of a string begins."""


_VERSIONED: Final = re.compile(r"/\*M?!(?!999999)\d*")
"""How a comment begins that the server runs; no server has the version 999999."""

_TEMPLATE: Final = re.compile(
    r"\{\{\s*-?\s*[^\W\d].*?\}\}|\{\{\s*['\"].*?\}\}|\{%.*?%\}|\$\{.*?\}|<%.*?%>|\$\(\w+\)", re.DOTALL
)
"""A placeholder within a quoted name; braces around numbers are an array's text."""

NOTHING: Final = Token(TokenKind.END, "", "", -1, -1)


class Lexer:
    """Walks through one text. `pos` may be moved by whoever knows better."""

    def __init__(self, text: str, dialect: Dialect, *, source: str, first_line: int = 1) -> None:
        """`first_line` is the number of the text's first line in its file."""
        self.text = text
        self.dialect = dialect
        self.source = source
        self.pos = 0
        self._first_line = first_line
        self._breaks: list[int] | None = None
        self._lexicon = lexicon(dialect)
        self._open_versions = 0
        self.delimiter = ";"
        """What ends a statement now, where the client was told so."""

    def line(self, at: int) -> int:
        """The number of the line that holds the character at `at`."""
        if self._breaks is None:
            self._breaks = [match.start() for match in re.finditer("\n", self.text)]
        return self._first_line + bisect_right(self._breaks, at - 1)

    def next(self) -> Token:
        """The next token, or one of kind END. Raises `TemplatedError` at a placeholder."""
        match_at = self._lexicon.token.match
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
            if group == "sign":
                token = self._sign(text, start, end)
                if token is not None:
                    return token
            elif group == "comment":
                token = self._comment(start)
                if token is not None:
                    return token
            elif group == "template":
                if not self._template(start):
                    self.pos = start + 1
                    return Token(TokenKind.SIGN, text[0], text[0], start, start + 1)
            else:
                return self._other(group, text, start, end)

    def _other(self, group: str, text: str, start: int, end: int) -> Token:
        if group == "string":
            return _string(text, start, end, self.dialect)
        if group == "name":
            return self._name(text, start, end)
        if group == "number":
            return Token(TokenKind.NUMBER, text, text.upper(), start, end)
        if group == "variable":
            return Token(TokenKind.VARIABLE, text, text.upper(), start, end)
        if self.delimiter[0] == "$" and self.text.startswith(self.delimiter, start):
            self.pos = start + len(self.delimiter)
            return Token(TokenKind.SIGN, self.delimiter, self.delimiter, start, self.pos)
        closing = self.text.find(text, end)
        if closing < 0:
            return self._broken(start) if text == "$$" else self._one_sign(start)
        self.pos = closing + len(text)
        return Token(TokenKind.STRING, self.text[end:closing], "", start, self.pos, "$", end)

    def _one_sign(self, start: int) -> Token:
        self.pos = start + 1
        return Token(TokenKind.SIGN, "$", "$", start, start + 1)

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
        """Goes past the block comment that begins at `start`, or into it where the server runs what it holds."""
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
        if template := _TEMPLATE.search(text):
            raise self._refusal(template[0], start)
        escaped = text[0] in "uU"
        text = text.lstrip("uU&") if escaped else text
        quote, closing = text[0], text[-1]
        name = text[1:-1].replace(closing * 2, closing)
        return Token(TokenKind.QUOTED, self._unescaped(name) if escaped else name, "", start, end, quote)

    def _unescaped(self, name: str) -> str:
        """What `U&"..."` stands for; UESCAPE behind it, which names another sign than the backslash, is passed."""
        sign = "\\"
        if named := re.compile(r"\s*UESCAPE\s*'(.)'", re.IGNORECASE).match(self.text, self.pos):
            self.pos, sign = named.end(), named[1]
        escape = re.escape(sign)
        pattern = rf"{escape}(?:({escape})|\+([0-9a-fA-F]{{6}})|([0-9a-fA-F]{{4}}))"
        return re.sub(pattern, lambda found: found[1] or chr(int(found[2] or found[3], 16) % 0x110000), name)

    def _template(self, start: int) -> bool:
        """Raises if a placeholder begins at `start`; False where the same signs mean something else."""
        here = self.text[start : start + 400]
        if here.startswith("<%"):  # pg_trgm has an operator of that look
            shown = re.match(r"<%[=\-]?[^\n]*?%>", here)
        elif here.startswith("$("):
            shown = re.match(r"\$\([^\W\d]\w*\)", here)
        elif here.startswith("&{"):
            shown = re.match(r"&\{\w+\}", here)
        elif here.startswith("${"):
            shown = re.match(r"\$\{[^}\n]*\}?", here)
        else:
            shown = re.match(r"\{\{.*?\}\}|\{%.*?%\}|\{\#.*?\#\}|\{[{%]", here, re.DOTALL)
        if shown is None:
            return False
        raise self._refusal(shown[0], start)

    def _refusal(self, placeholder: str, at: int) -> TemplatedError:
        return TemplatedError(placeholder, source=self.source, line=self.line(at))

    def skip(self) -> Token:
        """Goes to the end of the statement without looking at its words.

        The answer is the semicolon that ended it, the BROKEN token that did, or END; a line that ends a statement by itself
        (GO, a slash, DELIMITER, a client's command) ends it before that line, with a line break for a sign; where statements
        need no semicolons, a word that may begin one is the answer, and not passed.
        """
        run = self._lexicon.statement.match
        text = self.text
        while True:
            if (match := run(text, self.pos)) is not None:
                self.pos = match.end()
            start = self.pos
            sign = text[start : start + 1]
            if not sign:
                return Token(TokenKind.END, "", "", start, start)
            if sign == ";":
                self.pos += 1
                return Token(TokenKind.SIGN, ";", ";", start, self.pos)
            if sign == "\n":
                self.pos += 1
                return Token(TokenKind.SIGN, "\n", "\n", start, self.pos)
            if sign == "\\":  # a command to the client, to be read next
                return Token(TokenKind.SIGN, "\n", "\n", start, start)
            token = self._closer(start)
            if token is not None and (token.kind is TokenKind.BROKEN or token.kind is TokenKind.WORD):
                self.pos = token.end if token.kind is TokenKind.BROKEN else token.start
                return token

    def skip_parens(self) -> bool:
        """Goes behind the parenthesis that closes the one just read; False, and stays, where a statement would end first."""
        run = self._lexicon.inside.match
        begin, depth = self.pos, 1
        while depth:
            if (match := run(self.text, self.pos)) is not None:
                self.pos = match.end()
            sign = self.text[self.pos : self.pos + 1]
            if sign and sign in "()":
                depth += 1 if sign == "(" else -1
                self.pos += 1
            elif sign in {"", ";", "\n"} or ((token := self._closer(self.pos)) and token.kind is TokenKind.BROKEN):
                self.pos = begin
                return False
        return True

    def _closer(self, start: int) -> Token | None:
        """The one thing at `start` that cannot be passed over in a run; a comment gives nothing."""
        if self.text.startswith("/*", start):
            return self._comment(start)
        if self.text.startswith("*/", start):
            self._open_versions = max(0, self._open_versions - 1)
            self.pos = start + 2
            return None
        return self.next()


def tokens_of(text: str, dialect: Dialect, *, source: str = "", limit: int = 0) -> list[Token]:
    """Return the text's tokens, up to its end or to something that never closes; at most `limit` of them if that is not 0."""
    lexer, tokens = Lexer(text, dialect, source=source), list[Token]()
    while (token := lexer.next()).kind not in {TokenKind.END, TokenKind.BROKEN}:
        tokens.append(token)
        if len(tokens) == limit:
            break
    return tokens


def _string(text: str, start: int, end: int, dialect: Dialect) -> Token:
    """The string's value. Escapes are undone as far as SQL inside a string needs it: quotes, backslashes, line ends."""
    opening = re.match("[^'\"]*", text)
    prefix = opening[0].lower() if opening else ""
    body = text[len(prefix) :]
    quote = body[0]
    width = 3 if dialect.triple_quotes and len(body) >= 6 and body[:3] == quote * 3 else 1
    value = body[width:-width]
    if width == 1:
        value = value.replace(quote * 2, quote)
    escaped = "e" in prefix or (dialect.backslash and "r" not in prefix)
    if escaped and "\\" in value:
        value = re.sub(r"\\(.)", _unescape, value, flags=re.DOTALL)
    return Token(TokenKind.STRING, value, "", start, end, quote, start + len(prefix) + width)


def _unescape(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": " "}.get(match[1], match[1])
