"""Mails of steps and runs: written in a thread, then sent."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from txdagu.execution.message import Mail, written
from txdagu.execution.steps.context import Tools
from txdagu.model.mail import SmtpServer


async def send_mail(tools: Tools, server: SmtpServer | None, mail: Mail) -> None:
    """
    Write and send one mail.

    Raises `txdagu.execution.message.MailError` with one sentence: no recipient, no server, an unreadable attachment, or what the
    server said.
    """
    mail.check()
    message = await tools.in_thread(partial(written, mail, tools.now()))
    smtp = await tools.in_thread(_smtp)
    await smtp.send(tools.clock, server or SmtpServer(), mail, message)


def _smtp() -> ModuleType:
    """Imported here: most runs send no mail, and the module asks for our host name when it is imported."""
    from txdagu.execution import smtp

    return smtp
