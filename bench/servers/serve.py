"""
One gRPC server for `bench/grpc.py`, as a process of its own: ``serve.py KIND``.

Every kind serves the same two methods with the same messages: Heartbeat answers at once, Poll never does. The port is
printed when it listens; the server ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

from txdagu.protocol import coordinator_pb2 as messages

HEARTBEAT = "/coordinator.v1.CoordinatorService/Heartbeat"
POLL = "/coordinator.v1.CoordinatorService/Poll"
ANSWER = messages.HeartbeatResponse()
# What nobody refers to would be collected, and its call cancelled. The requests are forgotten (`del`), since each would
# occupy more memory than what is measured.
parked: list[object] = []


def announce(port: int) -> None:
    """Say where we listen."""
    print(port, flush=True)


def when_unwanted(stop: Callable[[], object]) -> None:
    """Call `stop`, in another thread, when whoever started us has gone."""

    def watch() -> None:
        sys.stdin.buffer.read()
        stop()

    threading.Thread(target=watch, daemon=True).start()


def serve_txdagu() -> None:
    """This project."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ServerEndpoint

    from txdagu.grpc.server import CallContext, GrpcServerFactory
    from txdagu.protocol import services

    class Coordinator:
        def handlers(self):
            return {services.HEARTBEAT: self.heartbeat, services.POLL: self.poll}

        async def heartbeat(self, _request: messages.HeartbeatRequest, _context: CallContext):
            return ANSWER

        async def poll(self, request: messages.PollRequest, _context: CallContext):
            del request
            parked.append(Deferred())
            await parked[-1]

    factory = GrpcServerFactory([Coordinator()], reactor)
    listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    listening.addCallback(lambda port: announce(port.getHost().port))
    when_unwanted(lambda: reactor.callFromThread(reactor.stop))
    reactor.run()


def serve_grpclib() -> None:
    """grpclib: asyncio and h2."""
    from grpclib.const import Cardinality, Handler
    from grpclib.server import Server

    class Coordinator:
        def __mapping__(self):
            return {
                HEARTBEAT: Handler(
                    self.heartbeat, Cardinality.UNARY_UNARY, messages.HeartbeatRequest, messages.HeartbeatResponse
                ),
                POLL: Handler(self.poll, Cardinality.UNARY_UNARY, messages.PollRequest, messages.PollResponse),
            }

        async def heartbeat(self, stream):
            await stream.recv_message()
            await stream.send_message(ANSWER)

        async def poll(self, stream):
            await stream.recv_message()
            parked.append(asyncio.get_running_loop().create_future())
            await parked[-1]

    async def main() -> None:
        server = Server([Coordinator()])
        await server.start("127.0.0.1", 0)
        announce(server._server.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        when_unwanted(lambda: loop.call_soon_threadsafe(ended.set_result, None))
        await ended
        os._exit(0)  # parked polls would keep it

    asyncio.run(main())


def grpcio_handlers(heartbeat, poll):
    """The two methods in the shape that both servers of grpcio take."""
    import grpc

    return grpc.method_handlers_generic_handler(
        "coordinator.v1.CoordinatorService",
        {
            "Heartbeat": grpc.unary_unary_rpc_method_handler(
                heartbeat, messages.HeartbeatRequest.FromString, messages.HeartbeatResponse.SerializeToString
            ),
            "Poll": grpc.unary_unary_rpc_method_handler(
                poll, messages.PollRequest.FromString, messages.PollResponse.SerializeToString
            ),
        },
    )


def serve_grpcio_threads() -> None:
    """grpcio: the C core, handlers in threads. A parked poll holds a thread, so polls are left out."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    ended = threading.Event()

    def heartbeat(_request, _context):
        return ANSWER

    def poll(_request, _context):
        ended.wait()

    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpcio_handlers(heartbeat, poll),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    announce(port)
    when_unwanted(ended.set)
    ended.wait()
    os._exit(0)


def serve_grpcio_aio() -> None:
    """grpcio: the C core under asyncio."""
    import grpc.aio

    async def heartbeat(_request, _context):
        return ANSWER

    async def poll(request, _context):
        del request
        parked.append(asyncio.get_running_loop().create_future())
        await parked[-1]

    async def main() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpcio_handlers(heartbeat, poll),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        announce(port)
        when_unwanted(lambda: os._exit(0))
        await server.wait_for_termination()

    asyncio.run(main())


KINDS = {
    "txdagu": serve_txdagu,
    "grpclib": serve_grpclib,
    "grpcio-aio": serve_grpcio_aio,
    "grpcio-threads": serve_grpcio_threads,
}

if __name__ == "__main__":
    try:
        KINDS[sys.argv[1]]()
    except ModuleNotFoundError as error:
        print(f"missing: {error.name}", flush=True)
