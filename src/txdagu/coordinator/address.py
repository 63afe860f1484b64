"""Under which name others reach a service that listens here."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from txdagu.model.addresses import EVERYWHERE, is_loopback


@dataclass(frozen=True, slots=True)
class Advertised:
    """What peers dial; `warning` is a sentence if they may dial in vain, or empty."""

    host: str
    warning: str = ""


def resolve(name: str) -> list[str]:
    """The addresses of a name; none if it has none. Asks the name service and so may block."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[0]) for *_, address in found]


def outward_address() -> str:
    """
    The address of this host by which others reach it: that of the route to the world, else of the first interface that is not
    loopback; empty without one. Sends nothing.
    """
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            address = str(probe.getsockname()[0])
            if not is_loopback(address):
                return address
    return _interface_address()


def _interface_address() -> str:
    """The first address of an interface that others may reach; hosts of an isolated network have no route to the world."""
    import ifaddr

    found = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return next((str(ip) for ip in found if not is_loopback(str(ip))), "")


def advertised_host(
    bound: str,
    configured: str,
    host_name: str,
    resolved: Sequence[str],
    outward: str,
) -> Advertised:
    """
    Decide what to advertise for a port bound to `bound`.

    What is `configured` holds. Else the host's name, if it leads to the bound interface (`resolved` are its
    addresses); else the bound address, or for a port bound everywhere the `outward` address. A warning names what
    workers will dial when that is only good on this host.
    """
    if configured:
        return Advertised(configured)
    everywhere = bound in EVERYWHERE
    if host_name and (bound in resolved or (everywhere and any(not is_loopback(address) for address in resolved))):
        return Advertised(host_name, "" if everywhere else _loopback_warning(host_name, bound))
    if not everywhere:
        return Advertised(bound, _loopback_warning(bound, bound))
    if outward:
        return Advertised(outward)
    host = host_name or "127.0.0.1"
    return Advertised(
        host,
        f"workers will dial {host}, which leads nowhere from other hosts: set coordinator.advertise to an address they can reach",
    )


def _loopback_warning(host: str, bound: str) -> str:
    if not is_loopback(bound):
        return ""
    return (
        f"workers will dial {host}, which only this host can reach: "
        "set coordinator.host to 0.0.0.0 to take workers of other hosts"
    )
