"""Hosts and ports as people write them."""

from __future__ import annotations

from ipaddress import ip_address

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - to recognise them, not to bind them
"""What binds to all interfaces of a host, and leads to none from elsewhere."""


def join_host_port(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 literal."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_version(host: str) -> int | None:
    """4 or 6 for an IP literal (an IPv6 zone such as ``%eth0`` is fine), None for a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether only this host can reach that address; of names only ``localhost`` counts."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
