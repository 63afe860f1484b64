"""The parent of a role's services."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, Settings
from txdagu.model.errors import InvalidInputError, Problem, UnavailableError
from txdagu.tap.role import RoleService, explain, refuse_unprotected

NOWHERE = PathSettings("", "", "", "", "", "", "", "", "", "")
SETTINGS = Settings(NOWHERE)


class RecordingProcess:
    """A process that writes down what it is told."""

    def __init__(self, story: list[str]) -> None:
        self.story = story
        self.stop: Callable[[str], None] | None = None
        self.reload: Callable[[str], None] | None = None

    def notify(self, state: str) -> None:
        """Write it down."""
        self.story.append(state)

    def complain(self, line: str) -> None:
        """Write it down."""
        self.story.append(line)

    def notify_reloading(self) -> None:
        """Write it down."""
        self.story.append("RELOADING=1")

    def watch_signals(
        self, stop: Callable[[str], None], reload: Callable[[str], None], hurry: Callable[[str], None] | None = None
    ) -> None:
        """Keep them, so that a test can send a signal."""
        self.stop = stop
        self.reload = reload
        self.hurry = hurry


class Child(Service):
    """A service that writes down its starts and stops and ends them as it is told."""

    def __init__(self, name: str, story: list[str], starting: object = None, stopping: object = None) -> None:
        self.name = name
        self.story = story
        self.starting = starting
        self.stopping = stopping

    def startService(self) -> Any:
        """Start."""
        self.story.append(f"start {self.name}")
        if isinstance(self.starting, Exception):
            raise self.starting
        return self.starting

    def stopService(self) -> Any:
        """Stop."""
        self.story.append(f"stop {self.name}")
        if isinstance(self.stopping, Exception):
            raise self.stopping
        return self.stopping


class QuickChild(Child):
    """One that can end faster than it does."""

    def hurry(self) -> None:
        """Note it."""
        self.story.append(f"hurry {self.name}")


class RunningReactor(MemoryReactorClock):
    """A memory reactor that runs until somebody stops it; that of Twisted stops by itself at once."""

    def run(self) -> None:
        """Begin to run."""
        self.running = self.hasRun = True
        for call, args, keywords in self.whenRunningHooks:
            call(*args, **keywords)


class RoleCase(SynchronousTestCase):
    """A role in memory."""

    def setUp(self) -> None:
        """A memory reactor that runs when told."""
        self.reactor = RunningReactor()
        self.story: list[str] = []
        self.process = RecordingProcess(self.story)

    def role(self, *children: Child) -> RoleService:
        """A started role; its reactor does not run yet."""
        service = RoleService(
            "role", [(str(child.name), child) for child in children], SETTINGS, self.reactor, self.process
        )
        service.privilegedStartService()
        service.startService()
        return service

    def child(self, name: str, starting: object = None, stopping: object = None) -> Child:
        """A child that writes into our story."""
        return Child(name, self.story, starting, stopping)


class Roles(RoleCase):
    """Order, failure, signals."""

    def test_order(self) -> None:
        """Children start one after the other, each when the one before is done, and only once the reactor runs."""
        first: Deferred[None] = Deferred()
        self.role(self.child("a", first), self.child("b"))
        self.assertEqual(self.story, [])
        self.reactor.run()
        self.assertEqual(self.story, ["start a"])
        first.callback(None)
        self.assertEqual(self.story, ["start a", "start b", "READY=1"])
        self.assertFalse(self.reactor.hasStopped)

    def test_coroutine(self) -> None:
        """A child may start as a coroutine."""

        async def starting() -> None:
            self.story.append("in coroutine")

        self.role(self.child("a", starting()))
        self.reactor.run()
        self.assertEqual(self.story, ["start a", "in coroutine", "READY=1"])

    def test_stop_waits(self) -> None:
        """Stopping goes backwards and waits for each child before the next."""
        stopping: Deferred[None] = Deferred()
        service = self.role(self.child("a"), self.child("b", stopping=stopping))
        self.reactor.run()
        del self.story[:]
        ended = service.stopService()
        self.assertEqual(self.story, ["STOPPING=1", "stop b"])
        self.assertNoResult(ended)
        stopping.callback(None)
        self.successResultOf(ended)
        self.assertEqual(self.story, ["STOPPING=1", "stop b", "stop a"])
        self.assertEqual(service.exit_code, 0)

    def test_failed_start(self) -> None:
        """A child that cannot start: one line, exit code 1, the reactor stops, and the children before it are stopped."""
        for error, line in (
            (UnavailableError("the journal is held by process 7"), "Error: the journal is held by process 7"),
            (
                CannotListenError("127.0.0.1", 50055, OSError(errno.EADDRINUSE, "Address already in use")),
                (
                    "Error: the b cannot listen on 127.0.0.1 port 50055: Address already in use "
                    "(end the process that uses it, or choose another with its port)"
                ),
            ),
            (PermissionError(13, "Permission denied", "/data"), "Error: the b cannot start: /data: Permission denied"),
        ):
            self.setUp()
            service = self.role(self.child("a"), self.child("b", error), self.child("c"))
            self.reactor.run()
            self.assertTrue(self.reactor.hasStopped)
            self.successResultOf(service.stopService())
            self.assertEqual(self.story, ["start a", "start b", line, "STOPPING=1", "stop a"])
            self.assertEqual(service.exit_code, 1)

    def test_failed_later(self) -> None:
        """The same when the start fails through a Deferred."""
        starting: Deferred[None] = Deferred()
        service = self.role(self.child("a", starting))
        self.reactor.run()
        starting.errback(UnavailableError("no"))
        self.assertEqual(self.story, ["start a", "Error: no"])
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(service.exit_code, 1)

    def test_defect(self) -> None:
        """An error that nobody foresaw is told in one line too; the traceback goes to the log."""
        service = self.role(self.child("a", ZeroDivisionError("oh")))
        self.reactor.run()
        self.assertEqual(self.story[1], "Error: the a cannot start because of a defect in it: ZeroDivisionError: oh")
        self.assertEqual(service.exit_code, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_second_signal(self) -> None:
        """Children that can hurry are told of a second signal while they stop; where none can, it ends the process."""
        self.role(self.child("a"))
        self.reactor.run()
        self.assertIsNone(self.process.hurry)
        self.setUp()
        quick = QuickChild("b", self.story, stopping=Deferred())
        service = self.role(self.child("a"), quick)
        self.reactor.run()
        assert self.process.hurry is not None
        service.stopService()
        self.process.hurry("SIGTERM")
        self.assertEqual(self.story[-2:], ["stop b", "hurry b"])

    def test_stopped_while_starting(self) -> None:
        """A stop during the start cancels the child that is starting, and stops those that had started."""
        cancelled: list[Deferred[None]] = []
        starting: Deferred[None] = Deferred(cancelled.append)
        service = self.role(self.child("a"), self.child("b", starting), self.child("c"))
        self.reactor.run()
        self.successResultOf(service.stopService())
        self.assertEqual(cancelled, [starting])
        self.assertEqual(self.story, ["start a", "start b", "STOPPING=1", "stop a"])
        self.assertEqual(service.exit_code, 0)

    def test_stopped_before_start(self) -> None:
        """A stop before the reactor ran starts nothing afterwards."""
        service = self.role(self.child("a"))
        self.successResultOf(service.stopService())
        self.reactor.run()
        self.assertEqual(self.story, ["STOPPING=1"])

    def test_cancelled_start_of_its_own(self) -> None:
        """A child that cancels its own start has failed; nobody asked for an end."""
        service = self.role(self.child("a", CancelledError()))
        self.reactor.run()
        self.assertEqual(service.exit_code, 1)
        self.flushLoggedErrors(CancelledError)

    def test_failed_stop(self) -> None:
        """A child that cannot stop is logged, counts as a bad end, and does not keep the others from being stopped."""
        service = self.role(self.child("a"), self.child("b", stopping=ValueError("stuck")))
        self.reactor.run()
        self.successResultOf(service.stopService())
        self.assertEqual(self.story[-2:], ["stop b", "stop a"])
        self.assertEqual(service.exit_code, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_privileged_start(self) -> None:
        """A child that cannot do its privileged part ends the program with one line, before anything is started."""

        class Privileged(Child):
            def privilegedStartService(self) -> None:
                raise PermissionError(13, "Permission denied", "/etc/key.pem")

        with self.assertRaises(SystemExit) as caught:
            self.role(Privileged("a", self.story))
        self.assertEqual(caught.exception.code, 1)
        self.assertEqual(self.story, ["Error: the a cannot start: /etc/key.pem: Permission denied"])

    def test_signal(self) -> None:
        """A signal stops the reactor, whose shutdown stops us; the exit code stays 0."""
        service = self.role(self.child("a"))
        self.reactor.run()
        assert self.process.stop is not None
        self.process.stop("SIGTERM")
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(service.exit_code, 0)


class Reloads(RoleCase):
    """SIGHUP."""

    def hang_up(self) -> None:
        """Send it, and forget the story so far."""
        del self.story[:]
        assert self.process.reload is not None
        self.process.reload("SIGHUP")

    def test_reload(self) -> None:
        """Children that can reload do so, the others are left alone, and the service manager hears of beginning and end."""
        child = self.child("a")
        child.reload = lambda: ["the certificate"]  # type: ignore[attr-defined]
        service = self.role(child, self.child("b"))
        self.reactor.run()
        with capturedLogs() as logged:
            self.hang_up()
        self.assertEqual(self.story, ["RELOADING=1", "READY=1"])
        self.assertTrue(service.ready)
        self.assertEqual([formatEvent(event) for event in logged], ["SIGHUP: the role reloads: the certificate"])

    def test_nothing_to_reload(self) -> None:
        """That is said, and nothing else happens."""
        self.role(self.child("a"))
        self.reactor.run()
        with capturedLogs() as logged:
            self.hang_up()
        self.assertEqual([formatEvent(event) for event in logged], ["SIGHUP: the role reloads: nothing to reload"])

    def test_reload_fails(self) -> None:
        """A child that fails to reload keeps neither the others from it nor the role from going on."""

        def fails() -> list[str]:
            raise ValueError("broken")

        first, second = self.child("a"), self.child("b")
        first.reload = fails  # type: ignore[attr-defined]
        second.reload = lambda: self.story.append("reload b") or []  # type: ignore[attr-defined,func-returns-value]
        service = self.role(first, second)
        self.reactor.run()
        self.hang_up()
        self.assertEqual(self.story, ["RELOADING=1", "reload b", "READY=1"])
        self.assertEqual((len(self.flushLoggedErrors(ValueError)), service.exit_code), (1, 0))

    def test_not_while_starting(self) -> None:
        """A reload before everything is ready does not tell the service manager that it is."""
        starting: Deferred[None] = Deferred()
        service = self.role(self.child("a", starting))
        self.reactor.run()
        self.hang_up()
        self.assertEqual(self.story, [])
        starting.callback(None)
        self.assertEqual(self.story, ["READY=1"])
        self.successResultOf(service.stopService())
        self.hang_up()
        self.assertEqual(self.story, [])


class Refusals(SynchronousTestCase):
    """What is refused rather than run unprotected."""

    def test_web(self) -> None:
        """Settings that should protect the web server are refused only where one is opened."""
        settings = Settings(NOWHERE, unprotected=(Problem("no tokens here"),))
        refuse_unprotected(settings, opens_web=False)
        self.assertRaises(InvalidInputError, refuse_unprotected, settings, opens_web=True)

    def test_explain_names_the_setting(self) -> None:
        """A busy port names the setting with which to choose another."""
        error = CannotListenError("", 50055, OSError(errno.EADDRINUSE, "Address already in use"))
        self.assertEqual(
            explain("coordinator", error),
            "Error: the coordinator cannot listen on every address port 50055: Address already in use "
            "(end the process that uses it, or choose another with coordinator.port)",
        )
