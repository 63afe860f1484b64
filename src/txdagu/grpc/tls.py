"""
TLS for servers and channels: from files to what protects one connection after the other (RFC 8446, RFC 9113 section 9.2).

`ServerTls` and `ClientTls` hold the files. They are read at the beginning and whenever one of them has changed, which three
`stat` calls per connection find out: microseconds, so no thread is needed. A replacement that cannot be used is logged, and the
previous files stay in use. HTTP/2 must be agreed on by ALPN, and nothing older than TLS 1.2 is spoken.

`txdagu.grpc.tls_endpoints` puts them over endpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509StoreFlags
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, trustRootFromCertificates
from twisted.logger import Logger

from txdagu.grpc.certificates import (
    EXPIRES_SOON,
    FileFinding,
    Identity,
    Usage,
    expires_soon,
    is_for,
    named_hosts,
    read_authorities,
    read_identity,
    title,
)
from txdagu.grpc.tls_failures import NO_ADVICE, Advice, NoCommonProtocolError, TlsError, Trouble, with_advice
from txdagu.system.clock import local_now

HTTP2 = b"h2"

Stamp = tuple[tuple[int, int, int, int] | None, ...]
RETRY_AFTER = timedelta(minutes=1)
"""Files that could not be used are read again after that time, changed or not: a certificate may have become valid meanwhile."""
TRUST_FLAGS = X509StoreFlags.PARTIAL_CHAIN
"""A file of authorities may name one below the root; whatever it names is trusted, as Go's programs do it."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What files came to: a context if they can be used, and what is wrong with them."""

    context: SSL.Context | None
    identity: Identity | None
    authorities: tuple[x509.Certificate, ...]
    findings: list[FileFinding]


class TlsFiles(ABC):
    """
    Files that make a TLS context, and the context of their last usable content. Knows when they have changed.

    `advice` is added to messages about failed connections; `now` is the time of day with its zone.
    """

    log = Logger()

    def __init__(self, files: Sequence[str], advice: Advice, now: Callable[[], datetime]) -> None:
        self.files = tuple(file for file in files if file)
        self.advice = advice
        self.findings: tuple[FileFinding, ...] = ()
        """What was wrong with the files when they were read last, fatal or not."""
        self.certificates: tuple[x509.Certificate, ...] = ()
        """Our own certificate and its chain, as in use; empty without one."""
        self.authorities: tuple[x509.Certificate, ...] = ()
        """The authorities of the other end that a file names, as in use."""
        self._now = now
        self._context: SSL.Context | None = None
        self._refused_at: datetime | None = None
        self._stamp = self._look()
        self._read()

    @abstractmethod
    def _make(self) -> _Made:
        """Read the files."""

    @property
    def usable(self) -> bool:
        """Whether there is a content of the files that can be used, be it an earlier one."""
        return self._context is not None

    def context(self) -> SSL.Context:
        """The context for the next connection. Raises `TlsError` if the files never could be used."""
        if self._stamp != self._look():
            self.reload()
        elif self._refused_at is not None and self._now() - self._refused_at >= RETRY_AFTER and self._read():
            self._tell()
        if self._context is None:
            raise TlsError(Trouble.OURS_UNUSABLE, f"our own TLS files cannot be used: {self._problems()}")
        return self._context

    def reload(self) -> bool:
        """Read the files now, changed or not. False if they cannot be used: then the previous content stays in use."""
        self._stamp = self._look()
        if not self._read():
            kept = "the previous ones stay in use" if self.usable else "there are none to use in their place"
            self.log.error("changed TLS files cannot be used, {kept}: {why}", kept=kept, why=self._problems())
            return False
        self._tell()
        return True

    def _tell(self) -> None:
        self.log.info("TLS files were read again: {own}", own=self.describe())
        for doubt in self.doubts():
            self.log.warn("{doubt}", doubt=doubt)

    def describe(self) -> str:
        """Our own certificate in a few words, for logs."""
        if not self.certificates:
            return "no certificate of our own"
        leaf = self.certificates[0]
        return f"our certificate is {title(leaf)}, valid until {leaf.not_valid_after_utc:%Y-%m-%d}"

    def doubts(self) -> list[str]:
        """What is doubtful about the files that are in use, a sentence for each."""
        return [str(finding) for finding in self.findings]

    def expiring(self) -> list[str]:
        """A sentence for each certificate in use whose time is over, or will be within 30 days."""
        now = self._now()
        soon = now + EXPIRES_SOON
        used = (*self.certificates, *self.authorities)
        return [expires_soon(each, now) for each in used if each.not_valid_after_utc < soon]

    def _read(self) -> bool:
        made = self._make()
        self.findings = tuple(made.findings)
        if made.context is None:
            self._refused_at = self._now()
            return False
        self._refused_at = None
        self._context, self.authorities = made.context, made.authorities
        self.certificates = () if made.identity is None else made.identity.chain
        return True

    def _problems(self) -> str:
        return "; ".join(str(finding) for finding in self.findings if finding.fatal)

    def _look(self) -> Stamp:
        stamp: list[tuple[int, int, int, int] | None] = []
        for file in self.files:
            try:
                found = Path(file).stat()
            except OSError:
                stamp.append(None)
            else:
                stamp.append((found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))
        return tuple(stamp)


class ServerTls(TlsFiles):
    """
    The server's end: its certificate with key, and the authorities of its clients.

    With `client_ca_file`, clients must show a certificate for client use that one of the authorities in this file issued.
    """

    def __init__(
        self,
        cert_file: str,
        key_file: str,
        client_ca_file: str = "",
        *,
        advice: Advice = NO_ADVICE,
        now: Callable[[], datetime] = local_now,
    ) -> None:
        self.dialled_as = ""
        """The host that clients dial, once that is known."""
        self._pair = (cert_file, key_file)
        self._client_ca_file = client_ca_file
        super().__init__((cert_file, key_file, client_ca_file), advice, now)

    @property
    def wants_certificates(self) -> bool:
        """Whether clients must show one."""
        return bool(self._client_ca_file)

    def misnaming(self) -> str:
        """That our certificate is not for the host that clients dial, or nothing."""
        if not self.dialled_as or not self.certificates or is_for(self.certificates[0], self.dialled_as):
            return ""
        names = named_hosts(self.certificates[0])
        text = f"the certificate {self._pair[0]} is for {names}, not for {self.dialled_as}, which clients dial"
        return str(with_advice(Trouble.OURS_WRONG_NAME, f"{text}: those that verify will refuse", self.advice))

    def doubts(self) -> list[str]:
        """As of any files, and that the certificate does not name the host that clients dial."""
        return [*super().doubts(), *filter(None, [self.misnaming()])]

    def _make(self) -> _Made:
        now = self._now()
        identity, findings = read_identity(*self._pair, (Usage.SERVER,), now)
        authorities: tuple[x509.Certificate, ...] = ()
        if self._client_ca_file:
            authorities, more = read_authorities(self._client_ca_file, now)
            findings += more
        if identity is None or any(finding.fatal for finding in findings):
            return _Made(None, identity, authorities, findings)
        context = _context(identity, authorities)
        context.set_alpn_select_callback(_select_http2)
        return _Made(context, identity, authorities, findings)


class ClientTls(TlsFiles):
    """
    The client's end: the authorities that may have issued the server's certificate, and a certificate of its own.

    `ca_file` is added to the authorities of the system. With `verify` false, any server is believed. The certificate is shown to
    servers that ask for one.
    """

    def __init__(
        self,
        ca_file: str = "",
        cert_file: str = "",
        key_file: str = "",
        verify: bool = True,
        *,
        advice: Advice = NO_ADVICE,
        now: Callable[[], datetime] = local_now,
    ) -> None:
        self.verify = verify
        self._ca_file = ca_file
        self._pair = (cert_file, key_file) if cert_file and key_file else None
        super().__init__((ca_file, *(self._pair or ())), advice, now)

    @property
    def shows_certificate(self) -> bool:
        """Whether servers are shown one when they ask."""
        return self._pair is not None

    def _make(self) -> _Made:
        now = self._now()
        identity: Identity | None = None
        findings: list[FileFinding] = []
        authorities: tuple[x509.Certificate, ...] = ()
        if self._pair is not None:
            identity, findings = read_identity(*self._pair, (Usage.CLIENT,), now)
        if self._ca_file:
            authorities, more = read_authorities(self._ca_file, now)
            findings += more
        if any(finding.fatal for finding in findings):
            return _Made(None, identity, authorities, findings)
        context = _context(identity, authorities)
        if self.verify:
            context.set_default_verify_paths()
        context.set_alpn_protos([HTTP2])
        return _Made(context, identity, authorities, findings)


def _context(identity: Identity | None, authorities: Sequence[x509.Certificate]) -> SSL.Context:
    """Twisted's choice of ciphers and options, at least TLS 1.2. Who is verified is set for each connection."""
    options: dict[str, Any] = {}
    if identity is not None:
        options = {
            "privateKey": identity.key,
            "certificate": identity.chain[0],
            "extraCertChain": list(identity.chain[1:]),
        }
    if authorities:
        options["trustRoot"] = trustRootFromCertificates(
            [Certificate.loadPEM(authority.public_bytes(Encoding.PEM)) for authority in authorities]
        )
    context = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2, **options).getContext()
    store = context.get_cert_store()
    if store is not None:
        store.set_flags(TRUST_FLAGS)
    return context


def _select_http2(_connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
    if HTTP2 in offered:
        return HTTP2
    raise NoCommonProtocolError([("SSL routines", "", "no application protocol")])
