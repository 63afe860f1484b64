"""How an examination gets at coordinators with a real reactor: name service, single addresses, channels of workers."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from errno import EINVAL
from functools import partial
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from txdagu.config.settings import Settings
from txdagu.grpc.probe import Prober
from txdagu.model.addresses import ip_version
from txdagu.model.errors import InvalidInputError
from txdagu.peers.connecting import Connect, connector
from txdagu.system.clock import monotonic, unix_now
from txdagu.system.threads import threads_of

Resolve = Callable[[str], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Reach:
    """
    How to get at coordinators: `resolve` gives the addresses of a name or raises OSError, `prober` asks single addresses,
    `connect` opens the channels that workers use, and is None where our own settings allow none. `unix` tells the time in Unix
    seconds.
    """

    resolve: Resolve
    prober: Prober
    connect: Connect | None
    unix: Callable[[], float]


def reach(settings: Settings, reactor: Any, timeout: float) -> Reach:
    """Reach them from this host, at most `timeout` seconds a step."""
    in_thread = threads_of(reactor)

    def resolve(host: str) -> Awaitable[list[str]]:
        return in_thread(partial(addresses_of, host))

    def dial(address: str, port: int) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ip_version(address) == 6 else TCP4ClientEndpoint
        return kind(reactor, address, port, timeout=timeout)

    try:
        connect = connector(settings, reactor)
    except InvalidInputError:  # `own_side` tells what is wrong
        connect = None
    return Reach(resolve, Prober(dial, reactor, monotonic, timeout), connect, unix_now)


def addresses_of(host: str) -> list[str]:
    """All addresses of a name, in the order in which the system would try them. Asks the name service; raises OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(EINVAL, "it cannot be a host name") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
