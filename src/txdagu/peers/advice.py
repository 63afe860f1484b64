"""What to do about troubles with TLS between nodes: the settings that mend them, on this host ("here") or the other ("there")."""

from __future__ import annotations

from txdagu.grpc.tls_failures import Advice, Trouble

CLIENT_ADVICE: Advice = {
    Trouble.NOT_TLS: (
        "give the coordinator a certificate (peer.certFile and peer.keyFile), or ask for clear text here "
        "(peer.insecure: true and no other peer settings)"
    ),
    Trouble.TLS_EXPECTED: "set peer.insecure: false here, and name the authority of its certificate with peer.clientCaFile",
    Trouble.UNANSWERED: "if it expects TLS, set peer.insecure: false here",
    Trouble.NO_HTTP2: (
        "see whether this is the coordinator's port; a proxy before it must offer HTTP/2 (ALPN h2) or pass TLS through untouched"
    ),
    Trouble.OLD_VERSION: "let it speak TLS 1.2 or 1.3",
    Trouble.THEIRS_UNKNOWN: "name the authority of the coordinator's certificate with peer.clientCaFile",
    Trouble.THEIRS_EXPIRED: "have the coordinator's certificate renewed",
    Trouble.THEIRS_WRONG_NAME: (
        "have a certificate issued for that name, or let the coordinator advertise a name of its certificate "
        "(coordinator.advertise)"
    ),
    Trouble.THEIRS_WRONG_USAGE: "have the coordinator's certificate issued for server use (serverAuth)",
    Trouble.OURS_MISSING: "set peer.certFile and peer.keyFile here",
    Trouble.OURS_REFUSED: (
        "peer.certFile here must be for client use (clientAuth), and from an authority in the coordinator's peer.clientCaFile"
    ),
    Trouble.OURS_UNUSABLE: "mend or remove them",
}
"""Said by those who call a coordinator."""
SERVER_ADVICE: Advice = {
    Trouble.NOT_TLS: "set peer.insecure: false there",
    Trouble.TLS_SPOKEN: (
        "give this coordinator a certificate (peer.certFile and peer.keyFile), or ask for clear text there "
        "(peer.insecure: true and no other peer settings)"
    ),
    Trouble.OLD_VERSION: "let it speak TLS 1.2 or 1.3",
    Trouble.THEIRS_MISSING: "set peer.certFile and peer.keyFile there",
    Trouble.THEIRS_UNKNOWN: "that authority must be in peer.clientCaFile here",
    Trouble.THEIRS_EXPIRED: "have its certificate renewed",
    Trouble.THEIRS_WRONG_USAGE: "have its certificate issued for client use (clientAuth)",
    Trouble.OURS_WRONG_NAME: (
        "let peer.certFile be one for that name, or advertise a name that it has with --coordinator.advertise"
    ),
    Trouble.OURS_REFUSED: (
        "peer.clientCaFile there must name the authority of peer.certFile here, which must be for the name that is dialled, "
        "and the clocks must be right"
    ),
}
"""Said by a coordinator. "There" is the client."""
