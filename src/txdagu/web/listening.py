"""The port of the web server: opened, and when that fails, why and what to do."""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from txdagu.config.settings import Settings
from txdagu.model.addresses import EVERYWHERE, ip_version, join_host_port
from txdagu.model.errors import UnavailableError
from txdagu.system.threads import threads_of

BACKLOG = 128


def host_in_links(host: str) -> str:
    """What people on this host write for the address that is bound."""
    return "localhost" if host in EVERYWHERE else host


async def listen(settings: Settings, reactor: Any, factory: IProtocolFactory) -> IListeningPort:
    """
    Open the port that the settings name; 0 takes any free one.

    Raises `UnavailableError` that names address, origin of the setting, reason and advice.
    """
    host, port = settings.server.host, settings.server.port
    address = await _address(settings, reactor)
    kind = TCP6ServerEndpoint if ":" in address else TCP4ServerEndpoint
    endpoint: Any = kind(reactor, port, BACKLOG, address)
    try:
        listening: IListeningPort = await endpoint.listen(factory)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
        number = getattr(error.socketError, "errno", None)
        raise UnavailableError(
            f"the web server cannot listen on {join_host_port(host, port)}{_origin(settings)}: {reason}; {_advice(number)}"
        ) from None
    return listening


async def _address(settings: Settings, reactor: Any) -> str:
    """The address to bind for a host that may be given by name; IPv4 first, as browsers on old systems want it."""
    host = settings.server.host
    if host in EVERYWHERE or ip_version(host):
        return host
    try:
        found = await threads_of(reactor)(partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnavailableError(
            f"the web server cannot listen on {join_host_port(host, settings.server.port)}{_origin(settings)}: "
            f"{host} is no address: {reason}; give an address of this host with --host, for example 127.0.0.1"
        ) from None
    addresses = [str(address[0]) for *_, address in found]
    return min(addresses, key=lambda address: ":" in address)


def _origin(settings: Settings) -> str:
    given = [f"{key} from {settings.origins[key]}" for key in ("host", "port") if key in settings.origins]
    return f" ({', '.join(given)})" if given else ""


def _advice(number: int | None) -> str:
    if number == errno.EACCES:
        return "choose a port from 1024 on with --port"
    if number == errno.EADDRNOTAVAIL:
        return "give an address of this host with --host, for example 127.0.0.1 or 0.0.0.0"
    return "end the program that uses it, or choose another port with --port"
