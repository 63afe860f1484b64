"""
Mail as it goes over the wire.

What it takes from the standard library is imported when a mail is written: most runs send none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from txdagu.model.errors import DaguError

if TYPE_CHECKING:
    from email.message import EmailMessage


class MailError(DaguError):
    """A mail that cannot be written or sent."""


@dataclass(frozen=True, slots=True)
class Mail:
    """
    A mail. `sender` and `to` are addresses, with or without names; `html` is its text; `attachments` are paths of files, sent
    under their names.
    """

    sender: str
    to: tuple[str, ...]
    subject: str
    html: str
    attachments: tuple[str, ...] = ()

    @property
    def envelope_sender(self) -> str:
        """The sender's address alone; empty if there is none."""
        from email.utils import parseaddr

        return parseaddr(self.sender)[1]

    @property
    def envelope_to(self) -> tuple[str, ...]:
        """The recipients' addresses alone."""
        from email.utils import getaddresses

        return tuple(address for _, address in getaddresses(self.to) if address)

    def check(self) -> None:
        """Raise `MailError` if it has no recipient."""
        if not self.envelope_to:
            raise MailError('the mail has no recipient: write to: "name@example.org"')


def written(mail: Mail, now: datetime) -> bytes:
    """
    The whole message (RFC 5322, MIME), its lines ended by LF alone as Twisted's client wants them. Reads the attachments, so
    it blocks.

    Raises `MailError` for files that cannot be read and for line breaks in what becomes a header.
    """
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import format_datetime, make_msgid

    message = EmailMessage(policy=SMTP.clone(linesep="\n"))
    try:
        message["From"] = mail.sender
        message["To"] = ", ".join(mail.to)
        message["Subject"] = mail.subject
    except ValueError as error:
        raise MailError(f"the mail cannot be written: {error}") from error
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid("dagu", mail.envelope_sender.rpartition("@")[2] or "localhost")
    message.set_content(mail.html, subtype="html")
    _attach(message, mail.attachments)
    try:
        return message.as_bytes()
    except UnicodeEncodeError as error:
        raise MailError(f"the mail cannot be written: addresses have to be ASCII: {error.object!r}") from error


def _attach(message: EmailMessage, paths: Sequence[str]) -> None:
    import mimetypes

    for path in paths:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise MailError(f"the attachment {path} cannot be read: {error.strerror}") from error
        kind, encoding = mimetypes.guess_type(path)
        main, _, sub = (kind if kind and not encoding else "application/octet-stream").partition("/")
        if main == "text" or Path(path).suffix in (".out", ".err", ".log"):
            main, sub = "text", "plain" if main != "text" else sub
        message.add_attachment(content, maintype=main, subtype=sub, filename=Path(path).name)
