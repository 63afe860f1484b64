"""Whether nodes talk over TLS, by the settings: one rule for coordinators and for everybody who calls them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from txdagu.config.settings import PeerSettings
from txdagu.model.errors import InvalidInputError, Problem


class End(Enum):
    """What a process is in connections between nodes. The main instance is both."""

    SERVER = "server"
    CLIENT = "client"


def protection_problems(peer: PeerSettings, origins: Mapping[str, str], ends: Collection[End]) -> list[Problem]:
    """Why TLS cannot be had as the settings ask for it, one problem for each; none if it is off, or can be had."""
    if not wants_tls(peer, origins):
        return _contradictions(peer, origins)
    problems = []
    for key, value, other, missing in (
        ("peer.certFile", peer.cert_file, "peer.keyFile", not peer.key_file),
        ("peer.keyFile", peer.key_file, "peer.certFile", not peer.cert_file),
    ):
        if value and missing:
            message = f"{value} is of no use without {other}"
            problems.append(Problem(message, _where(key, origins), f"give both, also --{_FLAGS[other]}"))
    asked = _asked_by(peer, origins)
    if End.SERVER in ends and not (peer.cert_file or peer.key_file):
        message = "TLS is asked for, and a coordinator cannot speak it without a certificate"
        advice = "give peer.certFile and peer.keyFile, or set peer.insecure to true to speak clear text"
        problems.append(Problem(message, asked, advice))
    elif not (peer.cert_file or peer.key_file or peer.client_ca_file or peer.skip_tls_verify):
        advice = (
            "name the authority of the coordinator's certificate with peer.clientCaFile, give a certificate of our own with "
            "peer.certFile and peer.keyFile, or believe any coordinator with peer.skipTlsVerify"
        )
        problems.append(Problem("TLS enabled but no certificates provided", asked, advice))
    return problems


def wants_tls(peer: PeerSettings, origins: Mapping[str, str]) -> bool:
    """
    Whether the settings ask for TLS.

    They do with ``peer.insecure: false``, and when ``peer.insecure`` was not given at all but any of the settings that mean
    nothing without TLS was. `origins` says which were given.
    """
    if not peer.insecure:
        return True
    if "peer.insecure" in origins:
        return False
    return bool(peer.cert_file or peer.key_file or peer.client_ca_file or peer.skip_tls_verify)


def require_possible(peer: PeerSettings, origins: Mapping[str, str], ends: Collection[End]) -> bool:
    """Whether to speak TLS. Raises `InvalidInputError` if the settings ask for it and it cannot be had."""
    problems = protection_problems(peer, origins, ends)
    if problems:
        raise InvalidInputError(problems)
    return wants_tls(peer, origins)


_FLAGS = {
    "peer.certFile": "peer.cert-file",
    "peer.keyFile": "peer.key-file",
    "peer.clientCaFile": "peer.client-ca-file",
}


def _contradictions(peer: PeerSettings, origins: Mapping[str, str]) -> list[Problem]:
    """Files that were given in vain, because clear text was asked for in so many words."""
    if "peer.insecure" not in origins:
        return []
    files = (
        ("peer.certFile", peer.cert_file),
        ("peer.keyFile", peer.key_file),
        ("peer.clientCaFile", peer.client_ca_file),
    )
    given = [_where(key, origins) for key, value in files if value]
    if not given:
        return []
    message = f"asks for clear text, but there are files for TLS too: {', '.join(given)}"
    return [Problem(message, _where("peer.insecure", origins), "set it to false, or remove those settings")]


def _asked_by(peer: PeerSettings, origins: Mapping[str, str]) -> str:
    """The setting that asks for TLS."""
    if not peer.insecure:
        return _where("peer.insecure", origins)
    values = (
        ("peer.certFile", peer.cert_file),
        ("peer.keyFile", peer.key_file),
        ("peer.clientCaFile", peer.client_ca_file),
        ("peer.skipTlsVerify", peer.skip_tls_verify),
    )
    return ", ".join(_where(key, origins) for key, value in values if value)


def _where(key: str, origins: Mapping[str, str]) -> str:
    return f"{key} from {origins[key]}" if key in origins else key
