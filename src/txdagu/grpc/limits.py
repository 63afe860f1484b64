"""What one server gives its clients at most. docs/limits.md explains each number."""

from __future__ import annotations

from dataclasses import dataclass, fields

from txdagu.wire.server import DEFAULT_MAX_STREAMS


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """
    Limits of a `GrpcServerFactory`. All are positive; ValueError names those that are not, all at once.

    The defaults suit a thousand workers with a hundred parked polls each, all behind one address (NAT).
    """

    connections: int = 10_000
    """Open connections in all."""
    connections_per_address: int = 5_000
    """Open connections of one host address."""
    streams: int = 200_000
    """Calls whose handlers run, in all. Beyond it new calls are refused in a way that lets clients repeat them."""
    streams_per_connection: int = DEFAULT_MAX_STREAMS
    """Open calls on one connection; beyond it as above."""
    handshake_seconds: float = 30.0
    """From the accepted connection, TLS included, to the client's SETTINGS frame."""
    header_seconds: float = 20.0
    """
    For a header block that has begun to arrive. This is also how often slow connections are looked at, so each of these
    times may be exceeded by that much.
    """
    message_seconds: float = 300.0
    """
    For a request message that has begun, and for the one request of a call that takes one. Calls themselves may be as
    long as they like.
    """
    unread_seconds: float = 300.0
    """How long a client may read nothing at all while the transport is full, or nothing of an answer that is complete."""
    unread_bytes: int = 4 * 1024 * 1024
    """What may pile up for a transport that is full: replies without messages. Messages are held back before."""
    held_bytes_per_connection: int = 256 * 1024 * 1024
    """Memory held for one connection: unfinished or waiting requests, and answers that it does not take."""
    held_bytes: int = 1024 * 1024 * 1024
    """The same for all connections. Beyond it the connection that holds most is ended."""

    def __post_init__(self) -> None:
        """Check all values."""
        wrong = [
            f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if getattr(self, field.name) <= 0
        ]
        if wrong:
            raise ValueError(f"limits of a server must be greater than zero: {', '.join(wrong)}")


DEFAULT_LIMITS = ServerLimits()
