"""Mails about a run: which are sent, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from txdagu.execution.reports import end_mail
from txdagu.model.dag import Command, Dag, Handler, Step
from txdagu.model.mail import MailAddressing, MailOn, SmtpServer
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.mailserver import MailServer
from txdagu.testing.steps import StepHarness

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = MailOn(failure=True, success=True, wait=True)
ADDRESSED: dict[str, Any] = {
    "error_mail": MailAddressing("f@x.org", ("bad@x.org",), "[E]", attach_logs=True),
    "info_mail": MailAddressing("f@x.org", ("good@x.org",), "[I]"),
    "wait_mail": MailAddressing("f@x.org", ("wait@x.org",)),
}


class ReportTests(SynchronousTestCase):
    def status(self, state: RunState, node: NodeState) -> RunStatus:
        run = RunRef("d", "run-1")
        step = Step("<one>", commands=(Command("echo a && b"),))
        nodes = (
            NodeStatus(
                step, node, "/l/a.out", "/l/a.err", WHEN, WHEN, error="<bad>" if node is NodeState.FAILED else ""
            ),
        )
        return RunStatus(run, run, state, nodes=nodes, params=("A=<1>",), started_at=WHEN, finished_at=WHEN)

    def test_which(self) -> None:
        """Each end has its mail; a failed step makes it an error's; an aborted run has none, and switches count."""
        table = (
            (RunState.SUCCEEDED, NodeState.SUCCEEDED, "[I] d (succeeded)"),
            (RunState.PARTIALLY_SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED, "[I] d (partially_succeeded)"),
            (RunState.PARTIALLY_SUCCEEDED, NodeState.FAILED, "[E] d (partially_succeeded)"),
            (RunState.FAILED, NodeState.FAILED, "[E] d (failed)"),
            (RunState.REJECTED, NodeState.REJECTED, "[E] d (rejected)"),
            (RunState.WAITING, NodeState.WAITING, "d (waiting)"),
            (RunState.ABORTED, NodeState.ABORTED, ""),
        )
        for state, node, subject in table:
            mail = end_mail(Dag("d", mail_on=ALL, **ADDRESSED), self.status(state, node))
            self.assertEqual(mail.subject if mail else "", subject, state)
            self.assertIsNone(end_mail(Dag("d", **ADDRESSED), self.status(state, node)), state)
            self.assertIsNone(end_mail(Dag("d", mail_on=ALL), self.status(state, node)), state)

    def test_page(self) -> None:
        """The page names run, params and every step with its error, all escaped; logs are attached if that is wanted."""
        mail = end_mail(Dag("d", mail_on=ALL, **ADDRESSED), self.status(RunState.FAILED, NodeState.FAILED))
        assert mail is not None
        for text in (
            "run-1",
            "A=&lt;1&gt;",
            "&lt;one&gt;",
            "echo a &amp;&amp; b",
            "&lt;bad&gt;",
            "2026-01-02T03:04:05+00:00",
        ):
            self.assertIn(text, mail.html)
        self.assertEqual((mail.to, mail.attachments), (("bad@x.org",), ("/l/a.out", "/l/a.err")))
        mail = end_mail(Dag("d", mail_on=ALL, **ADDRESSED), self.status(RunState.SUCCEEDED, NodeState.SUCCEEDED))
        assert mail is not None
        self.assertEqual(mail.attachments, ())


class RunMailTests(TestCase):
    def setUp(self) -> None:
        """A mail server, and an engine with the same reactor."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        self.harness = StepHarness(directory, reactor)
        self.server = MailServer()
        port = cast("Any", reactor).listenTCP(0, self.server.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.gone()))
        self.port = port.getHost().port

    def dag(self, *steps: Step, **more: Any) -> Dag:
        smtp = SmtpServer("${SERVER}", "$PORT")
        defaults = {"mail_on": ALL, "env": ("SERVER=127.0.0.1", f"PORT={self.port}"), **ADDRESSED}
        return Dag("d", steps, type="graph", smtp=smtp, **{**defaults, **more})

    async def test_success(self) -> None:
        """A good end is mailed before it is written down."""
        status = await self.harness.run(self.dag(Step("a", commands=(Command("true"),))))
        self.assertIs(status.state, RunState.SUCCEEDED)
        (message,) = self.server.messages
        self.assertEqual((message["Subject"], message["To"]), ("[I] d (succeeded)", "good@x.org"))

    async def test_failure(self) -> None:
        """A step that wants it is mailed when it fails, the run at its end, with logs attached."""
        steps = (
            Step("a", commands=(Command("echo oops; exit 3"),), mail_on_error=True),
            Step("b", commands=(Command("true"),)),
        )
        await self.harness.run(self.dag(*steps))
        subjects = sorted(str(message["Subject"]) for message in self.server.messages)
        self.assertEqual(subjects[0], "[E] d (failed)")
        self.assertEqual(len(subjects), 2)
        attached = [part.get_content() for part in self.server.messages[-1].iter_attachments()]
        self.assertIn("oops\n", attached)

    async def test_handlers(self) -> None:
        """A handler that fails and wants it is mailed with the end of the run, also where no end is mailed; others are not."""
        handlers = {
            handler: Step(handler.value, commands=(Command(command),), mail_on_error=wanted)
            for handler, command, wanted in (
                (Handler.INIT, "true", True),
                (Handler.SUCCESS, "false", True),
                (Handler.EXIT, "false", False),
            )
        }
        dag = self.dag(Step("a", commands=(Command("true"),)), handlers=handlers, mail_on=MailOn())
        await self.harness.run(dag)
        self.assertEqual([str(message["Subject"]) for message in self.server.messages], ["[E] d (failed)"])

    async def test_nobody_there(self) -> None:
        """A mail that cannot be sent changes nothing but the run's log."""
        dag = self.dag(Step("a", commands=(Command("true"),)), env=("SERVER=127.0.0.1", "PORT=1"))
        status = await self.harness.run(dag)
        self.assertIs(status.state, RunState.SUCCEEDED)
        self.assertTrue(any("A mail was not sent" in line for line in self.harness.store.sinks[0].lines))
