"""A position in a statement's tokens, moved by the rules that read it."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from orchestrator.changes.lexer import NOTHING, Token


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

    def skip_parens(self) -> Sequence[Token]:
        """Pass a pair of parentheses that opens here, and return the tokens inside; nothing if none opens."""
        if self.word != "(":
            return ()
        begin, depth = self.at, 0
        while not self.done():
            word = self.next().upper
            depth += (word == "(") - (word == ")")
            if not depth:
                break
        return self.tokens[begin + 1 : self.at - (not depth)]


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
