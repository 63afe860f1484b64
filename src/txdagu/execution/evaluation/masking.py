"""Secrets in what a run shows: found in texts and byte streams, and replaced by stars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "*******"
_BARE = " bare"  # behind the name of a secret, in sealed texts: its value without the white space around it

Sealed = tuple[str, ...]
"""A text whose secrets are named instead of shown: pieces of text and names of secrets in turn, text first."""


class Masker:
    """
    Replaces the values of secrets; where several could begin at one place, the longest.

    `secrets` maps names to values. Empty values hide nothing. A value is found without the white space around it, too: that of a
    file mostly ends with a line, and loses its end when a shell cuts it into words.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = {name: value for name, value in secrets.items() if value}
        self._names: dict[str, str] = {}
        for name, value in self.secrets.items():
            self._names.setdefault(value, name)
        bare = {f"{name}{_BARE}": value.strip() for name, value in self.secrets.items() if value.strip()}
        for name, value in bare.items():
            self._names.setdefault(value, name)
        self._values = {**self.secrets, **bare}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._bytes = _BytesPattern([value.encode("utf-8", "surrogateescape") for value in self._names])

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._names)

    def text(self, text: str) -> str:
        """The text with stars."""
        return self._pattern.sub(MASK, text) if self._names else text

    def seal(self, text: str) -> Sealed | None:
        """The text in pieces from which `unseal` makes it again; None if there is no secret in it."""
        pieces: list[str] = []
        position = 0
        for match in self._pattern.finditer(text):
            pieces += (text[position : match.start()], self._names[match[0]])
            position = match.end()
        return (*pieces, text[position:]) if pieces else None

    def unseal(self, sealed: Sealed) -> str:
        """The text as it was; a secret that is not known any more gives stars."""
        return "".join(self._values.get(piece, MASK) if index % 2 else piece for index, piece in enumerate(sealed))

    def stream(self) -> MaskedStream:
        """For one stream of bytes."""
        return MaskedStream(self._bytes)


class _BytesPattern:
    """The secrets as bytes, ready to be searched for in pieces of a stream."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self.values = sorted(values, key=len, reverse=True)
        self.pattern = re.compile(b"|".join(map(re.escape, self.values)) or rb"(?!)")
        self.longest = len(self.values[0]) if self.values else 0
        self._firsts = re.compile(b"|".join(sorted({re.escape(value[:1]) for value in self.values})))

    def undecided(self, data: bytes) -> int:
        """Where the first part of `data` begins that more bytes could make a longer secret; its length if none does."""
        for match in self._firsts.finditer(data, max(0, len(data) - self.longest + 1)):
            tail = data[match.start() :]
            if any(len(value) > len(tail) and value.startswith(tail) for value in self.values):
                return match.start()
        return len(data)


class MaskedStream:
    """Masks bytes that come in pieces, wherever they are cut; holds back no more than one secret's length."""

    def __init__(self, pattern: _BytesPattern) -> None:
        self._pattern = pattern
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be told after this piece."""
        if not self._pattern.values:
            return data
        data = self._held + data
        undecided = self._pattern.undecided(data)
        shown, rest = self._masked(data, undecided)
        self._held = rest
        return shown

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, b""
        return self._pattern.pattern.sub(MASK.encode(), held) if held else b""

    def _masked(self, data: bytes, undecided: int) -> tuple[bytes, bytes]:
        """Everything before `undecided` with stars, and the rest; a secret that reaches over that place is settled."""
        pieces: list[bytes] = []
        position = 0
        for match in self._pattern.pattern.finditer(data):
            if match.start() >= undecided:
                break
            pieces += (data[position : match.start()], MASK.encode())
            position = match.end()
        end = max(position, undecided)
        return b"".join((*pieces, data[position:end])), data[end:]
