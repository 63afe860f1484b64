"""Addresses of connections as logs and call contexts write them."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from txdagu.model.addresses import join_host_port


def format_host(address: IAddress | None) -> str:
    """The peer's host alone, by which connections are counted; clients of a socket path all share one name."""
    return address.host if isinstance(address, IPv4Address | IPv6Address) else "local"


def format_address(address: IAddress | None) -> str:
    """The peer of a connection, for logs and call contexts."""
    if isinstance(address, IPv4Address | IPv6Address):
        return join_host_port(address.host, address.port)
    if isinstance(address, UNIXAddress):
        name = address.name
        return "unix:" + (name.decode("utf-8", "replace") if isinstance(name, bytes) else name or "")
    return "unknown" if address is None else str(address)
