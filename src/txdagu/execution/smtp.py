"""
Handing mail to a server (RFC 5321), with Twisted's client.

TLS is used where the server offers STARTTLS (RFC 3207), and from the first byte on port 465 (RFC 8314); its certificate has to
be good. Importing this module asks for our host name and may block: do that in a thread.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import optionsForClientTLS
from twisted.mail.smtp import ESMTPSenderFactory, SMTPClientError

from txdagu.execution.message import Mail, MailError
from txdagu.model.mail import SmtpServer

TIMEOUT = 30.0  # seconds without an answer
IMPLICIT_TLS_PORT = 465
DEFAULT_PORT = 25


def send(reactor: Any, server: SmtpServer, mail: Mail, message: bytes) -> Deferred[None]:
    """
    Hand `message` over for the addresses of `mail`; fires when the server has taken it for all of them.

    With a user name the server has to accept it. Raises `MailError` with what the server said. Cancelling closes the connection.
    """
    mail.check()
    if not server.host:
        raise MailError("there is no mail server: give the DAG smtp with host and port")
    port = _port(server)
    result: Deferred[Any] = Deferred(lambda _: give_up())
    factory = ESMTPSenderFactory(
        server.username.encode() or None,
        server.password.encode(),
        mail.envelope_sender,
        list(mail.envelope_to),
        BytesIO(message),
        result,
        retries=0,
        timeout=TIMEOUT,
        heloFallback=not server.username,
        requireAuthentication=bool(server.username),
        requireTransportSecurity=False,
        hostname=server.host,
    )
    factory.noisy = False
    if port == IMPLICIT_TLS_PORT:
        connector = reactor.connectSSL(server.host, port, factory, optionsForClientTLS(server.host), timeout=TIMEOUT)
    else:
        connector = reactor.connectTCP(server.host, port, factory, timeout=TIMEOUT)

    def give_up() -> None:
        factory.sendFinished = True
        connector.disconnect()

    where = f"{server.host}:{port}"
    result.addCallbacks(lambda answer: _check(answer, where), lambda failure: _explain(failure, where))
    return result


def _port(server: SmtpServer) -> int:
    if not server.port:
        return DEFAULT_PORT
    try:
        port = int(server.port)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise MailError(f"smtp.port: {server.port!r} is not a port")
    return port


def _check(answer: tuple[int, list[tuple[bytes, int, bytes]]], where: str) -> None:
    refused = _refused(answer[1])
    if refused:
        raise MailError(f"the mail server {where} took the mail, but not for {refused}")


def _refused(answers: list[tuple[bytes, int, bytes]]) -> str:
    """Who may not have the mail, each with the server's words."""
    return "; ".join(
        f"{address.decode(errors='replace')}: {code} {text.decode(errors='replace')}"
        for address, code, text in answers
        if not 200 <= code < 300
    )


def _explain(failure: Any, where: str) -> None:
    error = failure.value
    if isinstance(error, SMTPClientError):  # its text would hold the whole conversation, passwords included
        refused = _refused(getattr(error, "addresses", None) or [])
        if refused:
            raise MailError(f"the mail server {where} did not take the mail for {refused}") from None
        said = error.resp.decode(errors="replace") if isinstance(error.resp, bytes) else str(error.resp)
        code = f"{error.code} " if error.code and error.code > 0 else ""
        raise MailError(f"the mail server {where} did not take the mail: {code}{said}") from None
    failure.raiseException()
