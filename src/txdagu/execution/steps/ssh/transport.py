"""The client's side of RFC 4253, with the host's key checked against a file."""

from __future__ import annotations

import re
from typing import Any

from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.transport import DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, SSHClientTransport
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from txdagu.execution.steps.ssh.authentication import Authentication
from txdagu.execution.steps.ssh.known_hosts import KnownHosts
from txdagu.execution.steps.ssh.silence import SILENT
from txdagu.model.errors import DaguError

_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
_VERSION = re.compile(rb"^SSH-.*\n", re.MULTILINE)
_LONGEST_GREETING = 4096  # bytes; more is Conch's to refuse
_MOST_SHOWN = 200  # characters of a greeting
_NOT_OFFERED = (b"ssh-dss",)


class LoginError(DaguError):
    """There is no login on the host, or no longer."""


class Connection(SSHConnection):
    """
    Channels over an authenticated transport. `opened` fires when there are any to be had.

    A channel's window is opened again by who takes what it brought, not here.
    """

    _log = SILENT

    def __init__(self) -> None:
        super().__init__()
        self.opened: Deferred[Connection] = Deferred()

    def serviceStarted(self) -> None:  # noqa: N802 - Conch's name
        """We are in."""
        super().serviceStarted()
        self.opened.callback(self)

    def adjustWindow(self, channel: Any, bytesToAdd: int) -> None:  # noqa: N802, N803 - Conch's names
        """Conch would open the window before anybody has taken what has come; see `widen`."""

    def widen(self, channel: Any, size: int) -> None:
        """`size` bytes of what the channel brought are taken: as many more may come."""
        if channel in self.channelsToRemoteChannel:
            super().adjustWindow(channel, size)


class Transport(SSHClientTransport):
    """
    One connection. `known` are the host's keys, None if any will do; `shown` is the login for people.

    `lost` fires at its end, with the reason as `DaguError`, however it came.
    """

    _log = SILENT
    transport: Any

    def __init__(self, known: KnownHosts | None, authentication: Authentication, shown: str) -> None:
        self.lost: Deferred[DaguError] = Deferred()
        self._known = known
        self._authentication = authentication
        self._shown = shown
        self._trouble = ""
        self._secure = False
        self.supportedPublicKeys = _preferred(self.supportedPublicKeys, known.types if known else ())

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Lines before the version are for people (RFC 4253, 4.2); Conch would take them for a packet if they came alone."""
        if not self.gotVersion:
            begun = self.buf + data
            if len(begun) <= _LONGEST_GREETING and not _VERSION.search(begun):
                self.buf = begun
                return
        super().dataReceived(data)

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:  # noqa: N802, N803 - Conch's names
        """Whether it is the host that we mean; asked again with each key exchange."""
        problem = self._known.problem(hostKey, self._shown.rpartition("@")[2]) if self._known else ""
        if not problem:
            return succeed(True)
        self._trouble = problem
        return fail(LoginError(problem))

    def connectionSecure(self) -> None:  # noqa: N802 - Conch's name
        """Keys are exchanged; the first time, log in."""
        if not self._secure:
            self._secure = True
            self.requestService(self._authentication)

    def receiveError(self, reasonCode: int, description: bytes) -> None:  # noqa: N802, N803 - Conch's names
        """The server says why it goes."""
        self._trouble = self._trouble or f"{self._shown} ended the connection: {description.decode('utf-8', 'replace')}"

    def sendDisconnect(self, reason: int, desc: bytes) -> None:  # noqa: N802 - Conch's name
        """Say why we go."""
        if reason == DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE:
            self._trouble = self._trouble or self._authentication.explain(self._shown)
        self._trouble = self._trouble or f"no ssh connection to {self._shown}: {desc.decode('utf-8', 'replace')}"
        super().sendDisconnect(reason, desc)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The end."""
        why = "the host closed it"
        if reason is not None and not reason.check(ConnectionDone):
            why = str(reason.value).rstrip(".")
        if not self.gotVersion and self.buf.strip():
            said = self.buf.decode("utf-8", "replace").split("\n")[0].strip()
            why = f"it said {said[:_MOST_SHOWN]!r} before its version"
        advice = "look there, or try again with retryPolicy"
        self.lost.callback(LoginError(self._trouble or f"the connection to {self._shown} is lost: {why}: {advice}"))
        super().connectionLost(reason)

    def close(self) -> None:
        """Say goodbye and go."""
        self.loseConnection()

    def abort(self, trouble: str = "") -> None:
        """Cut the connection, whatever the other side does; `trouble` says why."""
        self._trouble = self._trouble or trouble
        self.transport.abortConnection()


def _preferred(supported: list[bytes], known: tuple[str, ...]) -> list[bytes]:
    """Kinds of host keys in the order in which they are wanted: first those of keys that are known."""
    first = [name.encode() for kind in known for name in (_RSA if kind == "ssh-rsa" else (kind,))]
    offered = [name for name in supported if name not in _NOT_OFFERED]
    return [name for name in first if name in supported] + [name for name in offered if name not in first]
