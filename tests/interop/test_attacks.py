"""Attacks over real sockets while honest clients go on."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from threading import Event
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from txdagu.grpc.channel import tcp_channel
from txdagu.grpc.server import CallContext, GrpcServerFactory, Handler
from txdagu.testing.echo import ECHO, PARK
from txdagu.testing.wire import RawClient
from txdagu.wire.method import RpcMethod
from txdagu.wire.policing import BUDGETS, RST_STREAM

STREAMS = 20_000
CONNECTIONS = 5


class Service:
    """Answers at once, or never."""

    def __init__(self) -> None:
        self.parked = self.cancelled = 0

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.echo, PARK: self.park}

    async def echo(self, request: bytes, context: CallContext) -> bytes:
        """The request."""
        return request

    async def park(self, request: bytes, context: CallContext) -> bytes:
        """Wait to be cancelled."""
        self.parked += 1
        try:
            return await Deferred[bytes]()
        except CancelledError:
            self.cancelled += 1
            raise


def rapid_resets(port: int, attack: bytes, enough: Event) -> int:
    """Connect and write resets until the server ends the connection; again and again until told. How often it did."""
    ended = 0
    while ended < CONNECTIONS or not enough.is_set():
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(attack)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass
            ended += 1
    return ended


class AttackTests(TestCase):
    """A server, an attacker in a thread, and a client of our own."""

    timeout = 40

    async def test_rapid_reset(self) -> None:
        """
        Twenty thousand calls opened and reset, on five connections one after the other, or more if honest calls take longer.

        Each is ended after about as many as its budget, nothing stays behind, and an honest client's calls are answered.
        """
        from twisted.internet import reactor as installed  # noqa: TID251  # trial's, for real sockets

        reactor: Any = installed
        service, enough = Service(), Event()
        factory = GrpcServerFactory([service], reactor)
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        number = port.getHost().port
        channel = tcp_channel(reactor, "127.0.0.1", number)
        pool = ThreadPool(1, 1)
        pool.start()
        raw = RawClient()
        pieces = [raw.preface()]
        for _ in range(STREAMS // CONNECTIONS):
            stream_id, opening = raw.call(PARK.path.encode())
            pieces += [opening, raw.reset(stream_id)]
        try:
            await channel.unary(ECHO, b"before")
            attack = deferToThreadPool(reactor, pool, rapid_resets, number, b"".join(pieces), enough)
            for _ in range(20):
                self.assertEqual(await channel.unary(ECHO, b"meanwhile"), b"meanwhile")
            self.assertFalse(attack.called)
            enough.set()
            connections = await attack
            await channel.unary(ECHO, b"after")
            self.assertEqual(service.cancelled, service.parked)
            # What a second or two of time earns is little beside the budget.
            self.assertLess(service.parked, connections * 2 * BUDGETS[RST_STREAM].burst)
            self.assertEqual((factory.connection_count, factory.call_count), (1, 0))
        finally:
            enough.set()
            await channel.close()
            await port.stopListening()
            await factory.drain(0)
            pool.stop()
