"""
How much of what costs us more than it costs the peer is too much.

Complete calls and their messages are what a connection is for: they are never counted against a peer, however many there
are. All else has a budget per connection: control frames, pieces of frames, resets. A budget is a bucket of tokens. It
begins full, and a token comes back with time and with honest work, so a peer that does what peers do never empties it.

What is known of honest peers: clients written with grpc-go send a PING after they received data, at most one per round
trip; a worker that ends cancels a hundred polls at once; one whose calls run out of time resets each of them. What is
known of attacks: CVE-2023-44487 (rapid reset), CVE-2025-8671 (the peer is made to reset), CVE-2024-27316 and CVE-2019-9518
(empty CONTINUATION and other empty frames), CVE-2019-9512 (pings), -9515 (settings), -9513 (priorities), -9511 (dribbled
windows), -9514 (provoked resets).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(1, 10)
END_HEADERS = 0x4
# Not frames of their own, but budgets of their own; numbers above those of all frame types.
UNKNOWN_FRAME = 256
FRAGMENT = 257
LATE_FRAME = 258
REFUSED_CALL = 259
INFORMATION = 260

# A piece of a message smaller than this that completes none is counted: honest peers send few.
SMALL_PIECE = 256
# The encoded bytes of one header block: as many as the largest list we would decode (`http2.LARGEST_HEADER_LIST`).
LARGEST_HEADER_BLOCK = 256 * 1024
# A stream that has lived this long was no rapid reset, and may be reset for nothing.
_OLD_ENOUGH = 1.0
_SETTINGS_PER_TOKEN = 10
_STREAMS_PER_TOKEN = 5_000


class TooMuchError(Exception):
    """A budget is used up. `name` is what the GOAWAY (ENHANCE_YOUR_CALM) says, such as ``too_many_pings``."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Budget:
    """
    How much is allowed at once (`burst`), and what is earned: per second, per call that went its whole way, per message in
    either direction, and per KiB that we sent.
    """

    name: str
    burst: int
    per_second: float
    per_call: float = 0
    per_message: float = 0
    per_kib: float = 0


BUDGETS = {
    PRIORITY: Budget("too_many_priorities", 1_000, 100),
    RST_STREAM: Budget("too_many_resets", 1_000, 100, per_call=1),
    SETTINGS: Budget("too_many_settings", 50, 1),
    PING: Budget("too_many_pings", 200, 10, per_message=1, per_kib=0.25),
    GOAWAY: Budget("too_many_goaways", 20, 1),
    WINDOW_UPDATE: Budget("too_many_window_updates", 2_000, 200, per_message=4, per_kib=2),
    CONTINUATION: Budget("too_many_continuations", 500, 50, per_call=4),
    UNKNOWN_FRAME: Budget("too_many_unknown_frames", 1_000, 100),
    FRAGMENT: Budget("too_many_small_frames", 2_000, 200, per_message=4),
    LATE_FRAME: Budget("too_many_late_frames", 5_000, 500, per_call=32),
    REFUSED_CALL: Budget("too_many_refused_calls", 10_000, 1_000),
    INFORMATION: Budget("too_many_informational_headers", 100, 10, per_call=1),
}
"""By frame type, or one of the numbers above."""


class Policing:
    """
    The budgets of one connection. `frame` and `charge` raise `TooMuchError`.

    Whoever owns the connection says what time it is (`at`) and counts the honest work (`calls`, `messages`, `sent`, the
    last in bytes) by adding to it. Only when a budget seems empty is what was earned worked out, so counting is cheap.
    """

    __slots__ = (
        "_left",
        "_mark",
        "_mark_id",
        "_old",
        "_since",
        "block_size",
        "block_stream",
        "calls",
        "messages",
        "now",
        "sent",
    )

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0
        self.messages = 0
        self.sent = 0
        self.block_stream = 0
        """The stream whose header block is not finished yet, or 0."""
        self.block_size = 0
        self._left: dict[int, float] = {}
        self._since: dict[int, tuple[float, int, int, int]] = {}
        self._mark = 0.0
        self._mark_id = 0
        self._old = 0

    def at(self, now: float, highest_stream: int) -> None:
        """It is `now`, in seconds of any steady clock, and this is the newest stream that the peer has opened."""
        if now - self._mark >= _OLD_ENOUGH:
            self._old = highest_stream if now - self.now >= _OLD_ENOUGH else self._mark_id
            self._mark, self._mark_id = now, highest_stream
        self.now = now

    def frame(self, kind: int, flags: int, length: int, stream_id: int, open_streams: Collection[int]) -> None:
        """Count a frame that is neither DATA nor a whole block of HEADERS; `length` is that of its payload."""
        if kind in (HEADERS, CONTINUATION):
            self._header_piece(flags, length, stream_id)
        elif kind == RST_STREAM:
            if stream_id > self._old or stream_id not in open_streams:
                self.charge(RST_STREAM)
        elif kind == SETTINGS:
            # Each pair may be remembered, and a new window is worked out for each stream.
            pairs, streams = length // 6, len(open_streams)
            self.charge(SETTINGS, 1 + pairs // _SETTINGS_PER_TOKEN + streams // _STREAMS_PER_TOKEN)
        else:
            self.charge(kind if kind in BUDGETS else UNKNOWN_FRAME)

    def charge(self, kind: int, tokens: int = 1) -> None:
        """Take tokens from a budget."""
        left = self._left.get(kind)
        if left is None:
            left = BUDGETS[kind].burst
            self._since[kind] = (self.now, self.calls, self.messages, self.sent)
        if left < tokens:
            left = self._refilled(kind, left)
            if left < tokens:
                budget = BUDGETS[kind]
                raise TooMuchError(
                    budget.name,
                    f"{budget.name}: more than {budget.burst} at once and {budget.per_second:g} a second, "
                    "beyond what its calls account for",
                )
        self._left[kind] = left - tokens

    def _refilled(self, kind: int, left: float) -> float:
        budget = BUDGETS[kind]
        then, calls, messages, sent = self._since[kind]
        self._since[kind] = (self.now, self.calls, self.messages, self.sent)
        earned = (
            (self.now - then) * budget.per_second
            + (self.calls - calls) * budget.per_call
            + (self.messages - messages) * budget.per_message
            + (self.sent - sent) / 1024 * budget.per_kib
        )
        return min(left + earned, budget.burst)

    def _header_piece(self, flags: int, length: int, stream_id: int) -> None:
        self.charge(CONTINUATION)
        self.block_size += length
        if self.block_size > LARGEST_HEADER_BLOCK:
            raise TooMuchError(
                "header_block_too_large", f"a header block of more than {LARGEST_HEADER_BLOCK} bytes that goes on"
            )
        if flags & END_HEADERS:
            self.block_stream = self.block_size = 0
        else:
            self.block_stream = stream_id
