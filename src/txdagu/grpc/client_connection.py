"""The client's end of one connection: gives calls their streams and passes on what arrives for them."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txdagu.grpc.client_call import ClientCall
from txdagu.grpc.keepalive import Keepalive, KeepaliveTimes
from txdagu.grpc.transport import ConnectionProtocol
from txdagu.wire.client import ClientConnection
from txdagu.wire.events import (
    CallEnded,
    ConnectionBroken,
    Event,
    HeadersReceived,
    MessageReceived,
    PeerLeaving,
    PeerReady,
    SendingResumed,
    StreamLimitChanged,
)
from txdagu.wire.metadata import NONE
from txdagu.wire.status import RpcError, StatusCode

_PING = b"txdagu\x00\x01"


class ConnectionOwner(Protocol):
    """What a connection tells its channel."""

    def connection_ready(self, connection: GrpcClientProtocol) -> None:
        """The server's settings arrived."""

    def stream_freed(self, connection: GrpcClientProtocol) -> None:
        """A call ended, or the server allows more of them."""

    def ping_less(self, reason: str) -> None:
        """The server complained of too many pings."""

    def connection_leaving(self, connection: GrpcClientProtocol, reason: str) -> None:
        """New calls belong elsewhere; open ones go on."""

    def again(self, call: ClientCall[Any, Any]) -> None:
        """The server did not look at this call; place it once more."""

    def connection_idle(self, connection: GrpcClientProtocol, reason: str) -> None:
        """The connection has had no calls for long; leave it."""

    def connection_lost(self, connection: GrpcClientProtocol, reason: str) -> None:
        """The connection is gone; all its calls are about to fail."""


class GrpcClientProtocol(ConnectionProtocol):
    """One connection to a server. `name` is how errors call the server."""

    def __init__(
        self,
        owner: ConnectionOwner,
        core: ClientConnection,
        clock: IReactorTime,
        *,
        name: str,
        keepalive: KeepaliveTimes,
        idle_timeout: float | None,
    ) -> None:
        super().__init__(core, clock)
        self.core = core
        self._owner = owner
        self._name = name
        self._calls: dict[int, ClientCall[Any, Any]] = {}
        self._senders: dict[int, list[Deferred[None]]] = {}
        self._why = ""
        self._ready = False
        self._leaving = False
        self._keepalive = Keepalive(
            clock, times=keepalive, is_needed=lambda: bool(self._calls), ping=self._ping, dead=self._dead
        )
        self._idle_timeout = idle_timeout
        self._idle_since = clock.seconds()
        self._idle_timer: IDelayedCall | None = None

    @property
    def has_room(self) -> bool:
        """Whether one more call can be started; not once it was decided to close."""
        return not self._why and self.core.accepts_calls and self.core.has_free_stream

    def start_call(self, call: ClientCall[Any, Any]) -> None:
        """Open a stream for a call, or end it if the server would not take its headers. Requires `has_room`."""
        timeout = None if call.deadline is None else call.deadline - self.clock.seconds()
        try:
            stream_id = self.core.start_call(call.method.path, call.metadata, timeout, call.compression)
        except RpcError as error:
            call.finished(error.code, error.message, NONE)
            return
        self._calls[stream_id] = call
        call.opened(self, stream_id)
        if call.only_request is not None:
            self.core.send_last_message(stream_id, call.only_request)
        self._keepalive.start()
        self.flush()

    def cancel(self, stream_id: int) -> None:
        """The caller gave a call up."""
        if self._calls.pop(stream_id, None) is not None:
            self._stop_sender(stream_id)
            self.core.cancel(stream_id)
            self.flush()
            self._stream_freed()

    def leave(self) -> None:
        """Close when the open calls are over."""
        self._leaving = True
        self._stream_freed()

    def set_keepalive(self, times: KeepaliveTimes) -> None:
        """Use other times from now on."""
        self._keepalive.set_times(times)

    async def until_sent(self, stream_id: int) -> None:
        """Wait until the server's windows have taken all that was queued in a call, or the call is over."""
        deferred: Deferred[None] = Deferred()
        self._senders.setdefault(stream_id, []).append(deferred)
        await deferred

    def close_because(self, reason: str) -> None:
        """Close in order; calls still open fail with `reason`."""
        self._why = self._why or reason
        self.hang_up()

    def dataReceived(self, data: bytes) -> None:
        """Any sound is a sign of life."""
        self._keepalive.heard()
        super().dataReceived(data)

    def handle(self, event: Event) -> None:
        """Pass an event on to its call, or to the channel."""
        match event:
            case HeadersReceived():
                self._keepalive.answered()
                if (call := self._calls.get(event.stream_id)) is not None:
                    call.headers(event.metadata)
            case MessageReceived():
                self._keepalive.answered()
                if (call := self._calls.get(event.stream_id)) is not None:
                    call.message(event.payload, event.credit, event.compressed)
            case CallEnded():
                self._call_ended(event)
            case SendingResumed():
                self._stop_sender(event.stream_id)
            case PeerReady():
                self._ready = True
                self._watch_idleness()
                self._owner.connection_ready(self)
            case StreamLimitChanged():
                self._stream_freed()
            case PeerLeaving():
                self._peer_leaves(event)
            case ConnectionBroken():
                self._cut_because(event.reason)

    def _call_ended(self, event: CallEnded) -> None:
        call = self._calls.pop(event.stream_id, None)
        if call is not None:
            if event.unprocessed and call.may_be_repeated():
                self._owner.again(call)
            else:
                message = f"{self._name}: {event.message}" if event.unprocessed else event.message
                call.finished(event.code, message, event.metadata, event.status_details)
            self._stop_sender(event.stream_id)  # last: who wakes and finds the call still open would send for ever
        self._stream_freed()

    def lost(self, reason: str) -> None:
        """Fail every call at once, with what is known about the reason."""
        self._keepalive.stop()
        if self._idle_timer is not None and self._idle_timer.active():
            self._idle_timer.cancel()
        why = self._why or f"connection lost{'' if self._ready else ' before the server spoke HTTP/2'}: {reason}"
        calls, self._calls = self._calls, {}
        self._owner.connection_lost(self, why)  # first, so that nobody who hears of it calls here again
        for stream_id, call in calls.items():
            call.finished(StatusCode.UNAVAILABLE, f"{self._name}: {why}, while {call.doing}", NONE)
            self._stop_sender(stream_id)

    def _stop_sender(self, stream_id: int) -> None:
        for waiting in self._senders.pop(stream_id, ()):
            waiting.callback(None)

    def _stream_freed(self) -> None:
        if not self._calls:
            self._idle_since = self.clock.seconds()
            if self._leaving:
                self.hang_up()
        if not self._leaving:
            self._owner.stream_freed(self)

    def _peer_leaves(self, event: PeerLeaving) -> None:
        self._leaving = True
        if event.too_many_pings:
            self._owner.ping_less(event.reason)
        self._owner.connection_leaving(self, event.reason)
        self._stream_freed()

    def _watch_idleness(self) -> None:
        """One timer for the connection, whatever the number of calls."""
        if self._idle_timeout is None:
            return
        rest = self._idle_timeout
        if not self._calls:
            rest += self._idle_since - self.clock.seconds()
        if rest > 0:
            self._idle_timer = self.clock.callLater(rest, self._watch_idleness)
        else:
            self._owner.connection_idle(self, f"closed after {self._idle_timeout:g} s without calls")

    def _dead(self, timeout: float) -> None:
        self._cut_because(f"no answer to a ping within {timeout:g} s")

    def _ping(self) -> None:
        self.core.ping(_PING)
        self.flush()

    def _cut_because(self, reason: str) -> None:
        self._why = self._why or reason
        self.cut()
