"""The health service, asked through a channel in memory."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.health import HealthService
from txdagu.grpc.server import GrpcServerFactory
from txdagu.protocol import health_pb2 as health
from txdagu.protocol.services import HEALTH_CHECK, HEALTH_LIST, HEALTH_WATCH
from txdagu.testing.channel import memory_channel
from txdagu.wire.status import RpcError, StatusCode


class Health(SynchronousTestCase):
    """The standard health service."""

    def setUp(self) -> None:
        """A server that has only this service."""
        self.clock = Clock()
        self.health = HealthService(["test.Text"])
        self.channel = memory_channel(GrpcServerFactory([self.health], self.clock), self.clock)

    def start(self, call: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        """Begin a call and deliver what is on its way."""
        deferred = Deferred.fromCoroutine(call)
        self.clock.advance(0)
        return deferred

    def result(self, call: Coroutine[Deferred[Any], Any, Any]) -> Any:
        """The result of a call that ends without waiting."""
        return self.successResultOf(self.start(call))

    def test_check_and_list(self) -> None:
        """Known names have a status, unknown ones are NOT_FOUND with the text that peers know."""
        self.health.set("test.Text", False)
        answer = self.result(self.channel.unary(HEALTH_CHECK, health.HealthCheckRequest(service="test.Text")))
        self.assertEqual(answer.status, health.HealthCheckResponse.NOT_SERVING)
        unknown = self.start(self.channel.unary(HEALTH_CHECK, health.HealthCheckRequest(service="x")))
        error = self.failureResultOf(unknown, RpcError).value
        self.assertEqual((error.code, error.message), (StatusCode.NOT_FOUND, "unknown service"))
        listed = self.result(self.channel.unary(HEALTH_LIST, health.HealthListRequest()))
        self.assertEqual({name: one.status for name, one in listed.statuses.items()}, {"": 1, "test.Text": 2})

    def test_watch(self) -> None:
        """A watcher gets the status now, each change, and SERVICE_UNKNOWN for a name nobody set yet."""
        stream = self.channel.unary_stream(HEALTH_WATCH, health.HealthCheckRequest(service="late"))
        self.assertEqual(self.result(stream.__anext__()).status, health.HealthCheckResponse.SERVICE_UNKNOWN)
        following = self.start(stream.__anext__())
        self.health.set("other", True)
        self.clock.advance(0)
        self.assertNoResult(following)
        self.health.set("late", True)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(following).status, health.HealthCheckResponse.SERVING)
        self.health.set_all(False)
        self.assertEqual(self.result(stream.__anext__()).status, health.HealthCheckResponse.NOT_SERVING)
        stream.cancel()
        self.clock.advance(0)

    def test_shut_down(self) -> None:
        """At the end watchers hear NOT_SERVING and are let go, and nothing is served ever again."""
        known, unknown = (
            self.channel.unary_stream(HEALTH_WATCH, health.HealthCheckRequest(service=name)) for name in ("", "x")
        )
        self.assertEqual(self.result(known.__anext__()).status, health.HealthCheckResponse.SERVING)
        self.assertEqual(self.result(unknown.__anext__()).status, health.HealthCheckResponse.SERVICE_UNKNOWN)
        waiting = self.start(unknown.__anext__())
        self.health.shut_down()
        self.health.set("", True)
        self.assertEqual(self.result(known.__anext__()).status, health.HealthCheckResponse.NOT_SERVING)
        for ended in (self.start(known.__anext__()), waiting):
            self.clock.advance(0)
            error = self.failureResultOf(ended, RpcError).value
            self.assertEqual((error.code, error.message), (StatusCode.UNAVAILABLE, "the server is shutting down"))
        late = self.channel.unary_stream(HEALTH_WATCH, health.HealthCheckRequest(service=""))
        self.assertEqual(self.result(late.__anext__()).status, health.HealthCheckResponse.NOT_SERVING)
        self.failureResultOf(self.start(late.__anext__()), RpcError)

    def test_slow_watcher(self) -> None:
        """Changes while a watcher does not read are told as the last one, and none is lost."""
        stream = self.channel.unary_stream(HEALTH_WATCH, health.HealthCheckRequest(service=""))
        self.assertEqual(self.result(stream.__anext__()).status, health.HealthCheckResponse.SERVING)
        self.health.set("", False)
        self.health.set("", True)
        self.health.set("", False)
        self.assertEqual(self.result(stream.__anext__()).status, health.HealthCheckResponse.NOT_SERVING)
        stream.cancel()
        self.clock.advance(0)

    def test_long_list(self) -> None:
        """More than a hundred services are not listed, with the text that peers know."""
        for number in range(99):
            self.health.set(f"test.{number}", True)
        listed = self.start(self.channel.unary(HEALTH_LIST, health.HealthListRequest()))
        error = self.failureResultOf(listed, RpcError).value
        self.assertEqual(
            (error.code, error.message),
            (StatusCode.RESOURCE_EXHAUSTED, "server health list exceeds maximum capacity: 100"),
        )
