"""What a connection keeps of one call: received pieces, unsent bytes, and what it owes the peer's window."""

from __future__ import annotations

from collections import deque

from txdagu.wire.framing import FrameReader
from txdagu.wire.sending import Outbox


class Stream:
    """One call on a connection: what arrives is put together in `reader`, what leaves waits in `outbox`."""

    __slots__ = (
        "accepted",
        "compressing",
        "credit_given",
        "credit_open",
        "encoding",
        "headers_done",
        "held_messages",
        "held_metadata",
        "held_partial",
        "ignoring",
        "messages_open",
        "messages_seen",
        "outbox",
        "reader",
        "remote_ended",
        "stream_id",
    )

    def __init__(self, stream_id: int, max_message_size: int) -> None:
        self.stream_id = stream_id
        self.reader = FrameReader(max_message_size)
        self.outbox = Outbox(stream_id)
        self.encoding = b""  # of what arrives
        self.accepted = b""  # the encodings that a client can read
        self.compressing = False  # whether our messages are sent as gzip
        self.headers_done = False
        self.ignoring = False
        self.remote_ended = False
        # Flow control. Bytes of delivered messages come back by `consumed`. Those of an incomplete message are given back
        # as they come, since nobody could consume it otherwise, but only while no delivered message waits to be consumed.
        self.messages_open = 0
        self.credit_given = 0  # given back in advance for the incomplete message
        self.credit_open = 0  # to be given back with the next WINDOW_UPDATE
        # Bytes held for the peer while it has more to send: messages nobody has taken yet, the incomplete one, metadata.
        self.held_messages: deque[int] | None = None
        self.held_partial = 0
        self.held_metadata = 0
        self.messages_seen = 0

    @property
    def held(self) -> int:
        """How many bytes this call's requests (or responses) occupy, as far as they are counted."""
        return self.held_partial + self.held_metadata + sum(self.held_messages or ())

    def advance_credit(self) -> None:
        """What has come of the incomplete message may be given back."""
        pending = self.reader.pending
        self.credit_open += pending - self.credit_given
        self.credit_given = pending
