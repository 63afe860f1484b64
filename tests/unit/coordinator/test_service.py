"""The coordinator as a service: its port, its registry entry, its end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from txdagu.config.settings import CoordinatorSettings, PathSettings, PeerSettings, Settings
from txdagu.coordinator.service import CoordinatorServer, coordinator_service
from txdagu.dispatch.journal import MemoryJournal
from txdagu.grpc.channel import tcp_channel
from txdagu.grpc.tls import ServerTls
from txdagu.model.errors import InvalidInputError, UnavailableError
from txdagu.peers.advice import SERVER_ADVICE
from txdagu.peers.connecting import connector
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import health_pb2 as health
from txdagu.protocol import services
from txdagu.testing.certificates import Authority
from txdagu.wire.status import RpcError, StatusCode

WALL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def settings_in(directory: str, **coordinator: Any) -> Settings:
    """Settings with everything below a directory."""
    names = ("dags", "data", "logs", "admin", "suspend", "base.yaml", "runs", "queue", "proc", "registry")
    paths = PathSettings(*(str(Path(directory, name)) for name in names))
    return Settings(paths, coordinator=CoordinatorSettings(state_dir=str(Path(directory, "state")), **coordinator))


def protected_settings(directory: Path) -> Settings:
    """Settings of a coordinator on this host, and of its clients, with certificates for both."""
    directory.mkdir()
    authority = Authority()
    cert_file, key_file = authority.issue().write(directory)
    peer = PeerSettings(cert_file=cert_file, key_file=key_file, client_ca_file=authority.write_authority(directory))
    return replace(settings_in(str(directory), port=0, advertise="127.0.0.1"), peer=peer)


def server_of(settings: Settings, reactor: Any) -> CoordinatorServer:
    """A coordinator on that reactor, without a store."""
    return CoordinatorServer(settings, reactor, MemoryJournal(), None, lambda: WALL, reactor.seconds)


class BusyPortReactor(MemoryReactorClock):
    """A reactor on which no port is free."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Refuse as the real one does."""
        raise CannotListenError(interface, port, OSError(98, "Address already in use"))


class StartTests(SynchronousTestCase):
    """Start and stop without sockets."""

    def test_entry_lives_as_long_as_the_port(self) -> None:
        """The registry file is there while the coordinator serves, names what workers dial, and is gone afterwards."""
        settings = settings_in(self.mktemp(), port=50055, advertise="coordinator.example")
        reactor = MemoryReactorClock()
        server = server_of(settings, reactor)
        self.successResultOf(server.startService())
        self.assertEqual(1, len(reactor.tcpServers))
        (entry,) = Path(settings.paths.service_registry_dir, "coordinator").glob("*.json")
        document = json.loads(entry.read_text())
        self.assertEqual(("coordinator.example", 50055, 1), (document["host"], document["port"], document["status"]))
        self.assertEqual(document["id"], server.owner.id)
        self.successResultOf(server.stopService())
        self.assertFalse(entry.exists())
        self.assertEqual([], reactor.getDelayedCalls())

    def test_busy_port(self) -> None:
        """A port that is taken fails the start with a sentence that names it and what to do, and leaves no entry behind."""
        settings = settings_in(self.mktemp(), host="127.0.0.1", port=50055)
        settings = replace(settings, origins={"coordinator.port": "--coordinator.port"})
        error = self.failureResultOf(server_of(settings, BusyPortReactor()).startService(), UnavailableError)
        self.assertEqual(
            "the coordinator cannot listen on 127.0.0.1:50055 (--coordinator.port): Address already in use; "
            "end the process that uses it, or choose another with --coordinator.host and --coordinator.port",
            str(error.value),
        )
        self.assertFalse(Path(settings.paths.service_registry_dir, "coordinator").exists())

    def test_no_secret_cleartext(self) -> None:
        """Settings that ask for TLS and do not give what it needs are refused instead of being served in clear."""
        settings = replace(settings_in(self.mktemp()), peer=PeerSettings(cert_file="/etc/cert.pem"))
        with self.assertRaisesRegex(
            InvalidInputError, "peer.certFile: /etc/cert.pem is of no use without peer.keyFile"
        ):
            coordinator_service(settings, MemoryReactorClock())

    def test_advertised_name(self) -> None:
        """A certificate that does not name what workers dial is told at start, before a worker stumbles over it."""
        for names, warned in ((["10.0.0.1"], 1), (["coordinator.example"], 0)):
            directory = Path(self.mktemp())
            directory.mkdir()
            cert_file, key_file = Authority().issue(names=names).write(directory)
            peer = PeerSettings(cert_file=cert_file, key_file=key_file)
            settings = settings_in(str(directory), port=50055, advertise="coordinator.example")
            settings = replace(settings, peer=peer)
            reactor = MemoryReactorClock()
            tls = ServerTls(cert_file, key_file, advice=SERVER_ADVICE)
            server = CoordinatorServer(settings, reactor, MemoryJournal(), None, lambda: WALL, reactor.seconds, tls)
            with capturedLogs() as logged:
                self.successResultOf(server.startService())
            told = [formatEvent(event) for event in logged if event["log_level"].name == "warn"]
            self.assertEqual(len(told), warned, told)
            if warned:
                self.assertIn("is for 10.0.0.1, not for coordinator.example, which clients dial", told[0])
                self.assertIn("--coordinator.advertise", told[0])
            self.successResultOf(server.stopService())


class SocketTests(TestCase):
    """One coordinator on a real port."""

    async def test_tls(self) -> None:
        """Over TLS with the settings of both ends; without them the client learns what to set."""
        from twisted.internet import reactor  # noqa: TID251 - a real socket needs the real one

        settings = protected_settings(Path(self.mktemp()))
        server = coordinator_service(settings, reactor)
        assert isinstance(server, CoordinatorServer)
        await server.startService()
        answers = []
        for chosen in (settings, replace(settings, peer=PeerSettings())):
            channel = connector(chosen, reactor)(*server.address)
            try:
                answer = await channel.unary(services.HEALTH_CHECK, health.HealthCheckRequest(), timeout=20)
                answers.append(str(answer.status))
            except RpcError as error:
                answers.append(error.message)
            await channel.close()
        await server.stopService()
        self.assertEqual(answers[0], str(health.HealthCheckResponse.SERVING))
        self.assertIn("the server expects TLS: set peer.insecure: false here", answers[1])

    async def test_serve_and_end(self) -> None:
        """Health and calls are answered on the port; at the end a parked poll gets UNAVAILABLE and the port is closed."""
        from twisted.internet import reactor  # noqa: TID251 - a real socket needs the real one

        server = server_of(settings_in(self.mktemp(), port=0, advertise="127.0.0.1"), reactor)
        await server.startService()
        host, port = server.address
        channel = tcp_channel(reactor, host, port)
        answer = await channel.unary(services.HEALTH_CHECK, health.HealthCheckRequest())
        self.assertEqual(health.HealthCheckResponse.SERVING, answer.status)
        waiting = Deferred.fromCoroutine(channel.unary(services.POLL, pb.PollRequest(worker_id="w", poller_id="p")))
        await channel.unary(services.HEARTBEAT, pb.HeartbeatRequest(worker_id="w"))
        await server.stopService()
        with self.assertRaises(RpcError) as caught:
            await waiting
        self.assertEqual(StatusCode.UNAVAILABLE, caught.exception.code)
        await channel.close()
