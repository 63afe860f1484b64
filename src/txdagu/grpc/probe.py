"""
What is behind an address: an HTTP/2 client's greeting is sent, in clear or over TLS, and whatever comes back is told.

Nothing is verified and nothing is refused here, so that everything that is wrong can be seen at once; `txdagu.grpc.trust` judges
the certificates. Connections for calls are made by `txdagu.grpc.channel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory

from txdagu.grpc.certificates import Identity
from txdagu.grpc.greeting import Answer, Greeting, Reply
from txdagu.grpc.tls_sight import CuriousTls, TlsSight, watching


class _Once(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._made = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._made


@dataclass(frozen=True, slots=True)
class Prober:
    """
    Asks one address at a time. `dial` makes an endpoint from an IP address and a port, `now` is a monotonic clock.

    Every question takes at most `timeout` seconds.
    """

    dial: Callable[[str, int], IStreamClientEndpoint]
    clock: IReactorTime
    now: Callable[[], float]
    timeout: float = field(default=5.0)

    async def tcp(self, address: str, port: int) -> float:
        """Seconds until the connection stood; it is closed at once. Raises what the endpoint raises, and TimeoutError."""
        began = self.now()
        protocol = await self._connect(address, port, _Once(Protocol()))
        took = self.now() - began
        transport = protocol.transport
        getattr(transport, "abortConnection", transport.loseConnection)()
        return took

    async def greet(self, address: str, port: int) -> Reply:
        """What it says to HTTP/2 in clear text (RFC 9113 section 3.3)."""
        return await self._greet(address, port, None, None)

    async def greet_tls(self, address: str, port: int, host: str, identity: Identity | None) -> Reply:
        """What it says to TLS and to HTTP/2 in it. `host` is the name by which clients dial it."""
        seen = TlsSight()
        return await self._greet(address, port, seen, CuriousTls(host, identity, seen))

    async def _greet(self, address: str, port: int, seen: TlsSight | None, creator: CuriousTls | None) -> Reply:
        greeting = Greeting(self.clock, self.now, self.timeout, seen)
        factory: Any = _Once(greeting)
        if creator is not None and seen is not None:
            factory = TLSMemoryBIOFactory(creator, True, factory, clock=self.clock)
            factory.protocol = watching(seen)
            factory.noisy = False
        try:
            await self._connect(address, port, factory)
            return await greeting.reply
        except (ConnectError, DeferredTimeoutError) as error:
            return Reply(Answer.CLOSED, str(error).rstrip(".") or "no connection came about")
        finally:
            greeting.give_up()

    async def _connect(self, address: str, port: int, factory: Any) -> Any:
        attempt = self.dial(address, port).connect(factory)
        attempt.addTimeout(self.timeout, cast("Any", self.clock))
        return await attempt
