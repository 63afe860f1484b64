"""The examination of one coordinator in every situation, in memory: name service, ports, TLS, certificates, calls, clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txdagu.config.settings import PathSettings, Settings, WorkerSettings
from txdagu.coordinator.dispatcher import Dispatcher
from txdagu.coordinator.handover import Owner
from txdagu.coordinator.rpc import CoordinatorService
from txdagu.dispatch.core import DispatchCore
from txdagu.dispatch.journal import MemoryJournal
from txdagu.grpc.channel import Channel
from txdagu.grpc.health import HealthService
from txdagu.grpc.options import ChannelOptions
from txdagu.grpc.probe import Prober
from txdagu.grpc.server import CallContext, GrpcServerFactory
from txdagu.grpc.tls import ClientTls
from txdagu.grpc.tls_endpoints import TlsClientEndpoint
from txdagu.model.findings import Examination, Finding, Mark
from txdagu.peers.diagnosis.own_side import OwnSide
from txdagu.peers.diagnosis.reach import Reach
from txdagu.peers.diagnosis.registered import Target
from txdagu.peers.diagnosis.steps import Diagnosis
from txdagu.protocol.services import COORDINATOR_SERVICE
from txdagu.testing.certificates import Authority
from txdagu.testing.channel import MemoryEndpoint
from txdagu.testing.dispatch import CountedNames
from txdagu.testing.ports import TlsTerms, reciting

NOWHERE = PathSettings("", "", "", "", "", "", "", "", "", "")
PORT = 50055
TIMEOUT = 5.0


@implementer(IStreamClientEndpoint)
class DeafEndpoint:
    """Never connects."""

    def connect(self, _factory: object) -> Deferred[Any]:
        """Wait for ever."""
        return Deferred()


class ExaminationTestCase(SynchronousTestCase):
    """A small network in memory: names, addresses, and what listens there."""

    def setUp(self) -> None:
        """One coordinator, known to the name service as host1."""
        self.clock = Clock()
        self.wall = datetime.now(UTC).replace(microsecond=0)
        self.names: dict[str, Deferred[list[str]]] = {}
        self.ports: dict[tuple[str, int], IStreamClientEndpoint] = {}
        self.owner = Owner("host1@50055", "host1", PORT)
        self.health = HealthService([COORDINATOR_SERVICE])
        dispatcher = Dispatcher(DispatchCore(CountedNames()), MemoryJournal(), self.clock, lambda: self.wall, None)
        self.rpc = CoordinatorService(dispatcher, lambda: self.owner)
        self.server = GrpcServerFactory([self.rpc, self.health], self.clock)
        self.unix = self.wall.timestamp()
        self.told: list[Finding] = []
        self.own = OwnSide(Settings(NOWHERE))
        self.tls: ClientTls | None = None

    def listen(self, server: Any, address: str = "10.0.0.1", port: int = PORT) -> MemoryEndpoint:
        """Let a server listen there."""
        endpoint = MemoryEndpoint(server, self.clock)
        self.ports[address, port] = endpoint
        return endpoint

    def dial(self, address: str, port: int) -> IStreamClientEndpoint:
        """What listens there; nothing refuses connections."""
        if (address, port) in self.ports:
            return self.ports[address, port]
        refusing = MemoryEndpoint(Factory(), self.clock)
        refusing.refusal = Refused()
        return refusing

    async def resolve(self, host: str) -> list[str]:
        """The name service."""
        return await self.names.get(host, succeed(["10.0.0.1"]))

    def connect(self, host: str, port: int) -> Channel:
        """A channel as workers have them, to the first address of the host."""

        def endpoint() -> IStreamClientEndpoint:
            raw = self.dial(host if host[0].isdigit() else "10.0.0.1", port)
            return raw if self.tls is None else TlsClientEndpoint(raw, self.tls, host, self.clock)

        return Channel(
            endpoint, self.clock, authority=f"{host}:{port}", options=ChannelOptions("https" if self.tls else "http")
        )

    def examine(self, host: str = "host1", *, registered: bool = False, seconds: int = 0) -> Examination:
        """Examine it, and let time pass if that is needed."""
        reach = Reach(
            self.resolve, Prober(self.dial, self.clock, self.clock.seconds, TIMEOUT), self.connect, lambda: self.unix
        )
        diagnosis = Diagnosis(self.own, reach, self.told.append)
        done = Deferred.fromCoroutine(diagnosis.examine(Target(host, PORT, "coordinator", registered)))
        for _ in range(200):
            self.clock.advance(0)
        for _ in range(seconds):
            self.clock.advance(1)
            for _ in range(20):
                self.clock.advance(0)
        examination: Examination = self.successResultOf(done)
        self.assertEqual(examination.findings, tuple(self.told))
        self.clock.advance(600)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return examination

    def one(self, examination: Examination, check: str) -> Finding:
        """The only finding about that."""
        found = [finding for finding in examination.findings if finding.check == check]
        self.assertEqual(len(found), 1, f"{check} in {examination}")
        return found[0]

    def failures(self, examination: Examination) -> dict[str, str]:
        """What failed, by check. Every failure says what to do."""
        failed = [finding for finding in examination.findings if finding.mark is Mark.FAILURE]
        for finding in failed:
            self.assertTrue(finding.advice, finding)
        return {finding.check: finding.text for finding in failed}


class Reaching(ExaminationTestCase):
    """Names and ports."""

    def test_all_is_well(self) -> None:
        """Every step is told, in order, and nothing fails."""
        self.listen(self.server)
        examination = self.examine()
        self.assertFalse(examination.failed, examination)
        self.assertEqual(
            [finding.check for finding in examination.findings],
            ["name", "tcp", "protocol", "http2", "ping", "health", "health", "program", "workers", "round trip", "clock",
             "advertised"],
        )  # fmt: skip
        self.assertEqual({finding.mark for finding in examination.findings}, {Mark.OK})
        self.assertEqual(examination.subject, "coordinator at host1:50055")
        self.assertEqual(self.one(examination, "advertised").text, "workers dial host1:50055, as it advertises")

    def test_unknown_name(self) -> None:
        """A name without an address ends the examination with the name service's words."""
        self.names["host1"] = fail(OSError(-2, "Name or service not known"))
        failures = self.failures(self.examine())
        self.assertEqual(failures, {"name": "host1 has no address: Name or service not known"})

    def test_slow_name_service(self) -> None:
        """A name service that does not answer is not waited for for ever."""
        self.names["host1"] = Deferred()
        failures = self.failures(self.examine(seconds=6))
        self.assertEqual(failures, {"name": "host1 has no address: the name service gave no answer within 5 s"})

    def test_refused(self) -> None:
        """Nothing listens; an address is not looked up."""
        examination = self.examine("10.0.0.1")
        self.assertEqual(self.failures(examination), {"tcp": "10.0.0.1:50055: connection refused"})
        self.assertIn("coordinator.host is 127.0.0.1, the default", examination.findings[-1].advice)

    def test_refused_but_registered(self) -> None:
        """Who is in the registry and does not listen may be a leftover there."""
        self.assertIn("remove its file from the registry", self.examine(registered=True).findings[-1].advice)

    def test_dropped(self) -> None:
        """Packets that vanish are named as such, with the port that a firewall must let through."""
        self.ports["10.0.0.1", PORT] = DeafEndpoint()
        examination = self.examine("10.0.0.1", seconds=6)
        self.assertEqual(self.failures(examination), {"tcp": "10.0.0.1:50055: no answer within 5 s"})
        self.assertIn("whether a firewall lets port 50055 through", examination.findings[-1].advice)

    def test_some_addresses_refuse(self) -> None:
        """One address of several is enough; the others are a warning, on the loopback not even that."""
        self.listen(self.server)
        self.names["host1"] = succeed(["10.0.0.9", "::1", "10.0.0.1"])
        examination = self.examine()
        marks = [
            (finding.mark, finding.text.partition(" ")[0]) for finding in examination.findings if finding.check == "tcp"
        ]
        self.assertEqual(
            marks, [(Mark.OK, "10.0.0.1:50055"), (Mark.WARNING, "10.0.0.9:50055:"), (Mark.OK, "[::1]:50055:")]
        )
        self.assertFalse(examination.failed)


class Protocols(ExaminationTestCase):
    """What else may listen on a port, for a client that speaks clear text."""

    def check(self, server: Any, text: str, *, advice: str, seconds: int = 0) -> None:
        """That and only that is what fails."""
        self.listen(server)
        examination = self.examine(seconds=seconds)
        self.assertEqual(self.failures(examination), {"protocol": text})
        self.assertIn(advice, examination.findings[-1].advice)

    def test_http1(self) -> None:
        """The web pages' port is recognised."""
        text = "it does not speak HTTP/2: an HTTP/1 server answers (HTTP/1.1 400 Bad Request)"
        self.check(reciting(b"HTTP/1.1 400 Bad Request\r\n\r\n", closes=True), text, advice="the web pages' port")

    def test_something_else(self) -> None:
        """What another protocol says is shown."""
        text = 'it does not speak HTTP/2: it sends "SSH-2.0-OpenSSH_9.2"'
        self.check(reciting(b"SSH-2.0-OpenSSH_9.2\r\n"), text, advice="50055 unless", seconds=12)

    def test_bytes(self) -> None:
        """What is not text is shown in hexadecimal, and only the beginning."""
        text = "it does not speak HTTP/2: it sends " + ("ff " * 24).strip() + "…"
        self.check(reciting(b"\xff" * 100, closes=True), text, advice="50055 unless")

    def test_silence(self) -> None:
        """A port that takes connections and says nothing is not waited for for ever."""
        text = "it does not speak HTTP/2: it takes the connection and says nothing"
        self.check(reciting(), text, advice="stopped or overloaded", seconds=12)

    def test_closed(self) -> None:
        """A port that closes at once."""
        text = "it does not speak HTTP/2: it closes the connection without a word"
        self.check(reciting(closes=True), text, advice="what its log says")

    def test_tls(self) -> None:
        """A coordinator that speaks TLS: the settings to change are named, with what they are now."""
        node = Authority().issue(names=["host1"])
        text = "it speaks TLS, with a certificate for host1, and we speak clear text (h2c)"
        advice = (
            "set peer.insecure: false here, and name the authority of its certificate with peer.clientCaFile; "
            "peer.insecure is true by default"
        )
        self.check(TlsTerms(node).over(self.server, self.clock), text, advice=advice)

    def test_mutual_tls(self) -> None:
        """One that asks for certificates too: what comes next is told at once."""
        authority = Authority()
        terms = TlsTerms(authority.issue(names=["host1"]), authorities=(authority.certificate,))
        text = "it speaks TLS, with a certificate for host1, and we speak clear text (h2c)"
        advice = (
            "it asks for a certificate of ours too (peer.certFile and peer.keyFile); peer.insecure is true by default"
        )
        self.check(terms.over(self.server, self.clock), text, advice=advice)

    def test_turned_away(self) -> None:
        """A server that is full or ending says so with GOAWAY; its words are shown."""
        settings, goaway = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x0c\7\0\0\0\0\0\0\0\0\0\0\0\0\x0bfull"
        text = 'it speaks HTTP/2, but not for long: it closes the connection (GOAWAY ENHANCE_YOUR_CALM "full")'
        self.check(reciting(settings + goaway, closes=True), text, advice="what its log says")

    def test_few_streams(self) -> None:
        """Polls of a worker must leave streams for heartbeats on all the connections that a channel makes at most."""
        settings = Settings(NOWHERE, worker=WorkerSettings(max_active_runs=397))
        self.own = OwnSide(settings)
        self.listen(reciting(b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64"))
        found = self.one(self.examine(seconds=30), "http2")
        self.assertEqual(found.mark, Mark.WARNING)
        self.assertIn("SETTINGS arrived: 100 calls at once", found.text)
        self.assertIn("set worker.maxActiveRuns to 396 at most", found.advice)


class Calls(ExaminationTestCase):
    """What a coordinator answers."""

    def test_not_serving(self) -> None:
        """A coordinator that is ending says so."""
        self.health.set_all(False)
        self.listen(self.server)
        failures = self.failures(self.examine())
        self.assertEqual(failures, {"health": "coordinator.v1.CoordinatorService is NOT_SERVING"})

    def test_another_server(self) -> None:
        """A gRPC server without workers is no coordinator; a service it does not know is not a failure by itself."""
        self.listen(GrpcServerFactory([HealthService()], self.clock))
        examination = self.examine()
        self.assertEqual(list(self.failures(examination)), ["workers"])
        self.assertIn("UNIMPLEMENTED", self.one(examination, "workers").text)

    def test_no_health_service(self) -> None:
        """A coordinator without the health service is odd, but works."""
        self.listen(GrpcServerFactory([self.rpc], self.clock))
        examination = self.examine()
        self.assertFalse(examination.failed)
        self.assertEqual(self.one(examination, "health").mark, Mark.WARNING)

    def test_stuck(self) -> None:
        """A coordinator that greets and then answers no call is told as one."""
        self.listen(reciting(b"\0\0\0\4\0\0\0\0\0"))
        examination = self.examine(seconds=60)
        self.assertEqual(list(self.failures(examination)), ["calls"])
        self.assertIn("DEADLINE_EXCEEDED", self.one(examination, "calls").text)
        self.assertEqual(self.one(examination, "ping").mark, Mark.WARNING)

    def test_foreign_coordinator(self) -> None:
        """One without our metadata: its clock and its advertised address are unknown, which is no fault."""

        class Foreign(CoordinatorService):
            def handlers(self) -> Mapping[Any, Any]:
                methods = super().handlers()
                return {method: getattr(handler, "__wrapped__", handler) for method, handler in methods.items()}

        self.patch(CallContext, "set_initial_metadata", lambda _context, _metadata: None)
        rpc = Foreign(self.rpc._dispatcher, lambda: self.owner)
        self.listen(GrpcServerFactory([rpc, self.health], self.clock))
        examination = self.examine()
        self.assertEqual({finding.mark for finding in examination.findings}, {Mark.OK})
        self.assertIn("without our extensions", self.one(examination, "program").text)
        self.assertIn("its clock is unknown", self.one(examination, "clock").text)
        self.assertIn("does not tell which address", self.one(examination, "advertised").text)

    def test_clock(self) -> None:
        """A clock that differs little is told, one that differs much is a warning."""
        self.listen(self.server)
        for ahead, mark, text in (
            (0.0, Mark.OK, "its clock is as ours, within 1.0 ms"),
            (0.5, Mark.OK, "its clock is 500 ms ahead of ours (± 1.0 ms)"),
            (-90.0, Mark.WARNING, "its clock is 90.0 s behind ours"),
        ):
            self.unix = self.wall.timestamp() - ahead
            self.told.clear()
            found = self.one(self.examine(), "clock")
            self.assertEqual((found.mark, found.text), (mark, text))

    def test_advertised_elsewhere(self) -> None:
        """The address that workers will dial is dialled too, when it is another one."""
        self.listen(self.server)
        self.owner = Owner("host1@50055", "host2", PORT)
        found = self.one(self.examine(), "advertised")
        self.assertEqual(
            (found.mark, found.text), (Mark.OK, "it advertises host2:50055, which can be reached from here too")
        )
        self.told.clear()
        self.owner = Owner("host1@50055", "10.0.0.7", PORT)
        found = self.one(self.examine(), "advertised")
        self.assertEqual(found.mark, Mark.FAILURE)
        self.assertIn("it advertises 10.0.0.7:50055, which cannot be reached from here: ", found.text)
        self.assertIn("refused", found.text)
        self.assertIn("coordinator.advertise", found.advice)

    def test_advertised_is_not_needed(self) -> None:
        """Where workers have the address from their settings, a useless one in the registry is only a warning."""
        self.own = OwnSide(Settings(NOWHERE, worker=WorkerSettings(coordinator_host="host1")))
        self.listen(self.server)
        self.names["gone"] = fail(OSError(-2, "Name or service not known"))
        self.owner = Owner("host1@50055", "gone", PORT)
        found = self.one(self.examine(), "advertised")
        self.assertEqual(found.mark, Mark.WARNING)
        self.assertIn("gone has no address", found.text)
