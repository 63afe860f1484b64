"""Files of known hosts, as sshd(8) describes them."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha1

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps.ssh.known_hosts import KnownHosts, fingerprint


def blob(kind: str, content: str) -> bytes:
    """The binary form of something like a key."""
    return len(kind).to_bytes(4, "big") + kind.encode() + content.encode()


def key(name: str, kind: str = "ssh-ed25519") -> str:
    """Type and key as they stand in a line."""
    return f"{kind} {b64encode(blob(kind, name)).decode()}"


def hashed(host: str) -> str:
    """A hashed name, as ``ssh-keygen -H`` makes it."""
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, host.encode(), sha1)
    return f"|1|{b64encode(salt).decode()}|{b64encode(digest).decode()}"


OWN = blob("ssh-ed25519", "own")


class KnownHostsTests(SynchronousTestCase):
    def problem(self, *lines: str, host: str = "h.example", port: int = 22) -> str:
        """What is wrong with the host's own key in a file of these lines."""
        return KnownHosts("\n".join(lines), "file", host, port).problem(OWN, "H")

    def test_names(self) -> None:
        """Names, lists, patterns in any case and hashes mean the host; a negated pattern does not."""
        good = ("h.example", "a,h.example", "H.Example", "*.example", "?.example", "!x,*", hashed("h.example"))
        for name in good:
            self.assertEqual(self.problem(f"{name} {key('own')}"), "", name)
        for name in ("h", "example", "*.example,!h.*", "[h.example]:22", hashed("x"), "|1|x", "|2|eA==|eA=="):
            self.assertIn("is not known: it shows ssh-ed25519", self.problem(f"{name} {key('own')}"), name)

    def test_ports(self) -> None:
        """Another port stands beside the name in brackets; the name alone is good for it if the port is nowhere."""
        for name in ("[h.example]:2222", "[*.example]:2222", hashed("[h.example]:2222"), "h.example"):
            self.assertEqual(self.problem(f"{name} {key('own')}", port=2222), "", name)
        both = (f"h.example {key('own')}", f"[h.example]:2222 {key('other')}")
        self.assertIn("has changed", self.problem(*both, port=2222))
        self.assertIn("is not known", self.problem(f"[h.example]:2222 {key('own')}"))
        self.assertEqual(self.problem(f"[::1]:22022 {key('own')}", host="::1", port=22022), "")

    def test_changed(self) -> None:
        """Another key of the same type is told with file, line and both fingerprints; one of another type says nothing."""
        text = self.problem("# a comment", "", f"h.example {key('other')} someone")
        for part in ("H has changed", fingerprint(OWN), "file line 3", fingerprint(blob("ssh-ed25519", "other"))):
            self.assertIn(part, text)
        text = self.problem(f"h.example {key('other', 'ssh-rsa')}")
        self.assertIn("is not known, only of type ssh-rsa", text)
        self.assertEqual(self.problem(f"h.example {key('other')}", f"h.example {key('own')}"), "")

    def test_markers(self) -> None:
        """A revoked key is refused whatever else stands there; authorities of certificates say nothing about a key."""
        text = self.problem(f"h.example {key('own')}", f"@revoked * {key('own')}")
        self.assertIn("H is revoked in file line 2", text)
        self.assertEqual(self.problem(f"h.example {key('own')}", f"@revoked * {key('other')}"), "")
        self.assertIn("revoked", self.problem(f"h.example {key('own')}", f"@revoked [*]:2222 {key('own')}", port=2222))
        self.assertIn("is not known", self.problem(f"@cert-authority * {key('own')}"))
        self.assertIn("is not known", self.problem(f"@new * {key('own')}"))

    def test_bad_lines(self) -> None:
        """What cannot be read is passed over."""
        lines = (
            "h.example",
            "h.example ssh-ed25519",
            "h.example ssh-ed25519 ?",
            f"h.example ssh-rsa {key('own')[12:]}",
        )
        self.assertIn("is not known: ", self.problem(*lines))
        self.assertEqual(self.problem(*lines, f"h.example {key('own')}"), "")

    def test_types(self) -> None:
        """The types that are known tell which key to ask the host for."""
        lines = f"h {key('a', 'ssh-rsa')}\nh {key('b')}\n@revoked h {key('c', 'x')}\nh {key('d')}"
        self.assertEqual(KnownHosts(lines, "file", "h", 22).types, ("ssh-rsa", "ssh-ed25519"))
