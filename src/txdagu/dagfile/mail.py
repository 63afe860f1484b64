"""Mail: ``mailOn``, ``errorMail``, ``infoMail``, ``waitMail`` and ``smtp``."""

from __future__ import annotations

from txdagu.dagfile.fields import Field, Fields, Level, type_name
from txdagu.dagfile.shapes import NUMBER_OR_TEXT, SWITCH, TEXT, TEXTS
from txdagu.dagfile.values import read_strings
from txdagu.model.mail import MailAddressing, MailOn, SmtpServer

MAIL_ON = Level(
    "mailOn",
    "mailOn",
    (
        Field("failure", SWITCH, "Mail by `errorMail` when the run failed.", False),
        Field("success", SWITCH, "Mail by `infoMail` when the run succeeded.", False),
        Field("wait", SWITCH, "Mail by `waitMail` when the run waits for approval.", False),
    ),
)
MAIL = Level(
    "mail",
    "mail",
    (
        Field("from", TEXT, "The sender's address."),
        Field("to", TEXTS, "The recipients' addresses."),
        Field("prefix", TEXT, "What the subject begins with."),
        Field("attachLogs", SWITCH, "Attach the log files of the steps.", False),
    ),
)
SMTP = Level(
    "smtp",
    "smtp",
    (
        Field("host", TEXT, "The mail server's name or address."),
        Field("port", NUMBER_OR_TEXT, "Its port."),
        Field("username", TEXT, "The user to log in as."),
        Field("password", TEXT, "The user's password."),
    ),
)


def read_mail_on(fields: Fields) -> MailOn:
    """When mail is sent."""
    own = fields.mapping("mailOn", MAIL_ON)
    return MailOn(own.switch("failure"), own.switch("success"), own.switch("wait")) if own else MailOn()


def read_addressing(fields: Fields, name: str) -> MailAddressing:
    """The sender and recipients in the field of that name."""
    own = fields.mapping(name, MAIL)
    if own is None:
        return MailAddressing()
    to = read_strings(f"{name}.to", own.node("to"), own.report)
    addresses = tuple(text.strip() for text, _ in to if text.strip())
    return MailAddressing(own.text("from"), addresses, own.text("prefix"), own.switch("attachLogs"))


def read_smtp(fields: Fields) -> SmtpServer | None:
    """The mail server; its port may be a number or a text."""
    own = fields.mapping("smtp", SMTP)
    if own is None:
        return None
    port = own.node("port")
    if port is not None and (isinstance(port.value, bool | list | dict)):
        own.problem("port", f"port must be string or number, got {type_name(port)}")
        return None
    return SmtpServer(own.text("host"), own.scalar("port"), own.text("username"), own.text("password", strip=False))
