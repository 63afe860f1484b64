"""
A test server as a program, so that it can be killed: ``python -m txdagu.testing.interop.program ours`` or ``grpcio``.

Its first line is ``listening on PORT``. SIGTERM stops it in order, with five seconds for open calls.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react

from txdagu.grpc.server import GrpcServerFactory
from txdagu.testing.interop.foreign import SHOW_COMPRESSION, ForeignInteropService
from txdagu.testing.interop.service import InteropService
from txdagu.testing.sockets import HOST, foreign_server

GRACE = 5.0


async def serve(reactor: Any) -> None:
    """Our server, until SIGTERM."""
    factory = GrpcServerFactory([InteropService()], reactor)
    port: Any = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(factory)

    async def stop() -> None:
        await port.stopListening()
        await factory.drain(GRACE)

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    _say(port.getHost().port)
    await Deferred()


def serve_foreign() -> None:
    """Grpcio's server, until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    server, port = foreign_server(ForeignInteropService(), threads=32, options=(SHOW_COMPRESSION,))
    _say(port)
    signal.sigwait([signal.SIGTERM])
    server.stop(GRACE).wait()


def _say(port: int) -> None:
    sys.stdout.write(f"listening on {port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["ours"]:
        react(lambda reactor: Deferred.fromCoroutine(serve(reactor)))
    elif sys.argv[1:] == ["grpcio"]:
        serve_foreign()
    else:
        sys.exit("say which server to start: ours or grpcio")
