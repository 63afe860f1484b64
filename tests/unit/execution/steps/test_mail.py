"""Mail steps, and handing mail to a server: against a server of twisted.mail, with real sockets."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import TestCase

from txdagu.model.dag import Step
from txdagu.model.mail import SmtpServer
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState
from txdagu.testing.certificates import Authority
from txdagu.testing.mailserver import MailServer
from txdagu.testing.steps import StepHarness


class MailTests(TestCase):
    def setUp(self) -> None:
        """An engine with the reactor of the test."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        self.reactor = cast("Any", reactor)
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        self.harness = StepHarness(self.directory, reactor)

    def serve(self, **options: Any) -> tuple[MailServer, str]:
        """A mail server and its port."""
        server = MailServer(**options)
        port = self.reactor.listenTCP(0, server.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.gone()))
        return server, str(port.getHost().port)

    async def send(self, smtp: SmtpServer | None, **config: Any) -> tuple[NodeStatus, str, str]:
        step = Step("a", type="mail", config={"from": "f@x.org", "to": "t@x.org", **config})
        return await self.harness.run_step(step, smtp=smtp, params="PORT=0 Q=val", env=("PW=secret",))

    async def test_mail(self) -> None:
        """Addresses, subject, text and attachments arrive as they were meant; what is sent is told, as Dagu 1.30.2 tells it."""
        server, port = self.serve()
        Path(self.directory, "data.csv").write_bytes(b"a,b\n")  # noqa: ASYNC240
        node, out, _ = await self.send(
            SmtpServer("127.0.0.1", port),
            to=["t@x.org", "Ü <u@x.org>"],
            subject="S ${Q} é",
            message="<b>1</b>\nline ${Q}",
            attachments=["data.csv"],
        )
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual(
            out,
            "sending email\n-----\nfrom: f@x.org\nto: t@x.org, Ü <u@x.org>\nsubject: S val é\nmessage: <b>1</b>\nline val\n"
            "-----\nsending email succeed.",
        )
        self.assertEqual((server.senders, server.recipients), ([b"f@x.org"], [b"t@x.org", b"u@x.org"]))
        message = server.messages[0]  # one for each recipient
        self.assertEqual((message["From"], message["To"]), ("f@x.org", "t@x.org, Ü <u@x.org>"))
        self.assertEqual(message["Subject"], "S val é")
        self.assertIsNotNone(message["Date"])
        body, attached = message.walk(), list(message.iter_attachments())
        texts = [part.get_content() for part in body if part.get_content_type() == "text/html"]
        self.assertEqual([text.split() for text in texts], [["<b>1</b><br", "/>", "line", "val"]])
        self.assertEqual([(part.get_filename(), part.get_content()) for part in attached], [("data.csv", "a,b\n")])

    async def test_login(self) -> None:
        """With a user name the server is told it, and the texts of smtp are evaluated; a wrong password is an error."""
        server, port = self.serve(users={"me": "secret"})
        smtp = SmtpServer("127.0.0.1", port, "me", "${PW}")
        node, _, _ = await self.send(smtp, message="m")
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual(len(server.received), 1)
        node, _, err = await self.send(SmtpServer("127.0.0.1", port, "me", "wrong"), message="m")
        self.assertRegex(
            node.error, r"^failed to execute step \"a\": the mail server 127.0.0.1:\d+ did not take the mail: 5\d\d"
        )
        self.assertNotIn("wrong", node.error)
        self.assertEqual(err, "error occurred.")

    async def test_tls(self) -> None:
        """STARTTLS is used where it is offered, and the certificate has to be good."""
        authority = Authority()
        issued = authority.issue("mail", names=["localhost"])
        context = PrivateCertificate.loadPEM(issued.pem + issued.key_pem()).options()
        server, port = self.serve(users={"me": "secret"}, tls=context)
        smtp = SmtpServer("localhost", port, "me", "secret")
        node, _, _ = await self.send(smtp, message="m")
        self.assertRegex(node.error, "did not take the mail: .*certificate verify failed")
        with patch.dict(os.environ, {"SSL_CERT_FILE": authority.write_authority(Path(self.directory))}):
            node, _, _ = await self.send(smtp, message="m")
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertTrue(server.protocols[-1].startedTLS)

    async def test_refused_recipient(self) -> None:
        """A recipient whom the server does not take fails the step, by name, also when others were taken."""
        _, port = self.serve(refused=(b"no@x.org",))
        node, _, _ = await self.send(SmtpServer("127.0.0.1", port), to=["t@x.org", "no@x.org"])
        self.assertIn("took the mail, but not for no@x.org: 550", node.error)
        node, _, _ = await self.send(SmtpServer("127.0.0.1", port), to="no@x.org")
        self.assertIn("did not take the mail for no@x.org: 550 Cannot receive", node.error)

    async def test_problems(self) -> None:
        """What is missing is told in one sentence."""
        here = SmtpServer("127.0.0.1", "1")
        for smtp, config, expected in (
            (None, {}, "give the DAG smtp with host and port"),
            (here, {"to": ""}, "the mail has no recipient"),
            (here, {}, "Connection was refused"),
            (SmtpServer("127.0.0.1", "x"), {}, "smtp.port: 'x' is not a port"),
            (here, {"attachments": ["nope.txt"]}, "nope.txt cannot be read: No such file or directory"),
            (here, {"subject": "a\nBcc: b@x.org"}, "the mail cannot be written"),
        ):
            node, _, _ = await self.send(smtp, **config)
            self.assertIs(node.state, NodeState.FAILED)
            self.assertIn(expected, node.error)
