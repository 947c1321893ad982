"""Decoding of an answer's body by its `Content-Encoding`: gzip and deflate, a piece at a time and up to a limit.

aiohttp's own decoding is off: it rejects an answer whose coding it does not know before anybody sees its status.
"""

from __future__ import annotations

import zlib
from typing import Final

ACCEPTED: Final = "gzip, deflate"
"""The codings to ask for: those that `Decoder` knows."""

_GZIP: Final = frozenset({"gzip", "x-gzip"})
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
_NAME_CHARACTERS: Final = 60


class UndecodableBody(Exception):
    """The body cannot be decoded; the text says why, in words that can be shown."""


class Decoder:
    """Decodes one body. Raises UndecodableBody for a coding that it does not know."""

    def __init__(self, content_encoding: str) -> None:
        names = [name for part in content_encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
        self._name = names[0] if names else ""
        self._unzip: zlib._Decompress | None = None
        self._is_first = True
        if len(names) > 1 or self._name not in {"", "deflate", *_GZIP}:
            shown = ", ".join(names).encode("ascii", "replace").decode()[:_NAME_CHARACTERS]
            raise UndecodableBody(f"the answer is encoded as {shown}, which was not asked for")

    def decode(self, data: bytes, most: int) -> bytes:
        """The next decoded bytes, `most` of them at most (more than 0); raises UndecodableBody."""
        if not self._name or not data:
            return data
        try:
            return self._inflate(data, most)
        except zlib.error:
            raise UndecodableBody(f"the answer says that it is encoded as {self._name}, and is not") from None

    @property
    def is_whole(self) -> bool:
        """Whether the body may end here."""
        return self._unzip is None or self._unzip.eof

    def _inflate(self, data: bytes, most: int) -> bytes:
        decoded = b""
        while data and len(decoded) < most:
            if self._unzip is None or self._unzip.eof:
                if not self._is_first and data[:1] != b"\x1f":
                    # gzip may have several members; whatever else follows the last one is padding
                    break
                self._unzip = zlib.decompressobj(self._bits(data))
                self._is_first = False
            decoded += self._unzip.decompress(data, most - len(decoded))
            data = self._unzip.unused_data
        return decoded

    def _bits(self, data: bytes) -> int:
        if self._name in _GZIP:
            return _GZIP_BITS
        # the name means zlib's format; some servers send the bare one
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS
