"""Logging in, packet by packet: what servers of this house do not ask for."""

from __future__ import annotations

from typing import Any

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import SSHConnection
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps.ssh.authentication import Authentication
from txdagu.execution.steps.ssh.identities import KeyFile
from txdagu.testing.sshserver import new_rsa_key

RSA = new_rsa_key()


class Wire:
    """A transport that keeps what is sent."""

    sessionID = b"session"  # noqa: N815 - Conch's name

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.disconnected = False
        self.peerExtensions: dict[bytes, bytes] = {}

    def sendPacket(self, kind: int, payload: bytes) -> None:
        self.sent.append(payload)

    def sendDisconnect(self, reason: int, text: bytes) -> None:
        self.disconnected = True


class AuthenticationTests(SynchronousTestCase):
    def begin(self, *identities: Any, password: str = "") -> tuple[Authentication, Wire]:
        """A login that has just begun."""
        authentication = Authentication("ann", SSHConnection(), identities, password)
        wire = Wire()
        authentication.transport = wire
        authentication.serviceStarted()
        wire.sent.clear()
        return authentication, wire

    def refuse(self, authentication: Authentication, methods: bytes) -> None:
        """The server wants one of these."""
        authentication.packetReceived(51, NS(methods) + b"\0")

    def test_dialogue(self) -> None:
        """The password answers one hidden question, once."""
        authentication, wire = self.begin(password="pw")
        self.refuse(authentication, b"keyboard-interactive")
        self.assertIn(b"keyboard-interactive", wire.sent[0])
        question = NS(b"") * 3 + b"\0\0\0\1" + NS(b"Password: ") + b"\0"
        authentication.packetReceived(60, question)
        self.assertEqual(wire.sent[1], b"\0\0\0\1" + NS(b"pw"))
        authentication.packetReceived(60, NS(b"") * 3 + b"\0\0\0\0")
        self.assertEqual(wire.sent[2], b"\0\0\0\0")
        self.refuse(authentication, b"keyboard-interactive")
        self.assertTrue(wire.disconnected)
        self.assertIn("tried the password in a dialogue; it takes keyboard-interactive", authentication.explain("x"))

    def test_no_dialogue(self) -> None:
        """Questions that are shown when they are answered are for people, and without a password there is no dialogue."""
        authentication, wire = self.begin(password="pw")
        self.refuse(authentication, b"keyboard-interactive")
        authentication.packetReceived(60, NS(b"") * 3 + b"\0\0\0\1" + NS(b"Code: ") + b"\1")
        self.assertIn(NS(b"none"), wire.sent[1])
        authentication, wire = self.begin()
        self.refuse(authentication, b"keyboard-interactive,password,publickey,hostbased")
        self.assertEqual((wire.sent, wire.disconnected), ([], True))

    def test_expired_password(self) -> None:
        """A password that has to be changed lets nobody in."""
        authentication, wire = self.begin(password="pw")
        self.refuse(authentication, b"password")
        authentication.packetReceived(60, NS(b"new?") + NS(b""))
        self.assertTrue(wire.disconnected)
        self.assertIn("expired", authentication.explain("x"))

    def test_rsa(self) -> None:
        """An RSA key signs as the server names it, as of old if it names nothing, with SHA-2 if it names others only."""
        named = ((None, b"ssh-rsa"), (b"a,rsa-sha2-256,ssh-rsa", b"rsa-sha2-256"), (b"ssh-ed25519", b"rsa-sha2-512"))
        for extension, algorithm in named:
            authentication, wire = self.begin(KeyFile(RSA, "k"))
            wire.peerExtensions = {} if extension is None else {b"server-sig-algs": extension}
            self.refuse(authentication, b"publickey")
            authentication.packetReceived(60, NS(algorithm) + NS(RSA.public().blob()))
            request = wire.sent[1]
            self.assertIn(b"\1" + NS(algorithm) + NS(RSA.public().blob()), request)
            signed = NS(b"session") + bytes((50,)) + request[: request.rindex(RSA.public().blob())]
            signature = request[request.rindex(RSA.public().blob()) + len(RSA.public().blob()) + 4 :]
            self.assertTrue(RSA.public().verify(signature, signed + RSA.public().blob()))
