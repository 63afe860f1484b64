"""The client's end of one connection: gives calls their streams and passes on what arrives for them."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from txdagu.grpc.client_call import ClientCall
from txdagu.grpc.keepalive import Keepalive
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
from txdagu.wire.status import StatusCode

_PING = b"txdagu\x00\x01"


class ConnectionOwner(Protocol):
    """What a connection tells its channel."""

    def connection_ready(self, connection: GrpcClientProtocol) -> None:
        """The server's settings arrived."""

    def connection_leaving(self, connection: GrpcClientProtocol, reason: str) -> None:
        """New calls belong elsewhere; open ones go on."""

    def again(self, call: ClientCall[Any, Any]) -> None:
        """The server did not look at this call; place it once more."""

    def connection_lost(self, connection: GrpcClientProtocol, reason: str) -> None:
        """The connection is gone, and all its calls have been failed."""


class GrpcClientProtocol(ConnectionProtocol):
    """One connection to a server. `name` is how errors call the server."""

    def __init__(
        self,
        owner: ConnectionOwner,
        core: ClientConnection,
        clock: IReactorTime,
        *,
        name: str,
        keepalive_interval: float,
        keepalive_timeout: float,
    ) -> None:
        super().__init__(core, clock)
        self.core = core
        self._owner = owner
        self._name = name
        self._calls: dict[int, ClientCall[Any, Any]] = {}
        self._queued: deque[ClientCall[Any, Any]] = deque()  # for a free stream; the server limits them
        self._senders: dict[int, Deferred[None]] = {}
        self._why = ""
        self._leaving = False
        self._keepalive = Keepalive(
            clock,
            interval=keepalive_interval,
            timeout=keepalive_timeout,
            is_needed=lambda: bool(self._calls),
            ping=self._ping,
            dead=lambda: self._cut_because(f"no answer to a ping within {keepalive_timeout:g} s"),
        )

    def start_call(self, call: ClientCall[Any, Any]) -> None:
        """Open a stream for a call, or let it wait for one."""
        if call.ended:
            return
        if not self.core.has_free_stream:
            self._queued.append(call)
            return
        timeout = None if call.deadline is None else call.deadline - self.clock.seconds()
        stream_id = self.core.start_call(call.method.path, call.metadata, timeout)
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

    async def until_sent(self, stream_id: int) -> None:
        """Wait until the server's windows have taken all that was queued in a call, or the call is over."""
        deferred: Deferred[None] = Deferred()
        self._senders[stream_id] = deferred
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
                if (call := self._calls.get(event.stream_id)) is not None:
                    call.headers(event.metadata)
            case MessageReceived():
                if (call := self._calls.get(event.stream_id)) is not None:
                    call.message(event.payload, event.credit)
            case CallEnded():
                self._call_ended(event)
            case SendingResumed():
                self._stop_sender(event.stream_id)
            case PeerReady():
                self._owner.connection_ready(self)
            case StreamLimitChanged():
                self._stream_freed()
            case PeerLeaving():
                self._peer_leaves(event.reason)
            case ConnectionBroken():
                self._cut_because(event.reason)

    def _call_ended(self, event: CallEnded) -> None:
        call = self._calls.pop(event.stream_id, None)
        if call is not None:
            self._stop_sender(event.stream_id)
            if event.unprocessed and call.may_be_repeated():
                self._owner.again(call)
            else:
                message = f"{self._name}: {event.message}" if event.unprocessed else event.message
                call.finished(event.code, message, event.metadata, event.status_details)
        self._stream_freed()

    def lost(self, reason: str) -> None:
        """Fail every call at once, with what is known about the reason."""
        self._keepalive.stop()
        why = self._why or f"connection lost: {reason.rstrip('.')}"
        while self._queued:
            self._queued.popleft().finished(StatusCode.UNAVAILABLE, f"{self._name}: {why}", {})
        calls, self._calls = self._calls, {}
        for stream_id, call in calls.items():
            self._stop_sender(stream_id)
            call.finished(StatusCode.UNAVAILABLE, f"{self._name}: {why}", {})
        self._owner.connection_lost(self, why)

    def _stop_sender(self, stream_id: int) -> None:
        waiting = self._senders.pop(stream_id, None)
        if waiting is not None:
            waiting.callback(None)

    def _stream_freed(self) -> None:
        while self._queued and self.core.accepts_calls and self.core.has_free_stream:
            self.start_call(self._queued.popleft())
        if self._leaving and not self._calls:
            self.hang_up()

    def _peer_leaves(self, reason: str) -> None:
        self._leaving = True
        self._owner.connection_leaving(self, reason)
        queued, self._queued = self._queued, deque()
        for call in queued:
            if not call.ended:
                self._owner.again(call)
        self._stream_freed()

    def _ping(self) -> None:
        self.core.ping(_PING)
        self.flush()

    def _cut_because(self, reason: str) -> None:
        self._why = self._why or reason
        self.cut()
