"""A place in a statement's tokens, moved by the rules that read it."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.changes.lexer import NOTHING, Token


class Cursor:
    """Reads tokens from left to right; behind the last one there is NOTHING, for ever."""

    def __init__(self, tokens: Sequence[Token], at: int = 0) -> None:
        """Stands before the token with the number `at`."""
        self.tokens = tokens
        self.at = at

    def peek(self, ahead: int = 0) -> Token:
        """The token that comes next, or `ahead` tokens later."""
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else NOTHING

    @property
    def word(self) -> str:
        """The next token as rules compare it: a word in upper case, a sign, or an empty string."""
        return self.tokens[self.at].upper if self.at < len(self.tokens) else ""

    def next(self) -> Token:
        """Takes the next token."""
        token = self.peek()
        self.at += 1
        return token

    def take(self, *words: str) -> bool:
        """Goes past `words`, where exactly these come next."""
        if self.at + len(words) > len(self.tokens):
            return False
        for ahead, word in enumerate(words):
            if self.tokens[self.at + ahead].upper != word:
                return False
        self.at += len(words)
        return True

    def take_any(self, words: frozenset[str]) -> str:
        """Goes past one of `words`; the answer is the one, or an empty string."""
        word = self.word
        if word in words:
            self.at += 1
            return word
        return ""

    def done(self) -> bool:
        """Whether nothing follows."""
        return self.at >= len(self.tokens)

    def rest(self) -> Sequence[Token]:
        """The tokens that follow."""
        return self.tokens[self.at :]

    def find(self, *words: str) -> int:
        """How far ahead, outside parentheses, one of `words` comes; -1 if none does."""
        depth = 0
        for ahead, token in enumerate(self.tokens[self.at :]):
            if depth == 0 and token.upper in words:
                return ahead
            depth += (token.upper == "(") - (token.upper == ")")
        return -1

    def holds(self, word: str) -> bool:
        """Whether `word` comes anywhere in what follows."""
        return any(token.upper == word for token in self.tokens[self.at :])

    def skip_parens(self) -> None:
        """Goes past a pair of parentheses and all between, where one opens here."""
        if self.word != "(":
            return
        depth = 0
        while not self.done():
            word = self.next().upper
            depth += (word == "(") - (word == ")")
            if not depth:
                return


def split_commas(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """The parts between the commas that stand outside parentheses."""
    parts: list[Sequence[Token]] = []
    depth = begin = 0
    for at, token in enumerate(tokens):
        word = token.upper
        if word in {"(", "["}:
            depth += 1
        elif word in {")", "]"}:
            depth -= 1
        elif word == "," and depth <= 0:
            parts.append(tokens[begin:at])
            begin = at + 1
    parts.append(tokens[begin:])
    return parts
