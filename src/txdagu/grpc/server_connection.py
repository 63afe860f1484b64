"""The server's end of one connection: finds the handler of each call, and ends in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txdagu.grpc.lifetime import ConnectionLifetime
from txdagu.grpc.server_call import ServerCall
from txdagu.grpc.slow_peers import SlowPeerWatch
from txdagu.grpc.tls_failures import TLS_BEGINS, Trouble, with_advice
from txdagu.grpc.transport import ConnectionProtocol
from txdagu.wire.compression import IDENTITY
from txdagu.wire.events import (
    CallCancelled,
    CallRejected,
    CallStarted,
    ConnectionBroken,
    Event,
    MessageReceived,
    PeerReady,
    PingAnswered,
    RequestsEnded,
    SendingResumed,
)
from txdagu.wire.server import ServerConnection
from txdagu.wire.status import StatusCode

if TYPE_CHECKING:
    from txdagu.grpc.server import GrpcServerFactory

# How long a client may take to answer the ping behind a first GOAWAY before its further calls are refused.
LEAVE_TIMEOUT = 5.0
# How long a client may take to close a connection that has come to its end. Closing it here with bytes unread could destroy
# answers that are still on their way.
LINGER_TIME = 1.0
_OF_CALLS = frozenset({MessageReceived, RequestsEnded, CallRejected, CallCancelled, SendingResumed})


class GrpcServerProtocol(ConnectionProtocol):
    """One connection of a client: finds the handler of each call and keeps the calls that are going on."""

    log = Logger()

    def __init__(self, factory: GrpcServerFactory, peer: str, host: str) -> None:
        limits = factory.server_limits
        self.core = ServerConnection(
            max_message_size=factory.max_message_size, max_streams=limits.streams_per_connection
        )
        super().__init__(self.core, factory.clock, max_unread=limits.unread_bytes)
        self.peer = peer
        self.host = host
        """The address without a port: what connections are counted by."""
        self.held_bytes = 0
        """What is held for the client, as of the last write."""
        self._server = factory
        self._calls: dict[int, ServerCall] = {}
        self._watch = SlowPeerWatch(factory.clock, limits, self)
        self._lifetime = ConnectionLifetime(self, factory.clock, factory.limits, factory.random)
        self._leaving: str | None = None
        self._end_timer: IDelayedCall | None = None
        self._lingering = False
        self._first_bytes: bytes | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no handler runs and every answer is written."""
        return not self._calls and self.core.open_streams == 0

    @property
    def last_stream_id(self) -> int:
        """The number of the newest call; see `LimitedConnection`."""
        return self.core.last_stream_id

    def connectionMade(self) -> None:
        """Wait for the client's settings, but not for ever."""
        super().connectionMade()
        self._watch.begin()
        self._server.connection_opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Work on received bytes, and see to it that what they begin is finished."""
        self._lifetime.heard()
        if self._first_bytes is None:
            self._first_bytes = data[: len(TLS_BEGINS)]
        super().dataReceived(data)
        if self.is_open:
            self._watch.heard()

    def handle(self, event: Event) -> None:
        """Pass an event on to its call."""
        kind = event.__class__
        if kind in _OF_CALLS:
            call = self._calls.get(event.stream_id)  # type: ignore[union-attr]  # all of these have one
            if call is not None:
                call.handle(event)  # type: ignore[arg-type]
            if self._leaving is not None:
                self._end_if_done()
            return
        match event:
            case CallStarted():
                self._call_started(event)
            case PeerReady():
                self._watch.handshake_done()
                self._lifetime.start()
            case ConnectionBroken():
                reason = self._why_broken(event.reason)
                self._server.complaints.add(self.host, f"closing the connection of {self.peer}: {reason}", cause=reason)
                self.hang_up()
            case PingAnswered():
                if self._leaving is not None:
                    self._end_if_done()

    def _why_broken(self, reason: str) -> str:
        """The reason, unless the client meant to speak TLS, which says more."""
        if self._first_bytes != TLS_BEGINS:
            return reason
        return str(with_advice(Trouble.TLS_SPOKEN, "it speaks TLS, and we speak clear text (h2c)", self._server.advice))

    def lost(self, reason: str) -> None:
        """Cancel all handlers: nobody waits for their answers."""
        self._watch.stop()
        self._lifetime.stop()
        self._stop_end_timer()
        for call in list(self._calls.values()):
            call.cancelled(f"connection lost: {reason}")
        self._server.connection_closed(self)

    def ping(self, payload: bytes) -> None:
        """Ask the client for a sign of life."""
        self.core.ping(payload)
        self.flush()

    def leave(self, reason: str) -> None:
        """
        Ask the client to go elsewhere, let open calls finish, then close. Asking again changes nothing.

        Calls that were on their way when the client hears of it are served too; see `ServerConnection.announce_end`.
        """
        if self._leaving is not None or not self.is_open:
            return
        self._leaving = reason
        if self._watch.awaits_handshake:
            self.hang_up(reason)  # it has not even said that it speaks HTTP/2
            return
        self.core.announce_end(reason)
        self.flush()
        self._end_timer = self.clock.callLater(LEAVE_TIMEOUT, self._not_answered)

    def stop(self, reason: str) -> None:
        """Answer all open calls with UNAVAILABLE, cancel their handlers, and close."""
        if not self.is_open:
            return
        self._leaving = reason
        self.core.refuse_new_calls()
        for call in list(self._calls.values()):
            call.stopped(reason)
        self.flush()
        self._linger()

    def cut_because(self, reason: str) -> None:
        """Close at once, and say so in the log."""
        self.log.info("cutting the connection of {peer}: {reason}", peer=self.peer, reason=reason)
        self.cut()

    def end_for(self, name: str, reason: str) -> None:
        """End the connection because of what the client does: GOAWAY says `name`, the log says `reason`."""
        if self.core.is_usable:
            self._server.complaints.add(self.host, f"closing the connection of {self.peer}: {reason}")
            self.core.calm_down(name)
        self.hang_up()

    def call_ended(self, stream_id: int) -> None:
        """A call has got its answer, or needs none."""
        if self._calls.pop(stream_id, None) is not None:
            self._server.call_count -= 1
        if self._leaving is not None:
            self._end_if_done()

    def _not_answered(self) -> None:
        self._end_timer = None
        self.core.refuse_new_calls()
        self.flush()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.core.is_refusing and self.is_idle and self.is_open:
            self._linger()

    def _linger(self) -> None:
        """All is said: the client closes when it has heard it, else we do."""
        if not self._lingering:
            self._lingering = True
            self._stop_end_timer()
            self._end_timer = self.clock.callLater(LINGER_TIME, self.hang_up, self._leaving or "")

    def _stop_end_timer(self) -> None:
        if self._end_timer is not None and self._end_timer.active():
            self._end_timer.cancel()
        self._end_timer = None

    def _call_started(self, event: CallStarted) -> None:
        found = self._server.find(event.path)
        if isinstance(found, str):
            self.core.finish(event.stream_id, StatusCode.UNIMPLEMENTED, found)
            return
        if self._server.call_count >= self._server.server_limits.streams:
            self._server.complaints.add(
                self.host, f"refusing calls of {self.peer}: {self._server.call_count} are open, as many as are allowed"
            )
            self.core.refuse(event.stream_id)
            return
        method, handler = found
        if self._server.compression != IDENTITY:
            self.core.set_compression(event.stream_id, self._server.compression)
        call = ServerCall(self, event.stream_id, method, handler, event.metadata, event.timeout)
        self._calls[event.stream_id] = call
        self._server.call_count += 1
        call.start()

    def _write(self) -> None:
        super()._write()
        if not self.is_open:
            return  # what was held is no longer counted
        held = self.core.held_bytes
        if held != self.held_bytes:
            self._server.held_bytes += held - self.held_bytes
            grown, self.held_bytes = held > self.held_bytes, held
            if grown:
                self._watch.heard()
                self._server.held_more(self)

    # What the watch for slow clients asks and tells

    @property
    def is_busy(self) -> bool:
        """See `Watched`."""
        return self.core.open_streams > 0 or self.core.unfinished_headers > 0 or self.full_since is not None

    @property
    def unfinished_headers(self) -> int:
        """See `Watched`."""
        return self.core.unfinished_headers

    def lagging(self) -> Iterator[tuple[int, int]]:
        """See `Watched`."""
        for stream_id, call in self._calls.items():
            if call.awaits_request:
                yield stream_id, 0
        yield from self.core.lagging()

    def too_slow(self, reason: str) -> None:
        """See `Watched`."""
        self._server.complaints.add(self.host, f"cutting {self.peer}: {reason}")
        self.cut()

    def call_too_slow(self, stream_id: int, seconds: float) -> None:
        """See `Watched`."""
        call = self._calls.get(stream_id)
        if call is not None:
            call.rejected(StatusCode.DEADLINE_EXCEEDED, f"the request was not complete within {seconds:g} s")
        else:
            self.core.cancel(stream_id)
            self.flush()
