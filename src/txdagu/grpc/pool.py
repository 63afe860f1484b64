"""The connections of one channel, and the calls that wait for one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from txdagu import __version__
from txdagu.grpc.client_call import ClientCall
from txdagu.grpc.client_connection import ConnectionOwner, GrpcClientProtocol
from txdagu.grpc.connectivity import ChannelState, Connectivity
from txdagu.grpc.connector import Connector
from txdagu.grpc.keepalive import KeepaliveTimes
from txdagu.grpc.options import ChannelOptions
from txdagu.wire.client import ClientConnection
from txdagu.wire.metadata import NONE
from txdagu.wire.status import StatusCode

# All connections go to the same server, so what one of them meets is true for all.
_PRECEDENCE = (ChannelState.READY, ChannelState.CONNECTING, ChannelState.BACKING_OFF, ChannelState.IDLE)


class ConnectionPool:
    """
    Gives calls a stream on a connection to one server.

    One connection is enough for most. Another is made when calls have waited a while for a free stream, because those who
    hold the streams keep them: parked calls would otherwise starve all others.
    """

    log = Logger()

    def __init__(
        self,
        connect: Callable[[], IStreamClientEndpoint],
        clock: IReactorTime,
        *,
        authority: str,
        options: ChannelOptions,
        random: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._authority = authority
        self._options = options
        self._random = random
        self._keepalive = options.keepalive
        self._least_keepalive = KeepaliveTimes(0.0, 0.0, 0.0)  # grows when the server complains
        self._waiting: dict[ClientCall[Any, Any], float] = {}  # in their order, and since when
        self._connectors = [self._make_connector()]
        self._closed = False
        self._queue_timer: IDelayedCall | None = None
        self._last_state = ChannelState.IDLE
        self._watchers: list[Deferred[None]] = []

    @property
    def state(self) -> ChannelState:
        """Where the channel is now. It is ready if any of its connections is."""
        if self._closed:
            return ChannelState.SHUT_DOWN
        states = [connector.state for connector in self._connectors]
        return next(state for state in _PRECEDENCE if state in states)

    async def state_changed(self, known: ChannelState) -> ChannelState:
        """Wait until the state is another than `known`, and return that. Nothing follows SHUT_DOWN."""
        while self.state is known and known is not ChannelState.SHUT_DOWN:
            changed: Deferred[None] = Deferred()
            self._watchers.append(changed)
            try:
                await changed
            finally:
                if changed in self._watchers:
                    self._watchers.remove(changed)
        return self.state

    def connect(self) -> None:
        """Connect if the state is IDLE."""
        if self.state is ChannelState.IDLE:
            self._connectors[0].connect()

    def reconnect(self, reason: str) -> None:
        """Give the connections there are no new calls, and make another when it is needed, without any back-off."""
        if not self._closed:
            self.log.debug("channel to {name} connects anew: {reason}", name=self._authority, reason=reason)
            for connector in self._connectors:
                connector.reconnect(reason)

    def set_keepalive(self, times: KeepaliveTimes) -> None:
        """Watch the server with other times from now on, but never more closely than it has put up with."""
        self._keepalive = times.at_least(self._least_keepalive)
        for connector in self._connectors:
            connector.set_keepalive(self._keepalive)

    def place(self, call: ClientCall[Any, Any]) -> None:
        """Start a call on a connection, let it wait for one, or fail it."""
        connection = self._with_room()
        if connection is not None:
            connection.start_call(call)
            return
        state = self.state
        if state is ChannelState.SHUT_DOWN:
            call.fail(StatusCode.CANCELLED, f"the channel to {self._authority} is closed")
        elif state is ChannelState.BACKING_OFF and not call.wait_for_ready:
            # The same words at every call, so that whoever complains can tell that nothing has changed.
            call.finished(StatusCode.UNAVAILABLE, f"{self._authority}: {self._last_reason()}", NONE)
        else:
            self._waiting[call] = self._clock.seconds()
            if state is ChannelState.READY:
                self._watch_queue()
            else:
                self.connect()

    def forget(self, call: ClientCall[Any, Any]) -> None:
        """A call is over, also if it still waited."""
        self._waiting.pop(call, None)

    def waits_for(self, call: ClientCall[Any, Any]) -> str:
        """What a call still waits for, to be put behind "no answer"; empty if the server has got it."""
        if call not in self._waiting:
            return ""
        if self.state is not ChannelState.READY:
            last = self._last_reason()
            known = f", last: {last}" if last else ""
            return f" while waiting for a connection to {self._authority}{known}"
        limits = [connector.connection.core.stream_limit for connector in self._connectors if connector.connection]
        allowed = f"{min(limits)} calls" if limits else "no more calls"
        return f" while waiting for a free stream: {self._authority} allows {allowed} at once on a connection"

    def stop(self) -> None:
        """Make no more connections."""
        self._closed = True
        timer, self._queue_timer = self._queue_timer, None
        if timer is not None:
            timer.cancel()
        for connector in self._connectors:
            connector.stop()

    async def close(self) -> None:
        """Close all connections; returns when they are closed."""
        self.stop()
        for connector in self._connectors:
            await connector.close()

    # What connectors tell and ask

    def connector_moved(self) -> None:
        """See `ConnectorUser`."""
        state = self.state
        if state is not self._last_state:
            self.log.debug("channel to {name} is {state}", name=self._authority, state=state.value)
            self._last_state = state
            watchers, self._watchers = self._watchers, []
            for watcher in watchers:
                watcher.callback(None)

    def start_waiting(self) -> None:
        """See `ConnectorUser`."""
        while self._waiting and (connection := self._with_room()) is not None:
            call = next(iter(self._waiting))
            del self._waiting[call]
            connection.start_call(call)
        if self._waiting:
            self._watch_queue()

    def attempt_failed(self, reason: str) -> None:
        """See `ConnectorUser`. While there is another connection, calls wait for a free stream of that."""
        if self.state is ChannelState.READY:
            return
        for call in [call for call in self._waiting if not call.wait_for_ready]:
            call.finished(StatusCode.UNAVAILABLE, f"{self._authority}: {reason}", NONE)

    def is_waiting(self, besides: Connector) -> bool:
        """See `ConnectorUser`."""
        return bool(self._waiting) and all(
            other is besides or other.state is not ChannelState.CONNECTING for other in self._connectors
        )

    def ping_less(self, reason: str) -> None:
        """See `ConnectorUser`: from now on pings are half as frequent (gRFC A8)."""
        self._least_keepalive = self._keepalive.doubled()
        self.set_keepalive(self._least_keepalive)
        self.log.warn(
            "{name} complained of too many pings ({reason}); the channel sends one after {seconds:g} s of silence now",
            name=self._authority,
            reason=reason,
            seconds=self._keepalive.interval,
        )

    # Inside

    def _last_reason(self) -> str:
        """Why there is no connection: what the failed attempt met, or how the previous connection ended."""
        failed = (connector.reason for connector in self._connectors if connector.state is ChannelState.BACKING_OFF)
        return next(failed, self._connectors[0].reason)

    def _with_room(self) -> GrpcClientProtocol | None:
        for connector in self._connectors:
            connection = connector.connection
            if connection is not None and connection.has_room:
                return connection
        return None

    def _watch_queue(self) -> None:
        if self._queue_timer is None and self._options.max_connections > 1:
            waited = self._clock.seconds() - next(iter(self._waiting.values()))
            rest = max(0.0, self._options.stream_patience - waited)
            self._queue_timer = self._clock.callLater(rest, self._queue_waited)

    def _queue_waited(self) -> None:
        """Connect once more if the first in the queue has waited for long: whoever has the streams keeps them."""
        self._queue_timer = None
        if not self._waiting or self.state is not ChannelState.READY:
            return
        waited = self._clock.seconds() - next(iter(self._waiting.values()))
        if waited < self._options.stream_patience:
            self._watch_queue()
            return
        idle = next((one for one in self._connectors if one.state is ChannelState.IDLE), None)
        if idle is not None:
            idle.connect()
        elif all(one.state is ChannelState.READY for one in self._connectors) and not self._is_full:
            self._connectors.append(self._make_connector())
            self._connectors[-1].connect()

    @property
    def _is_full(self) -> bool:
        return len(self._connectors) >= self._options.max_connections

    def _make_connector(self) -> Connector:
        return Connector(
            self,
            self._connect,
            self._make_protocol,
            self._clock,
            Connectivity(self._options.backoff, self._random),
            name=self._authority,
            connect_timeout=self._options.connect_timeout,
        )

    def _make_protocol(self, owner: ConnectionOwner) -> GrpcClientProtocol:
        core = ClientConnection(
            authority=self._authority,
            scheme=self._options.scheme,
            user_agent=f"grpc-python-txdagu/{__version__}",
            max_message_size=self._options.max_message_size,
        )
        return GrpcClientProtocol(
            owner,
            core,
            self._clock,
            name=self._authority,
            keepalive=self._keepalive,
            idle_timeout=self._options.idle_timeout,
        )
