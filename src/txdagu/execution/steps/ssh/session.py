"""A command that runs on the other host, in a channel of its own: RFC 4254, section 6."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txdagu.execution.steps.ssh.silence import SILENT

WINDOW = 1024 * 1024  # bytes that may be on their way, and so at most in memory
PACKET = 32 * 1024
_STDERR = 1  # RFC 4254, section 5.2
_SIGNALS = frozenset(
    ["ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"]
)

Write = Callable[[bytes, bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RemoteEnd:
    """
    How a command ended: its exit `code`, or -1 and the name of the `signal` that ended it, without SIG.

    `trouble` says why nothing is known of that.
    """

    code: int = -1
    signal: str = ""
    message: str = ""
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0

    def __str__(self) -> str:
        """As error texts say it."""
        if self.trouble:
            return self.trouble
        if self.signal:
            return f"Process exited with signal {self.signal}" + (f": {self.message}" if self.message else "")
        return f"Process exited with status {self.code}"


class CommandChannel(SSHChannel):
    """
    Executes `line`; what it prints goes to `write` piece by piece, with whether it is standard error.

    The next piece is only handed on when the one before is written, and the window is opened by what was written: a command that
    prints faster than that has to wait. `ended` fires when it has ended and all is written, or fails as `write` did.
    """

    name = b"session"
    _log = SILENT
    conn: Any

    def __init__(self, line: str, write: Write) -> None:
        super().__init__(localWindow=WINDOW, localMaxPacket=PACKET)
        self.ended: Deferred[RemoteEnd] = Deferred()
        self._line = line
        self._write = write
        self._waiting: list[tuple[bool, bytearray]] = []
        self._writing = False
        self._taken = 0
        self._end = RemoteEnd(trouble="the remote command ended without exit status or signal")
        self._closed = False
        self._started = False
        self._wanted = ""

    def channelOpen(self, specificData: bytes) -> None:  # noqa: N802, N803 - Conch's names
        """Ask for the command; nothing will come on its standard input."""
        asked: Any = self.conn.sendRequest(
            self, b"exec", NS(self._line.encode("utf-8", "surrogateescape")), wantReply=True
        )
        asked.addCallbacks(lambda _: self._begun(), lambda _: self._refused())
        self.conn.sendEOF(self)

    def openFailed(self, reason: Any) -> None:  # noqa: N802 - Conch's name
        """The server does not give us a channel."""
        text = getattr(reason, "desc", None) or str(reason)
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        self._end = RemoteEnd(trouble=f"the server opens no session: {shown}")
        self.closed()

    def dataReceived(self, data: bytes) -> None:
        """A piece of standard output."""
        self._take(data, False)

    def extReceived(self, dataType: int, data: bytes) -> None:  # noqa: N802, N803 - Conch's names
        """A piece of standard error."""
        self._take(data, dataType == _STDERR)

    def request_exit_status(self, data: bytes) -> bool:
        """The command has ended."""
        self._end = RemoteEnd(struct.unpack(">L", data[:4])[0])
        return True

    def request_exit_signal(self, data: bytes) -> bool:
        """A signal has ended the command."""
        name, rest = getNS(data)
        message = getNS(rest[1:])[0]
        self._end = RemoteEnd(-1, name.decode("ascii", "replace"), message.decode("utf-8", "replace"))
        return True

    def closed(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._go_on()

    def lost(self, trouble: str) -> None:
        """The connection has gone: nothing is known of the command unless it said its end before."""
        if self._end.trouble:
            self._end = RemoteEnd(trouble=trouble)
        self.closed()

    def signal(self, name: str) -> None:
        """Ask the server to send the command a signal, by its full name; SIGTERM instead of one that SSH does not know."""
        short = name.removeprefix("SIG")
        self._wanted = short if short in _SIGNALS else "TERM"
        if self._started:
            self._send_signal()

    def drop(self) -> None:
        """Give up: what waits to be written does not matter any more."""
        self._waiting.clear()
        self._end = RemoteEnd(trouble="the command was stopped by force")
        self.closed()

    def _begun(self) -> None:
        self._started = True
        if self._wanted:
            self._send_signal()

    def _refused(self) -> None:
        if not self._closed:
            self._end = RemoteEnd(trouble="the server does not execute commands for this login")
            self.loseConnection()

    def _send_signal(self) -> None:
        if not self._closed and not self.localClosed:
            self.conn.sendRequest(self, b"signal", NS(self._wanted.encode()))

    def _take(self, data: bytes, error: bool) -> None:
        if self._closed:
            return
        if self._waiting and self._waiting[-1][0] == error:
            self._waiting[-1][1].extend(data)
        else:
            self._waiting.append((error, bytearray(data)))
        self._go_on()

    def _go_on(self) -> None:
        if self._writing or self.ended.called:
            return
        if self._waiting:
            error, piece = self._waiting.pop(0)
            self._writing = True
            writing = Deferred.fromCoroutine(self._written(bytes(piece), error))
            writing.addCallbacks(lambda _: self._wrote(len(piece)), self._broke)
        elif self._closed:
            self.ended.callback(self._end)

    async def _written(self, piece: bytes, error: bool) -> None:
        await self._write(piece, error)

    def _wrote(self, size: int) -> None:
        self._writing = False
        self._taken += size
        if self._taken >= WINDOW // 4 and not self._closed:
            self.conn.widen(self, self._taken)
            self._taken = 0
        self._go_on()

    def _broke(self, failure: Failure) -> None:
        self._writing = False
        self._waiting.clear()
        if not self.ended.called:
            self.ended.errback(failure)
        if not self._closed:
            self.loseConnection()
