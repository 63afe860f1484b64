"""The mails of one run: at its end, and when a step fails that wants one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred, gatherResults

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.mailing import send_mail
from txdagu.execution.message import Mail
from txdagu.execution.reports import end_mail, run_mail
from txdagu.execution.steps.context import Tools
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError
from txdagu.model.mail import MailAddressing, SmtpServer
from txdagu.model.run import RunStatus
from txdagu.model.status import NodeState


class RunMail:
    """
    Sends what the DAG's `mail_on` and its steps' `mail_on_error` ask for.

    Without an SMTP server nothing is sent. What cannot be sent changes no run: `warn` is called with the reason.
    """

    def __init__(self, tools: Tools, dag: Dag, warn: Callable[[str], None]) -> None:
        self._tools = tools
        self._dag = dag
        self._warn = warn
        wanted = dag.smtp is not None and dag.error_mail.to
        self._watched = {step.name for step in dag.steps if step.mail_on_error} if wanted else set()
        self._pending: list[Deferred[None]] = []

    async def evaluate(self, evaluator: Evaluator) -> None:
        """Evaluate addresses and server. Called once, when the run's environment is known; before that they count as written."""
        dag = self._dag
        if dag.smtp is None:
            return
        server, field = dag.smtp, evaluator.field
        self._dag = replace(
            dag,
            smtp=SmtpServer(
                await field(server.host),
                await field(server.port),
                await field(server.username),
                await field(server.password),
            ),
            error_mail=await _evaluated(dag.error_mail, evaluator),
            info_mail=await _evaluated(dag.info_mail, evaluator),
            wait_mail=await _evaluated(dag.wait_mail, evaluator),
        )

    def status_told(self, status: RunStatus) -> None:
        """Mail the state of the run for each step that has failed since, if it wants that."""
        if not self._watched:
            return
        for node in status.nodes:
            if node.state is NodeState.FAILED and node.step.name in self._watched:
                self._watched.discard(node.step.name)
                mail = run_mail(self._dag, status, self._dag.error_mail)
                self._pending.append(Deferred.fromCoroutine(self._send(mail)))

    async def run_ended(self, status: RunStatus) -> None:
        """Mail the end, once more for each handler that failed and wants it; returns when all is sent or given up."""
        self.status_told(status)
        if self._dag.smtp is not None:
            for node in status.handlers.values():
                if node.state is NodeState.FAILED and node.step.mail_on_error:
                    await self._send(run_mail(self._dag, status, self._dag.error_mail))
            await self._send(end_mail(self._dag, status))
        await gatherResults(self._pending)

    async def _send(self, mail: Mail | None) -> None:
        if mail is None:
            return
        try:
            await send_mail(self._tools, self._dag.smtp, mail)
        except DaguError as error:
            self._warn(str(error))


async def _evaluated(written: MailAddressing, evaluator: Evaluator) -> MailAddressing:
    return MailAddressing(
        await evaluator.field(written.sender),
        tuple([await evaluator.field(address) for address in written.to]),
        await evaluator.field(written.prefix),
        written.attach_logs,
    )
