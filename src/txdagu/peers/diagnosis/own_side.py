"""What we bring to a connection with a coordinator, as the peer settings say, and whether that can work at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from txdagu.config.presentation import present
from txdagu.config.settings import Settings
from txdagu.grpc.certificates import Finding as FileFinding
from txdagu.grpc.certificates import Identity, Part, Usage, read_authorities, read_identity, title
from txdagu.model.findings import Finding, failure, ok, warning

_SETTINGS = {Part.CERTIFICATE: "peer.certFile", Part.KEY: "peer.keyFile", Part.AUTHORITY: "peer.clientCaFile"}
_CHECKS = {Part.CERTIFICATE: "own certificate", Part.KEY: "own key", Part.AUTHORITY: "authorities"}


@dataclass(frozen=True, slots=True)
class OwnSide:
    """
    Whether we speak TLS, whether we verify servers, by which authorities besides the system's, and what we show of ourselves.

    `settings` is for those who must say which setting to change.
    """

    settings: Settings
    tls: bool = False
    verify: bool = True
    anchors: tuple[x509.Certificate, ...] = ()
    identity: Identity | None = None

    def setting(self, key: str) -> str:
        """What that setting is now, and who said so."""
        return present(self.settings, key)


def own_side(settings: Settings, now: datetime) -> tuple[OwnSide, list[Finding]]:
    """Read the files that the peer settings name, at most three small ones, and judge everything that needs no coordinator."""
    peer = settings.peer
    if peer.insecure:
        return OwnSide(settings), [ok("settings", f"we speak clear text (h2c): {present(settings, 'peer.insecure')}")]
    findings = [ok("settings", f"we speak TLS: {present(settings, 'peer.insecure')}")]
    identity = _identity(settings, now, findings)
    anchors: tuple[x509.Certificate, ...] = ()
    if peer.client_ca_file:
        anchors, wrong = read_authorities(peer.client_ca_file, now)
        findings += [_about_file(settings, each) for each in wrong]
        if anchors and not any(each.fatal for each in wrong):
            who = ", ".join(title(each) for each in anchors)
            findings.append(ok("authorities", f"{present(settings, 'peer.clientCaFile')}: {who}"))
    elif not peer.skip_tls_verify:
        findings.append(
            ok("authorities", f"servers are verified by the system's: {present(settings, 'peer.clientCaFile')}")
        )
    if peer.skip_tls_verify:
        findings.append(
            warning(
                "verification",
                f"whoever answers is believed: {present(settings, 'peer.skipTlsVerify')}",
                "give the authority of the coordinators with peer.clientCaFile instead",
            )
        )
    return OwnSide(settings, True, not peer.skip_tls_verify, anchors, identity), findings


def _identity(settings: Settings, now: datetime, findings: list[Finding]) -> Identity | None:
    peer = settings.peer
    if not peer.cert_file and not peer.key_file:
        findings.append(ok("own certificate", "we show none: peer.certFile and peer.keyFile are not set"))
        return None
    if not peer.cert_file or not peer.key_file:
        given, missing = ("peer.certFile", "peer.keyFile") if peer.cert_file else ("peer.keyFile", "peer.certFile")
        findings.append(
            failure("own certificate", f"{present(settings, given)}, but {missing} is not set", f"set {missing} too")
        )
        return None
    identity, wrong = read_identity(peer.cert_file, peer.key_file, (Usage.CLIENT,), now)
    findings += [_about_file(settings, each) for each in wrong]
    if identity is not None:
        leaf = identity.chain[0]
        findings.append(
            ok(
                "own certificate",
                f"{title(leaf)} of {peer.cert_file}, valid until {leaf.not_valid_after_utc:%Y-%m-%d}; its key matches",
            )
        )
    return identity


def _about_file(settings: Settings, found: FileFinding) -> Finding:
    make = failure if found.fatal else warning
    where = present(settings, _SETTINGS[found.part])
    return make(_CHECKS[found.part], f"{found.file}: {found.message}", "; ".join(filter(None, (found.advice, where))))
