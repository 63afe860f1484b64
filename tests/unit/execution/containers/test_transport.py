"""Requests to an engine: over TLS, and what is said where there is no answer."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from txdagu.execution.containers.address import EngineAddress
from txdagu.execution.containers.transport import Transport
from txdagu.model.errors import DaguError, UnavailableError
from txdagu.system.threads import threads_of
from txdagu.testing.certificates import Authority
from txdagu.testing.containers import ScriptedEngine


class TransportTests(TestCase):
    def setUp(self) -> None:
        """A directory for certificates and sockets."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = Path(mkdtemp())
        self.addCleanup(rmtree, self.directory)

    def transport(self, address: EngineAddress) -> Transport:
        return Transport(address, self.reactor, threads_of(self.reactor))

    def over_tls(self, **fields: Any) -> Transport:
        """A transport to an engine that trusts one authority, and shows a certificate of the same."""
        self.authority = authority = Authority()
        own = authority.issue("engine", names=["127.0.0.1"])
        trusted = ssl.Certificate.loadPEM(authority.pem)
        options = ssl.PrivateCertificate.loadPEM(own.key_pem() + b"\n" + own.pem).options(trusted)
        docker = ScriptedEngine()
        port = docker.listen_tls(self.reactor, options)
        self.addCleanup(lambda: Deferred.fromCoroutine(docker.close()))
        written = f"tcp://127.0.0.1:{port}"
        return self.transport(EngineAddress(written, host="127.0.0.1", port=port, **fields))

    def write(self, authority: Authority) -> str:
        client = self.authority.issue("client")
        for name, pem in (("ca", authority.pem), ("cert", client.pem), ("key", client.key_pem())):
            Path(self.directory, f"{name}.pem").write_bytes(pem)
        return str(self.directory)

    async def test_tls(self) -> None:
        """With the files of a Docker client, both ends know each other."""
        transport = self.over_tls(certificates=str(self.directory))
        self.write(self.authority)
        self.assertEqual((await transport.ask("GET", "/_ping")).headers["api-version"], "1.41")

    async def test_tls_of_others(self) -> None:
        """An engine of another authority is not trusted, unless it need not show that it is."""
        transport = self.over_tls(certificates=str(self.directory))
        self.write(Authority())
        with self.assertRaisesRegex(UnavailableError, "certificate"):
            await transport.ask("GET", "/_ping")
        unverified = self.over_tls(certificates=str(self.directory), verify=False)
        self.write(Authority())
        self.assertEqual((await unverified.ask("GET", "/_ping")).status, 200)

    async def test_certificates_missing(self) -> None:
        """Files that are missing or none are named with the setting."""
        transport = self.over_tls(certificates=str(self.directory))
        with self.assertRaisesRegex(DaguError, r"DOCKER_CERT_PATH: cannot read .*key\.pem: No such file"):
            await transport.ask("GET", "/_ping")
        self.write(self.authority)
        Path(self.directory, "key.pem").write_text("none")  # noqa: ASYNC240 - a test
        with self.assertRaisesRegex(DaguError, "a certificate or key there is none"):
            await transport.ask("GET", "/_ping")

    async def test_silence(self) -> None:
        """Who never answers is given up after the time, with a sentence."""
        path = str(self.directory / "silent.sock")
        listening = self.reactor.listenUNIX(path, Factory.forProtocol(Protocol))
        self.addCleanup(listening.stopListening)
        transport = self.transport(EngineAddress(f"unix://{path}", path=path))
        with self.assertRaisesRegex(UnavailableError, r"did not answer within 0\.05 s: it hangs"):
            await transport.ask("GET", "/_ping", seconds=0.05)
