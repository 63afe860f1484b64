"""Addresses as people and ``:authority`` headers write them."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress


def join_host_port(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 literal."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_version(host: str) -> int | None:
    """4 or 6 for an IP literal (an IPv6 zone such as ``%eth0`` is fine), None for a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


def format_address(address: IAddress | None) -> str:
    """The peer of a connection, for logs and call contexts."""
    if isinstance(address, IPv4Address | IPv6Address):
        return join_host_port(address.host, address.port)
    if isinstance(address, UNIXAddress):
        name = address.name
        return "unix:" + (name.decode("utf-8", "replace") if isinstance(name, bytes) else name or "")
    return "unknown" if address is None else str(address)
