"""
What a container prints, as an engine sends it: both streams in one, cut into frames. Sans-I/O.

A frame has a head of eight bytes: the stream (0 or 1 standard output, 2 standard error), three zeros, the length of the data as a
32 bit number, most significant byte first. It is described at "Attach to a container" in the reference of Docker's Engine API.
A container with a terminal has one stream without frames.
"""

from __future__ import annotations

from txdagu.model.errors import DaguError

HEAD = 8
ERROR_STREAM = 2

Piece = tuple[bool, bytes]


class MultiplexedStream:
    """
    Takes bytes as they arrive, however they were cut. `framed` is false for containers with a terminal.

    Data is handed on as it comes, not when its frame is whole, so that nothing but a head is ever kept.
    """

    def __init__(self, *, framed: bool = True) -> None:
        self._framed = framed
        self._head = bytearray()
        self._left = 0
        self._error = False

    def feed(self, data: bytes) -> list[Piece]:
        """
        What was printed: whether it went to standard error, and the bytes; never empty ones.

        Raises `DaguError` for bytes that cannot be the head of a frame.
        """
        if not self._framed:
            return [(False, data)] if data else []
        pieces: list[Piece] = []
        position = 0
        while position < len(data):
            if not self._left:
                taken = data[position : position + HEAD - len(self._head)]
                self._head += taken
                position += len(taken)
                if len(self._head) == HEAD:
                    self._begin()
                continue
            piece = data[position : position + self._left]
            self._left -= len(piece)
            position += len(piece)
            pieces.append((self._error, piece))
        return pieces

    @property
    def cut(self) -> bool:
        """Whether the stream would end within a frame if it ended now."""
        return bool(self._left or self._head)

    def _begin(self) -> None:
        stream, zeros = self._head[0], bytes(self._head[1:4])
        if stream > ERROR_STREAM or any(zeros):
            raise DaguError(
                f"the container engine sent {bytes(self._head)!r} where the head of a frame was due: what it calls "
                "Docker's API is something else"
            )
        self._error = stream == ERROR_STREAM
        self._left = int.from_bytes(self._head[4:], "big")
        self._head.clear()
