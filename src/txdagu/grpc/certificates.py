"""
Certificates, keys and authorities as PEM files (RFC 7468): read, and judged before anybody meets them in a handshake.

Everything that is wrong is a `FileFinding`; all are found at once. Files are small and read at start and when they change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import CertificateError

from txdagu.model.addresses import ip_version

_STRONGER = "have it issued with an EC key, or RSA of 2048 bits or more, and signed with SHA-256 or better"
EXPIRES_SOON = timedelta(days=30)
_SHOWN_NAMES = 8


class Part(Enum):
    """Which of the files a finding is about."""

    CERTIFICATE = "certificate"
    KEY = "key"
    AUTHORITY = "authority"


class Usage(Enum):
    """What a certificate must be good for (extended key usage, RFC 5280 section 4.2.1.12)."""

    SERVER = ("serverAuth", ExtendedKeyUsageOID.SERVER_AUTH)
    CLIENT = ("clientAuth", ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class FileFinding:
    """Something wrong with a file: what, and what to do. Only with a `fatal` one nothing works."""

    part: Part
    file: str
    message: str
    advice: str = ""
    fatal: bool = True
    of_usage: bool = False
    """Whether it is about what the certificate may be used for."""

    def __str__(self) -> str:
        """File, what is wrong, what to do."""
        return f"{self.file}: {self.message}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate, the authorities between it and the root, and its key."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


def read_identity(
    cert_file: str, key_file: str, usages: Iterable[Usage], now: datetime
) -> tuple[Identity | None, list[FileFinding]]:
    """
    The pair in two files, if it can be used at all, and what is wrong with it for these usages. `now` has a time zone.

    To lack the use as a client is not fatal: servers need not ask for a certificate.
    """
    chain, findings = _read_certificates(Part.CERTIFICATE, cert_file)
    if chain:
        findings += _judge_chain(cert_file, chain, usages, now)
    key, key_findings = _read_key(key_file)
    findings += key_findings
    if chain and key is not None:
        findings += _judge_pair(cert_file, chain, key_file, key)
    if not chain or key is None or any(finding.fatal for finding in findings):
        return None, findings
    refusal = _refusal(chain)
    if refusal:
        findings.append(
            FileFinding(Part.CERTIFICATE, cert_file, f"OpenSSL does not use {title(chain[0])}: {refusal}", _STRONGER)
        )
        return None, findings
    return Identity(chain, key), findings


def _refusal(chain: Sequence[x509.Certificate]) -> str:
    """Why OpenSSL takes no part of a chain for its own, for instance because a key is too short; empty if it does."""
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.use_certificate(chain[0])
        for each in chain[1:]:
            context.add_extra_chain_cert(each)
    except SSL.Error as error:
        return ", ".join(str(entry[2]) for entry in error.args[0]) if error.args else type(error).__name__
    return ""


def read_authorities(file: str, now: datetime) -> tuple[tuple[x509.Certificate, ...], list[FileFinding]]:
    """The certificates in a file of authorities, and what is wrong with it."""
    authorities, findings = _read_certificates(Part.AUTHORITY, file)
    expired = [each for each in authorities if each.not_valid_after_utc < now]
    for each in expired:
        findings.append(
            FileFinding(
                Part.AUTHORITY,
                file,
                f"the authority {title(each)} expired on {_day(each.not_valid_after_utc)}",
                "get its new certificate",
                fatal=len(expired) == len(authorities),
            )
        )
    return authorities, findings


def title(certificate: x509.Certificate) -> str:
    """How messages call a certificate: its subject, else its serial number."""
    return certificate.subject.rfc4514_string() or f"with serial number {certificate.serial_number:x}"


def host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses that a certificate is for; a common name does not count (RFC 9525 section 2)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def named_hosts(certificate: x509.Certificate) -> str:
    """`host_names` for messages: the first few, and how many more; ``no host at all`` without one."""
    names = host_names(certificate)
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return (", ".join(names[:_SHOWN_NAMES]) or "no host at all") + more


def is_for(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate names that host or IP address (RFC 9525), as service_identity judges."""
    try:
        if ip_version(host):
            verify_certificate_ip_address(certificate, host.partition("%")[0])
        else:
            verify_certificate_hostname(certificate, ascii_name(host))
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


def ascii_name(host: str) -> str:
    """A host name as certificates and TLS write it. Raises `UnicodeError` if it cannot be one."""
    return host.encode("idna").decode("ascii").removesuffix(".")


def has_usage(certificate: x509.Certificate, usage: Usage) -> bool:
    """Whether it may be used so; one that lists no usages may be used for everything."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return True
    return usage.value[1] in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _read(part: Part, file: str) -> tuple[bytes, list[FileFinding]]:
    try:
        content = Path(file).read_bytes()
    except FileNotFoundError:
        return b"", [FileFinding(part, file, "there is no such file")]
    except PermissionError:
        return b"", [FileFinding(part, file, f"user {os.geteuid()} may not read it", "give that user read access")]
    except OSError as error:
        return b"", [FileFinding(part, file, f"cannot be read: {error.strerror}")]
    return content, []


def _read_certificates(part: Part, file: str) -> tuple[tuple[x509.Certificate, ...], list[FileFinding]]:
    content, findings = _read(part, file)
    if findings:
        return (), findings
    if b"-----BEGIN CERTIFICATE-----" not in content:
        what = "holds a key and no certificate" if b"PRIVATE KEY-----" in content else "holds no certificate in PEM"
        advice = "it begins with -----BEGIN CERTIFICATE-----; convert DER with openssl x509 -inform der"
        return (), [FileFinding(part, file, what, advice)]
    try:
        return tuple(x509.load_pem_x509_certificates(content)), []
    except ValueError as error:
        return (), [FileFinding(part, file, f"holds a certificate that cannot be read: {_first_line(error)}")]


def _read_key(file: str) -> tuple[PrivateKeyTypes | None, list[FileFinding]]:
    content, findings = _read(Part.KEY, file)
    if findings:
        return None, findings
    if b"PRIVATE KEY-----" not in content:
        what = "holds a certificate and no key" if b"-----BEGIN CERTIFICATE-----" in content else "holds no key in PEM"
        return None, [FileFinding(Part.KEY, file, what, "it begins with -----BEGIN PRIVATE KEY-----")]
    try:
        key = load_pem_private_key(content, None)
    except TypeError:
        advice = f"remove the password: openssl pkey -in {file} -out new.key"
        return None, [FileFinding(Part.KEY, file, "is encrypted, and there is nobody to type a password", advice)]
    except Exception as error:  # noqa: BLE001 - beyond ValueError: UnsupportedAlgorithm, and errors of OpenSSL itself
        return None, [FileFinding(Part.KEY, file, f"holds a key that cannot be read: {_first_line(error)}")]
    if stat.S_IMODE(Path(file).stat().st_mode) & stat.S_IROTH:
        message = "everybody on this host can read this key"
        findings.append(FileFinding(Part.KEY, file, message, f"chmod o-r {file}", fatal=False))
    return key, findings


def _judge_chain(
    file: str, chain: Sequence[x509.Certificate], usages: Iterable[Usage], now: datetime
) -> list[FileFinding]:
    findings: list[FileFinding] = []

    def add(message: str, advice: str = "", *, fatal: bool = True, of_usage: bool = False) -> None:
        findings.append(FileFinding(Part.CERTIFICATE, file, message, advice, fatal, of_usage))

    for certificate in chain:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if ends < now:
            add(f"the certificate {title(certificate)} expired on {_day(ends)}", "have it renewed")
        elif begins > now:
            clock = f"the clock of this host says {now.isoformat(timespec='seconds')}"
            add(f"the certificate {title(certificate)} is not valid before {begins.isoformat()}", clock)
        elif ends - now < EXPIRES_SOON:
            add(expires_soon(certificate, now), "have it renewed", fatal=False)
    leaf = chain[0]
    missing = [usage for usage in usages if not has_usage(leaf, usage)]
    if missing:
        names = [usage.value[0] for usage in missing]
        message = (
            f"the certificate {title(leaf)} is not for this use: its extended key usage lacks {' and '.join(names)}"
        )
        advice = f"have it issued with extendedKeyUsage={','.join(names)} in addition"
        if Usage.SERVER not in missing:
            advice += ", or servers that ask for a certificate refuse it"
        add(message, advice, fatal=Usage.SERVER in missing, of_usage=True)
    for number, (lower, upper) in enumerate(pairwise(chain), 1):
        if lower.issuer != upper.subject:
            message = f"certificate {number + 1} in it ({title(upper)}) did not issue certificate {number}"
            add(message, "put them in order: first the node's, then the authority that issued it, and so on up")
    return findings


def expires_soon(certificate: x509.Certificate, now: datetime) -> str:
    """The sentence about a certificate whose time is nearly over, or over."""
    ends = certificate.not_valid_after_utc
    left = ends - now
    if ends < now:
        return f"the certificate {title(certificate)} expired on {_day(ends)}"
    return f"the certificate {title(certificate)} expires in {days(left)}, on {_day(ends)}"


def days(time: timedelta) -> str:
    """Whole days for people, or hours if there are none: ``30 days``, ``1 day``, ``5 hours``."""
    unit, count = (
        ("day", time // timedelta(days=1)) if time >= timedelta(days=1) else ("hour", time // timedelta(hours=1))
    )
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _judge_pair(
    cert_file: str, chain: Sequence[x509.Certificate], key_file: str, key: PrivateKeyTypes
) -> list[FileFinding]:
    public = _public_bytes(key.public_key())
    places = [number for number, each in enumerate(chain, 1) if _public_bytes(each.public_key()) == public]
    if not places:
        message = f"this key does not belong to the certificate {title(chain[0])} in {cert_file}"
        return [FileFinding(Part.KEY, key_file, message, "take the key that the certificate was requested with")]
    if places[0] > 1:
        message = f"the certificate of the key {key_file} is number {places[0]} in it"
        return [FileFinding(Part.CERTIFICATE, cert_file, message, "put it first, the authorities behind it")]
    return []


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
