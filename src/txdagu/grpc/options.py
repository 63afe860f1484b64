"""What can be chosen about a channel, and about one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from txdagu.grpc.connectivity import DEFAULT_BACKOFF, Backoff
from txdagu.grpc.keepalive import DEFAULT_KEEPALIVE, KeepaliveTimes
from txdagu.wire.compression import Compression
from txdagu.wire.connection import DEFAULT_MAX_MESSAGE_SIZE
from txdagu.wire.metadata import Metadata


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """The choices of a channel. All times are in seconds."""

    scheme: str = "http"
    """``:scheme`` of the calls: ``https`` over TLS."""
    max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE
    """The largest response that is read, in bytes, before and after decompression."""
    compression: Compression = "identity"
    """How requests are compressed unless a call says otherwise."""
    backoff: Backoff = DEFAULT_BACKOFF
    connect_timeout: float = 20.0
    """How long an attempt may take, from looking up the name to the server's SETTINGS."""
    keepalive: KeepaliveTimes = DEFAULT_KEEPALIVE
    idle_timeout: float | None = 1800.0
    """A connection without calls is closed after this time; None keeps it. The next call connects again."""
    max_connections: int = 4
    """
    How many connections may carry calls at once. More than one is made only when calls wait because the server's
    MAX_CONCURRENT_STREAMS is reached. Many servers allow 100: one connection would let parked calls starve all others.
    """
    stream_patience: float = 0.25
    """How long a call waits for a free stream before another connection is made: short calls free theirs sooner."""

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        if self.max_connections < 1:
            raise ValueError(f"max_connections is {self.max_connections}; a channel needs at least one")


DEFAULT_OPTIONS = ChannelOptions()


class CallOptions(TypedDict, total=False):
    """The choices of one call."""

    timeout: float | None
    """Seconds for everything from here to the last byte; without it a call may take for ever."""
    metadata: Metadata | None
    """Sent ahead of the first request."""
    wait_for_ready: bool
    """Wait through failed attempts to connect, instead of failing with the first."""
    compression: Compression | None
    """How requests are compressed; None is what the channel says."""
