"""Steps of type ``mail``."""

from __future__ import annotations

from pathlib import Path

from txdagu.execution.mailing import send_mail
from txdagu.execution.message import Mail, MailError
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.context import StepContext
from txdagu.model.errors import DaguError
from txdagu.model.mail import SmtpServer
from txdagu.model.status import NodeState


async def run_mail_step(context: StepContext) -> StepEnd:
    """Send the mail that the config describes through the DAG's ``smtp`` server."""
    config = await context.config()
    message = config.text("message")
    mail = Mail(
        config.text("from"),
        config.texts("to"),
        config.text("subject"),
        message.replace("\r\n", "\n").replace("\n", "<br />\n"),
        tuple(str(Path(context.directory, path)) for path in config.texts("attachments") if path),
    )
    config.check()
    mail.check()
    server = await evaluated_server(context)
    await context.print(
        f"sending email\n-----\nfrom: {mail.sender}\nto: {', '.join(mail.to)}\n"
        f"subject: {mail.subject}\nmessage: {message}\n-----\n"
    )
    try:
        await context.stop.race(send_mail(context.tools, server, mail))
    except MailError:
        await context.print_error("error occurred.")
        raise
    await context.print("sending email succeed.")
    return StepEnd(NodeState.SUCCEEDED)


async def evaluated_server(context: StepContext) -> SmtpServer:
    """The DAG's mail server, its texts evaluated."""
    server = context.dag.smtp
    if server is None:
        raise DaguError("a mail step needs a mail server: give the DAG smtp with host and port")
    field = context.evaluator.field
    return SmtpServer(
        await field(server.host), await field(server.port), await field(server.username), await field(server.password)
    )
