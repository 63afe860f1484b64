"""Files of certificates and keys, and everything that can be wrong with them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.certificates import Part, Usage, days, host_names, is_for, named_hosts, read_authorities, read_identity
from txdagu.testing.certificates import CLIENT, SERVER, Authority, Issued

DAY = timedelta(days=1)
BOTH = (Usage.SERVER, Usage.CLIENT)


class FileCase(SynchronousTestCase):
    """Files in a directory of their own."""

    def setUp(self) -> None:
        """An authority."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority()
        self.now = datetime.now(UTC)

    def file(self, name: str, content: bytes) -> str:
        """A file that only its owner can read."""
        path = self.directory / name
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)


class Pairs(FileCase):
    """A certificate with its key."""

    def judge(self, cert: bytes, key: bytes, *usages: Usage) -> list[tuple[Part, str, bool]]:
        """What is found: about what, which words, whether it is fatal."""
        cert_file, key_file = self.file("node.crt", cert), self.file("node.key", key)
        identity, findings = read_identity(cert_file, key_file, usages or BOTH, self.now)
        fatal = any(finding.fatal for finding in findings)
        self.assertEqual(identity is None, fatal)
        return [(finding.part, finding.message, finding.fatal) for finding in findings]

    def judge_issued(self, issued: Issued, *usages: Usage) -> list[tuple[Part, str, bool]]:
        """As `judge`, with a pair that fits."""
        return self.judge(issued.pem, issued.key_pem(), *usages)

    def test_good(self) -> None:
        """A pair for both uses, also one that lists no uses at all, and one with a chain."""
        self.assertEqual(self.judge_issued(self.authority.issue()), [])
        self.assertEqual(self.judge_issued(self.authority.issue(usages=[])), [])
        self.assertEqual(self.judge_issued(Authority("middle", issuer=self.authority).issue()), [])

    def test_weak_key(self) -> None:
        """A key that OpenSSL finds too short is told at start instead of in a traceback."""
        weak = rsa.generate_private_key(65537, 1024)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
        builder = x509.CertificateBuilder(name, name, weak.public_key(), 7, self.now - DAY, self.now + 99 * DAY)
        cert = builder.sign(weak, hashes.SHA256()).public_bytes(Encoding.PEM)
        key = weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        message = "OpenSSL does not use CN=weak: ee key too small"
        self.assertEqual(self.judge(cert, key), [(Part.CERTIFICATE, message, True)])

    def test_missing(self) -> None:
        """Both files are missing: both are told."""
        identity, findings = read_identity("/no/such.crt", "/no/such.key", BOTH, self.now)
        self.assertIsNone(identity)
        self.assertEqual(
            [str(finding) for finding in findings],
            ["/no/such.crt: there is no such file", "/no/such.key: there is no such file"],
        )

    def test_not_a_file(self) -> None:
        """A directory, and a file that our user may not read, are told as what they are."""
        _, findings = read_identity(str(self.directory), self.file("k", b""), BOTH, self.now)
        self.assertEqual(findings[0].message, "cannot be read: Is a directory")
        if os.geteuid() != 0:
            hidden = self.file("hidden", b"")
            Path(hidden).chmod(0)
            _, findings = read_identity(hidden, hidden, BOTH, self.now)
            self.assertEqual(findings[0].message, f"user {os.geteuid()} may not read it")

    def test_no_pem(self) -> None:
        """Binary files, swapped files and halves of files."""
        issued = self.authority.issue()
        binary = issued.certificate.public_bytes(Encoding.DER)
        self.assertEqual(
            self.judge(binary, b"\x00\x01"),
            [
                (Part.CERTIFICATE, "holds no certificate in PEM", True),
                (Part.KEY, "holds no key in PEM", True),
            ],
        )
        self.assertEqual(
            self.judge(issued.key_pem(), issued.pem),
            [
                (Part.CERTIFICATE, "holds a key and no certificate", True),
                (Part.KEY, "holds a certificate and no key", True),
            ],
        )
        half = self.judge(issued.pem[:300], issued.key_pem()[:100] + b"\n-----END PRIVATE KEY-----\n")
        self.assertRegex(half[0][1], "^holds a certificate that cannot be read: ")
        self.assertRegex(half[1][1], "^holds no key in PEM|^holds a key that cannot be read: ")

    def test_encrypted_key(self) -> None:
        """Nobody is there to type a password; the advice is the command that removes it."""
        issued = self.authority.issue()
        cert_file, key_file = self.file("a.crt", issued.pem), self.file("a.key", issued.key_pem(b"secret"))
        _, findings = read_identity(cert_file, key_file, BOTH, self.now)
        self.assertEqual(findings[0].message, "is encrypted, and there is nobody to type a password")
        self.assertEqual(findings[0].advice, f"remove the password: openssl pkey -in {key_file} -out new.key")

    def test_other_key(self) -> None:
        """A key that does not belong to the certificate."""
        found = self.judge(self.authority.issue("mine").pem, self.authority.issue("other").key_pem())
        cert_file = self.directory / "node.crt"
        words = f"this key does not belong to the certificate CN=mine in {cert_file}"
        self.assertEqual(found, [(Part.KEY, words, True)])

    def test_dates(self) -> None:
        """Expired, not valid yet, and soon to expire."""
        late = self.judge_issued(self.authority.issue("late", begin=-20, end=-1))
        self.assertRegex(late[0][1], r"^the certificate CN=late expired on \d{4}-\d\d-\d\d$")
        early = self.judge_issued(self.authority.issue("early", begin=2))
        self.assertRegex(early[0][1], "^the certificate CN=early is not valid before ")
        soon = self.judge_issued(self.authority.issue("soon", end=10.5))
        self.assertRegex(soon[0][1], r"^the certificate CN=soon expires in 10 days, on \d{4}-\d\d-\d\d$")
        self.assertEqual([late[0][2], early[0][2], soon[0][2]], [True, True, False])
        self.assertEqual(self.judge_issued(self.authority.issue(end=31)), [])

    def test_usage(self) -> None:
        """A certificate for one use only; servers cannot do without theirs, clients need not be asked for one."""
        for given, missing, fatal in ((SERVER, "clientAuth", False), (CLIENT, "serverAuth", True)):
            found = self.judge_issued(self.authority.issue("one", usages=[given]))
            words = f"the certificate CN=one is not for this use: its extended key usage lacks {missing}"
            self.assertEqual(found, [(Part.CERTIFICATE, words, fatal)])
        self.assertEqual(self.judge_issued(self.authority.issue(usages=[SERVER]), Usage.SERVER), [])
        self.assertEqual(self.judge_issued(self.authority.issue(usages=[CLIENT]), Usage.CLIENT), [])

    def test_chain_order(self) -> None:
        """The node's certificate comes first, and each other issued the one before it."""
        middle = Authority("middle", issuer=self.authority)
        issued = middle.issue("node")
        node, above = issued.pem.split(b"-----END CERTIFICATE-----\n", 1)
        node += b"-----END CERTIFICATE-----\n"
        upside_down = [words for _, words, _ in self.judge(above + node, issued.key_pem())]
        self.assertIn("certificate 2 in it (CN=node) did not issue certificate 1", upside_down)
        key_file = self.directory / "node.key"
        self.assertIn(f"the certificate of the key {key_file} is number 2 in it", upside_down)
        root = self.authority.certificate.public_bytes(Encoding.PEM)
        gap = [words for _, words, _ in self.judge(node + root, issued.key_pem())]
        self.assertEqual(gap, ["certificate 2 in it (CN=test authority) did not issue certificate 1"])

    def test_open_key(self) -> None:
        """A key that everybody can read is a warning; one that a group can read is usual."""
        issued = self.authority.issue()
        cert_file, key_file = self.file("a.crt", issued.pem), self.file("a.key", issued.key_pem())
        for mode, found in ((0o644, ["everybody on this host can read this key"]), (0o640, [])):
            Path(key_file).chmod(mode)
            identity, findings = read_identity(cert_file, key_file, BOTH, self.now)
            self.assertIsNotNone(identity)
            self.assertEqual([finding.message for finding in findings], found)

    def test_all_at_once(self) -> None:
        """Everything that is wrong with a pair is told together."""
        late = self.authority.issue("late", begin=-20, end=-1, usages=[CLIENT])
        found = self.judge(late.pem, self.authority.issue().key_pem(), Usage.SERVER)
        self.assertEqual(len(found), 3, found)


class Authorities(FileCase):
    """Files of authorities."""

    def test_read(self) -> None:
        """One or several certificates."""
        pem = self.authority.pem + Authority("second").pem
        found, findings = read_authorities(self.file("ca.crt", pem), self.now)
        self.assertEqual((len(found), findings), (2, []))

    def test_none(self) -> None:
        """A file without certificates, and none at all."""
        _, findings = read_authorities(self.file("ca.crt", b""), self.now)
        self.assertEqual(findings[0].message, "holds no certificate in PEM")
        _, findings = read_authorities("/no/ca.crt", self.now)
        self.assertEqual(findings[0].message, "there is no such file")

    def test_expired(self) -> None:
        """An expired authority is fatal only if there is no other."""
        old = Authority("old", end=-1)
        _, findings = read_authorities(self.file("ca.crt", old.pem), self.now)
        self.assertRegex(findings[0].message, "^the authority CN=old expired on ")
        self.assertTrue(findings[0].fatal)
        _, findings = read_authorities(self.file("ca.crt", old.pem + self.authority.pem), self.now)
        self.assertEqual([finding.fatal for finding in findings], [False])


class Names(SynchronousTestCase):
    """Whom a certificate is for."""

    def test_shown(self) -> None:
        """Messages show a few names and how many more there are: certificates of big sites have a hundred."""
        for count, shown in (
            (0, "no host at all"),
            (2, "h0.example, h1.example"),
            (10, f"{', '.join(f'h{n}.example' for n in range(8))} and 2 more"),
        ):
            names = [f"h{number}.example" for number in range(count)]
            self.assertEqual(named_hosts(Authority().issue(names=names).certificate), shown)

    def test_time_left(self) -> None:
        """The time that is left is told in days, and in hours on the last one."""
        for hours, shown in ((72.5, "3 days"), (25, "1 day"), (23.5, "23 hours"), (1.5, "1 hour")):
            self.assertEqual(days(timedelta(hours=hours)), shown)

    def test_names(self) -> None:
        """DNS names and addresses, wildcards for one label, international names; never the common name, never a wrong kind."""
        names = ["node.example", "*.example.org", "10.0.0.1", "::1", "xn--bcher-kva.example"]
        certificate = Authority().issue("common.example", names=names).certificate
        self.assertEqual(
            host_names(certificate), ("node.example", "*.example.org", "xn--bcher-kva.example", "10.0.0.1", "::1")
        )
        for host in (
            "node.example",
            "NODE.example",
            "node.example.",
            "a.example.org",
            "10.0.0.1",
            "::1",
            "bücher.example",
        ):
            self.assertTrue(is_for(certificate, host), host)
        for host in ("common.example", "example.org", "a.b.example.org", "10.0.0.2", "fe80::1%eth0", "", "a..b"):
            self.assertFalse(is_for(certificate, host), host)
