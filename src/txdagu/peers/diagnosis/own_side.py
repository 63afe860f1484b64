"""What we bring to a connection with a coordinator, as the peer settings say, and whether that can work at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from txdagu.config.presentation import present, value_of
from txdagu.config.settings import Settings
from txdagu.grpc.certificates import FileFinding, Identity, Part, Usage, read_authorities, read_identity, title
from txdagu.model.findings import Finding, failure, ok, warning
from txdagu.peers.security import End, protection_problems, wants_tls

_SETTINGS = {Part.CERTIFICATE: "peer.certFile", Part.KEY: "peer.keyFile", Part.AUTHORITY: "peer.clientCaFile"}
# Any of these asks for TLS where peer.insecure is not given.
_ASKING = ("peer.certFile", "peer.keyFile", "peer.clientCaFile", "peer.skipTlsVerify")
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

    @property
    def asked_by(self) -> str:
        """The settings that decide whether we speak TLS or clear text, and who said so."""
        if not self.tls or not self.settings.peer.insecure:
            return self.setting("peer.insecure")
        return "; ".join(self.setting(key) for key in _ASKING if value_of(self.settings, key))


def own_side(settings: Settings, now: datetime) -> tuple[OwnSide, list[Finding]]:
    """Read the files that the peer settings name, at most three small ones, and judge everything that needs no coordinator."""
    peer = settings.peer
    problems = [
        failure("settings", f"{problem.where}: {problem.message}" if problem.where else problem.message, problem.advice)
        for problem in protection_problems(peer, settings.origins, [End.CLIENT])
    ]
    if not wants_tls(peer, settings.origins):
        own = OwnSide(settings)
        return own, problems or [ok("settings", f"we speak clear text (h2c), because {own.asked_by}")]
    findings = problems or [ok("settings", f"we speak TLS, because {OwnSide(settings, tls=True).asked_by}")]
    anchors = _anchors(settings, now, findings)
    identity = _identity(settings, now, findings)
    return OwnSide(settings, True, not peer.skip_tls_verify, anchors, identity), findings


def _anchors(settings: Settings, now: datetime, findings: list[Finding]) -> tuple[x509.Certificate, ...]:
    peer = settings.peer
    where = present(settings, "peer.clientCaFile")
    anchors: tuple[x509.Certificate, ...] = ()
    if peer.client_ca_file:
        anchors, wrong = read_authorities(peer.client_ca_file, now)
        findings += [_about_file(settings, each) for each in wrong]
        if anchors and not any(each.fatal for each in wrong):
            findings.append(
                ok("authorities", f"{', '.join(title(each) for each in anchors)}, and the system's; {where}")
            )
    elif not peer.skip_tls_verify:
        findings.append(ok("authorities", f"the system's only; {where}"))
    if peer.skip_tls_verify:
        text = f"any coordinator is believed, whatever certificate it shows; {present(settings, 'peer.skipTlsVerify')}"
        advice = "name the authority of the coordinators' certificates with peer.clientCaFile instead"
        findings.append(warning("authorities", text, advice))
    return anchors


def _identity(settings: Settings, now: datetime, findings: list[Finding]) -> Identity | None:
    peer = settings.peer
    if not peer.cert_file and not peer.key_file:
        findings.append(ok("own certificate", "none; peer.certFile and peer.keyFile are not set"))
    if not peer.cert_file or not peer.key_file:
        return None
    identity, wrong = read_identity(peer.cert_file, peer.key_file, (Usage.CLIENT,), now)
    findings += [_about_file(settings, each) for each in wrong]
    if identity is not None:
        leaf = identity.chain[0]
        text = f"{title(leaf)}, valid until {leaf.not_valid_after_utc:%Y-%m-%d}, with its key"
        findings.append(ok("own certificate", f"{text}; {present(settings, 'peer.certFile')}"))
    return identity


def _about_file(settings: Settings, found: FileFinding) -> Finding:
    make = failure if found.fatal else warning
    where = present(settings, _SETTINGS[found.part])
    return make(_CHECKS[found.part], f"{found.file}: {found.message}", "; ".join(filter(None, (found.advice, where))))
