"""Messages in a byte stream: one flag byte (compressed or not), four bytes of length, then the message."""

from __future__ import annotations

from typing import NamedTuple

from txdagu.wire.status import RpcError, StatusCode

PREFIX_SIZE = 5
LARGEST_LENGTH = 0xFFFFFFFF


class Frame(NamedTuple):
    """One message as it was sent: still compressed if `compressed` is set."""

    compressed: bool
    payload: bytes


def encode_frame(payload: bytes, *, compressed: bool = False) -> bytes:
    """A message with its prefix. Raises RESOURCE_EXHAUSTED for more than the format can carry (4 GiB)."""
    if len(payload) > LARGEST_LENGTH:
        raise RpcError(
            StatusCode.RESOURCE_EXHAUSTED, f"a message of {len(payload)} bytes does not fit into a gRPC frame"
        )
    return (b"\x01" if compressed else b"\x00") + len(payload).to_bytes(4, "big") + payload


class FrameReader:
    """
    Puts messages together from pieces of any size, none larger than `max_size` bytes.

    `feed` raises `RpcError`: RESOURCE_EXHAUSTED as soon as a prefix announces too much, INTERNAL for a prefix that is none.
    """

    __slots__ = ("_buffer", "_max_size")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._buffer: bytearray | None = None

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete message (its prefix included) are held."""
        return len(self._buffer) if self._buffer else 0

    def feed(self, data: bytes) -> list[Frame]:
        """The messages which these bytes complete."""
        source: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            source = self._buffer
        frames = []
        position = 0
        available = len(source)
        while available - position >= PREFIX_SIZE:
            flag = source[position]
            length = int.from_bytes(source[position + 1 : position + PREFIX_SIZE], "big")
            if flag > 1:
                raise RpcError(StatusCode.INTERNAL, f"grpc: a message begins with {flag}, which is no compression flag")
            if length > self._max_size:
                raise RpcError(
                    StatusCode.RESOURCE_EXHAUSTED,
                    f"grpc: received message larger than max ({length} vs. {self._max_size})",
                )
            end = position + PREFIX_SIZE + length
            if end > available:
                break
            frames.append(Frame(flag == 1, bytes(source[position + PREFIX_SIZE : end])))
            position = end
        if source is self._buffer:
            del self._buffer[:position]
        elif position < available:
            self._buffer = bytearray(data[position:])
        return frames
