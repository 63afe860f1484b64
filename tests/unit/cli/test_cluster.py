"""The small cluster of the demonstration."""

from __future__ import annotations

import signal
from collections.abc import Awaitable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txdagu.cli.cluster import Cluster, Member
from txdagu.execution.interfaces import IProcessRunner, IStartedProcess, ProcessSpec
from txdagu.testing.processes import MemoryProcessRunner, Script


@implementer(IProcessRunner)
class SlowRunner:
    """Starts a process when the test says so, as one that works in threads does."""

    def __init__(self) -> None:
        self.memory = MemoryProcessRunner(lambda spec: Script(code=None))
        self.may_start: Deferred[None] = Deferred()

    def run(self, command: ProcessSpec) -> Awaitable[IStartedProcess]:
        """Start it later."""
        return self.may_start.addCallback(lambda _: Deferred.fromCoroutine(self.memory.run(command)))


class CancelledStart(SynchronousTestCase):
    """Ctrl-C while a member is being started."""

    def test_a_member_that_was_being_started_is_ended(self) -> None:
        """Nobody is left behind because nobody had heard of it yet."""
        runner = SlowRunner()
        cluster = Cluster(runner, Clock(), "/nowhere", {}, self.fail)
        starting = Deferred.fromCoroutine(cluster.start([Member("one", ()), Member("two", ())]))
        starting.cancel()
        self.failureResultOf(starting, CancelledError)
        stopping = Deferred.fromCoroutine(cluster.stop())
        self.assertNoResult(stopping)
        runner.may_start.callback(None)
        self.successResultOf(stopping)
        (process,) = runner.memory.started
        self.assertEqual(process.signals, [signal.SIGTERM])
