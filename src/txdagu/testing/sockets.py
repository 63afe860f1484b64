"""Tests over real sockets of this host, with grpcio at one end: its blocking calls run in threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from txdagu.grpc.channel import Channel, tcp_channel
from txdagu.grpc.server import GrpcServerFactory, GrpcService

HOST = "127.0.0.1"
UNLIMITED = ("grpc.max_receive_message_length", -1)  # of an option given twice, grpcio takes the first


class SocketTestCase(TestCase):
    """Makes servers and channels on ports that the system chooses, and ends them after the test, as well as a test that hangs."""

    timeout = 30

    def setUp(self) -> None:
        """A reactor and threads."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor: Any = reactor
        self.pool = ThreadPool(0, 8)
        self.pool.start()
        self.addCleanup(self.pool.stop)

    def in_thread(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Deferred[Any]:
        """Run something that blocks."""
        return deferToThreadPool(self.reactor, self.pool, function, *arguments, **options)

    async def serve(self, *services: GrpcService, **options: Any) -> tuple[GrpcServerFactory, int]:
        """Our server, and its port. `options` go to `GrpcServerFactory`."""
        factory = GrpcServerFactory(services, self.reactor, **options)
        port: Any = await TCP4ServerEndpoint(self.reactor, 0, interface=HOST).listen(factory)

        async def stop() -> None:
            await port.stopListening()
            await factory.drain(0)

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return factory, port.getHost().port

    def dial(self, port: int, **options: Any) -> Channel:
        """Our channel."""
        channel = tcp_channel(self.reactor, HOST, port, **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(channel.close()))
        return channel

    def dial_foreign(self, port: int, *options: tuple[str, Any]) -> Any:
        """A channel of grpcio. Received messages may have any size unless `options` say other."""
        channel = grpc.insecure_channel(f"{HOST}:{port}", options=[*options, UNLIMITED])
        self.addCleanup(self.in_thread, channel.close)
        return channel

    def serve_foreign(self, *handlers: Any, threads: int = 8, options: tuple[tuple[str, Any], ...] = ()) -> int:
        """A server of grpcio, and its port. Received messages may have any size unless `options` say other."""
        server, port = foreign_server(*handlers, threads=threads, options=options)
        self.addCleanup(self.in_thread, lambda: server.stop(0).wait())
        return port


def foreign_server(*handlers: Any, threads: int = 8, options: tuple[tuple[str, Any], ...] = ()) -> tuple[Any, int]:
    """A started grpcio server on this host and its port. Received messages may have any size unless `options` say other."""
    server = grpc.server(ThreadPoolExecutor(threads), handlers=handlers, options=[*options, UNLIMITED])
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    return server, port
