"""
Certificates for tests: authorities, servers, clients, and every way in which they can be wrong.

Keys are of P-256, so they take no time.

::

    authority = Authority()
    server = authority.issue("coordinator", names=["localhost", "127.0.0.1"])
    cert_file, key_file = server.write(directory)
    ca_file = authority.write_authority(directory)
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
BOTH = (SERVER, CLIENT)
HERE = ("localhost", "127.0.0.1", "::1")

_DAY = timedelta(days=1)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Issued:
    """A certificate with its key; `chain` are the authorities between it and the root, the nearest first."""

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...] = ()
    ) -> None:
        self.certificate = certificate
        self.key = key
        self.chain = chain

    @property
    def pem(self) -> bytes:
        """The certificate and its chain."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.chain))

    def key_pem(self, password: bytes = b"") -> bytes:
        """The key, encrypted if there is a password."""
        hidden: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)

    def write(self, directory: Path, stem: str = "node") -> tuple[str, str]:
        """Put both into `directory`, the key readable for its owner only; the two paths."""
        cert_file, key_file = directory / f"{stem}.crt", directory / f"{stem}.key"
        cert_file.write_bytes(self.pem)
        key_file.unlink(missing_ok=True)
        key_file.touch(0o600)
        key_file.write_bytes(self.key_pem())
        return str(cert_file), str(key_file)


class Authority(Issued):
    """
    A root of trust, or with an `issuer` an intermediate authority.

    Valid until `end`, in days from now; what it issues is good for its `usages` only (none: for all).
    """

    def __init__(
        self,
        name: str = "test authority",
        *,
        issuer: Authority | None = None,
        usages: Iterable[x509.ObjectIdentifier] = (),
        end: float = 3650,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name) if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 400 * _DAY)
            .not_valid_after(now + end * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        )
        if usages := tuple(usages):
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
        super().__init__(certificate, key, () if issuer is None else (*issuer.sent_chain,))
        self.sent_chain: tuple[x509.Certificate, ...] = () if issuer is None else (certificate, *issuer.sent_chain)
        """What holders of a certificate issued here send behind it: everything up to the root, without that."""

    @classmethod
    def pretend(cls, node: Issued) -> Authority:
        """What somebody makes of a node's certificate and key who would like them to be an authority's."""
        made = cls.__new__(cls)
        Issued.__init__(made, node.certificate, node.key, node.chain)
        made.sent_chain = (node.certificate, *node.chain)
        return made

    def issue(
        self,
        name: str = "node",
        *,
        names: Iterable[str] = HERE,
        usages: Iterable[x509.ObjectIdentifier] = BOTH,
        begin: float = -1,
        end: float = 365,
    ) -> Issued:
        """
        A certificate for the host `names` (DNS names and IP addresses; none: no such extension) and the `usages` (none: for all).

        It is valid from `begin` to `end`, both in days from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin * _DAY)
            .not_valid_after(now + end * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if general_names := [_general_name(each) for each in names]:
            builder = builder.add_extension(x509.SubjectAlternativeName(general_names), critical=False)
        if usages := tuple(usages):
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()), key, self.sent_chain)

    def write_authority(self, directory: Path, stem: str = "ca") -> str:
        """Put the certificate alone into `directory`, as those need it who trust this authority; its path."""
        path = directory / f"{stem}.crt"
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return str(path)
