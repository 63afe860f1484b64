"""Which connections a server takes: so many in all, and so many of one address."""

from __future__ import annotations

from collections import Counter
from typing import cast

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, SettingsFrame
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from txdagu.grpc.limits import ServerLimits

# How long a refused connection may take to read why.
_FAREWELL_SECONDS = 5.0
# Beyond this many of them new ones are dropped without a word.
_FAREWELLS = 100


class Admission:
    """Counts connections by address."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self._total = 0
        self.farewells = 0
        """How many refused connections are still being told why."""

    def objection(self, host: str) -> str | None:
        """Why a connection from this address cannot be taken; None when it can."""
        if self._total >= self._limits.connections:
            return f"too_many_connections: the server has {self._total}"
        if self._by_address[host] >= self._limits.connections_per_address:
            return f"too_many_connections: the server has {self._by_address[host]} of this address"
        return None

    @property
    def can_explain(self) -> bool:
        """Whether one more refused connection may be told why."""
        return self.farewells < _FAREWELLS

    def opened(self, host: str) -> None:
        """A connection was taken."""
        self._total += 1
        self._by_address[host] += 1

    def closed(self, host: str) -> None:
        """One that was taken has ended."""
        self._total -= 1
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]


class RefusedConnection(Protocol):
    """Says GOAWAY (ENHANCE_YOUR_CALM) with the reason and closes, whatever the client sends."""

    def __init__(self, admission: Admission, clock: IReactorTime, reason: str) -> None:
        self._admission = admission
        self._clock = clock
        self._reason = reason
        self._cutting: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Speak at once."""
        self._admission.farewells += 1
        goaway = GoAwayFrame(
            0,
            last_stream_id=0,
            error_code=ErrorCodes.ENHANCE_YOUR_CALM,
            additional_data=self._reason.encode("utf-8", "replace"),
        )
        transport = cast("ITransport", self.transport)
        self._cutting = self._clock.callLater(_FAREWELL_SECONDS, self._cut)
        transport.write(SettingsFrame(0).serialize() + goaway.serialize())
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room."""
        self._admission.farewells -= 1
        if self._cutting is not None and self._cutting.active():
            self._cutting.cancel()

    def _cut(self) -> None:
        abort = getattr(self.transport, "abortConnection", None)
        if abort is not None:
            abort()
