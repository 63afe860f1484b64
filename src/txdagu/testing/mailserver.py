"""A mail server that keeps what it is sent, for tests."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.mail import smtp
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(smtp.IMessage)
class _Incoming:
    """One message being received."""

    def __init__(self, kept: list[bytes]) -> None:
        self._kept = kept
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - twisted.mail's interface
        """Kept."""
        self._lines.append(line)

    def eomReceived(self) -> Deferred[None]:  # noqa: N802
        """The mail is complete."""
        self._kept.append(b"\r\n".join(self._lines))
        return succeed(None)

    def connectionLost(self) -> None:
        """Half a message is no message."""


class _Connection(smtp.ESMTP):
    """A connection whose end can be waited for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.gone: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The client has gone."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.gone.callback(None)


@implementer(smtp.IMessageDelivery, IRealm)
class MailServer:
    """
    Delivers every mail into `messages`, except to `refused` addresses; `recipients` are those of all mails.

    `factory` makes its protocols: with `users` (passwords by name) only after authentication, with a `tls` context factory
    STARTTLS is offered.
    """

    def __init__(self, users: dict[str, str] | None = None, tls: Any = None, refused: tuple[bytes, ...] = ()) -> None:
        self.received: list[bytes] = []
        self.recipients: list[bytes] = []
        self.senders: list[bytes] = []
        self._refused = refused
        self.factory = smtp.SMTPFactory()
        self.factory.noisy = False
        self.factory.buildProtocol = lambda _: self._protocol(users, tls)  # type: ignore[method-assign]
        self.protocols: list[_Connection] = []

    @property
    def messages(self) -> list[EmailMessage]:
        """The mails as they were read."""
        return [message_from_bytes(data, policy=default) for data in self.received]

    async def gone(self) -> None:
        """All clients have gone."""
        for protocol in self.protocols:
            await protocol.gone

    def _protocol(self, users: dict[str, str] | None, tls: Any) -> _Connection:
        protocol = _Connection()
        protocol.host = b"mail.test"
        protocol.ctx = tls
        if users is None:
            protocol.delivery = self
        else:
            protocol.challengers = {b"LOGIN": smtp.LOGINCredentials}
            checker = InMemoryUsernamePasswordDatabaseDontUse(
                **{name: password.encode() for name, password in users.items()}
            )
            protocol.portal = Portal(self, [checker])  # type: ignore[assignment]
        self.protocols.append(protocol)
        return protocol

    def requestAvatar(self, who: object, mind: object, *interfaces: object) -> Any:  # noqa: N802 - twisted.cred's interface
        """Everybody who has a password may send."""
        return smtp.IMessageDelivery, self, lambda: None

    def receivedHeader(self, helo: object, origin: object, recipients: object) -> bytes:  # noqa: N802
        """The header that we add."""
        return b"Received: by mail.test"

    def validateFrom(self, helo: object, origin: smtp.Address) -> smtp.Address:  # noqa: N802
        """Everybody may be the sender."""
        self.senders.append(bytes(origin))
        return origin

    def validateTo(self, user: smtp.User) -> Any:  # noqa: N802
        """Everybody may get mail who is not refused."""
        address = bytes(user.dest)
        if address in self._refused:
            raise smtp.SMTPBadRcpt(user)
        self.recipients.append(address)
        return lambda: _Incoming(self.received)
