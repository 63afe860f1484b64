"""Server-sent events, as the HTML standard defines them: bytes of a stream to the data of its events. No I/O."""

from __future__ import annotations

import re

from txdagu.model.errors import DaguError

LONGEST = 8 * 1024 * 1024
"""Bytes of one event; a longer one is an error."""


_END = re.compile(rb"[\r\n]")


class EventTooLongError(DaguError):
    """An event is longer than what is kept of one."""


class EventStream:
    """Takes pieces of a stream. Names and ids of events mean nothing to us and are left out; so are comments."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._data: list[str] = []
        self._size = 0
        self._searched = 0  # so much of the rest has no end of a line
        self._skip_newline = False

    def feed(self, data: bytes) -> list[str]:
        """The data of all events that are complete with this piece. Raises `EventTooLongError`."""
        self._rest += data
        found: list[str] = []
        while (line := self._line()) is not None:
            if line:
                self._take(line)
            elif self._data:
                found.append("\n".join(self._data))
                self._data.clear()
                self._size = 0
        if len(self._rest) + self._size > self._longest:
            raise EventTooLongError(f"an event of the answer is longer than {self._longest} bytes")
        return found

    def _line(self) -> bytes | None:
        """The next line without its end, which is LF, CR LF or CR."""
        if self._skip_newline and self._rest:
            self._skip_newline = False
            if self._rest[:1] == b"\n":
                del self._rest[:1]
                self._searched = 0
        found = _END.search(self._rest, self._searched)
        if found is None:
            self._searched = len(self._rest)
            return None
        end = found.start()
        line = bytes(self._rest[:end])
        self._skip_newline = self._rest[end : end + 1] == b"\r"
        del found  # it keeps the buffer from being cut
        del self._rest[: end + 1]
        self._searched = 0
        return line

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._size += len(value)
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
