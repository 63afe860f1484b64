"""The reaper as a process of ours: started beside us, told everything, started again when it dies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

import txdagu.reaper
from txdagu.execution.guarding import Guard
from txdagu.reaper.leases import WAIT
from txdagu.reaper.strays import VARIABLE

PROGRAM = os.path.join(os.path.dirname(txdagu.reaper.__file__), "__main__.py")  # noqa: PTH118, PTH120 - as it is given to exec
RESTART_PAUSE = 1.0  # seconds, where one after the other dies young
READ_SIZE = 65536

Spawn = Callable[[socket.socket, int], "subprocess.Popen[bytes]"]


def spawn(end: socket.socket, lock: int) -> subprocess.Popen[bytes]:
    """
    Start a reaper at that end of a socket. It is a session of its own, so that no terminal reaches it, and has nothing else of
    ours but the descriptor `lock`, -1 for none.
    """
    kept = (lock,) if lock >= 0 else ()
    return subprocess.Popen(
        (sys.executable, "-I", "-S", PROGRAM, *map(str, kept)),
        stdin=end.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        pass_fds=kept,
        start_new_session=True,
    )


@implementer(IReadDescriptor, IWriteDescriptor)
class Reaping:
    """
    Our end of the talk with the reaper.

    `everything` gives the lines that a new reaper must be told, `over` is called with the token of a task that it has given up
    on its own, `lock` for the descriptor of a lock that it shall hold with us. Once `start` returned, everything that is told is
    known to it even if we die in the next instant: it reads what we have written, then sees that we are gone. While it is away
    nothing may be started; `watching` says so.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        everything: Callable[[], Iterable[str]] = tuple,
        over: Callable[[str], None] = lambda token: None,
        lock: Callable[[], int] = lambda: -1,
        spawn: Spawn = spawn,
    ) -> None:
        self.pid = 0
        self._reactor = reactor
        self._everything = everything
        self._over = over
        self._lock = lock
        self._spawn = spawn
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._unsent = b""
        self._unread = b""
        self._absent: list[Deferred[None]] = []
        self._syncs: dict[str, Deferred[None]] = {}
        self._started_at = float("-inf")
        self._died_young = False
        self._again: IDelayedCall | None = None
        self._stopped = False
        self._outer = os.environ.get(VARIABLE, "")

    @property
    def outer(self) -> str:
        """The token that we were started with ourselves."""
        return self._outer

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._socket is not None

    def start(self) -> None:
        """Start it, and tell it all there is to know."""
        self._again = None
        ours, theirs = socket.socketpair()
        try:
            self._process = self._spawn(theirs, self._lock())
        except OSError as error:
            ours.close()
            self.log.error("the reaper cannot be started: {why}; nothing else is until it can", why=error.strerror)
            self._again = self._reactor.callLater(RESTART_PAUSE, self.start)
            return
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._started_at = self._reactor.seconds()
        ours.setblocking(False)
        self._socket, self._unsent, self._unread = ours, b"", b""
        self._reactor.addReader(self)
        for line in self._everything():
            self.tell(line)
        for prefix in self._syncs:
            self._sweep(prefix)
        waiting, self._absent = self._absent, []
        for one in waiting:
            if not one.called:
                one.callback(None)

    def stop(self) -> None:
        """Leave it alone: it kills what is left of open tasks, and ends."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._close()

    def tell(self, line: str) -> None:
        """Tell it something. While it is away nothing is lost: a new one is told everything."""
        if self._socket is None:
            return
        self._unsent += line.encode("ascii") + b"\n"
        self.doWrite()
        if self._unsent:
            self._reactor.addWriter(self)

    def watching(self) -> Deferred[None] | None:
        """None while it is there, else what fires when it is there again."""
        if self._socket is not None:
            return None
        absent: Deferred[None] = Deferred()
        self._absent.append(absent)
        return absent

    def swept(self, prefix: str) -> Deferred[None]:
        """Kill everybody whose token begins so, an earlier worker's processes; fires when none is left."""
        done = self._syncs[prefix] = Deferred()
        self._sweep(prefix)
        return done

    def _sweep(self, prefix: str) -> None:
        self.tell(f"sweep {prefix}")
        self.tell(f"sync {prefix}")

    # -- descriptor ----------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Our end of the socket."""
        return self._socket.fileno() if self._socket is not None else -1

    def logPrefix(self) -> str:
        """How the reactor names us in its log."""
        return "reaper"

    def doRead(self) -> None:
        """It says something, or is gone."""
        try:
            data = self._socket.recv(READ_SIZE) if self._socket is not None else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode("ascii", "replace").partition(" ")
            if word == "over":
                self._over(rest)
            elif word == "ready" and rest in self._syncs:
                self._syncs.pop(rest).callback(None)
            elif word == "broken":
                self.log.error("the reaper broke: {why}", why=rest)

    def doWrite(self) -> None:  # noqa: N802 - the reactor's name for it
        """Send what could not be sent at once."""
        if self._socket is None:
            return
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = b""  # it is gone; reading tells
        self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down."""
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.poll()

    def _gone(self) -> None:
        self._close()
        if self._process is not None:
            self._process.kill()  # where it has only hung up: two must not be there at once
            self._process.wait()
        if self._stopped:
            return
        self.log.warn("the reaper, process {pid}, is gone; a new one is started", pid=self.pid)
        young, self._died_young = self._died_young, self._reactor.seconds() - self._started_at < RESTART_PAUSE
        self._again = self._reactor.callLater(RESTART_PAUSE if young else 0.0, self.start)


class Watch:
    """
    Guards for runs that have no lease, those of a command in the foreground or of a scheduler: their processes end with ours,
    however we end. The reaper is started with the first run.
    """

    def __init__(self, reactor: Any, spawn: Spawn = spawn) -> None:
        self._guards: dict[str, Guard] = {}
        self._prefix = uuid.uuid4().hex
        self._count = 0
        self._reaping = Reaping(reactor, self._lines, spawn=spawn)

    def begin(self) -> Guard:
        """A guard for a run that begins."""
        if not self._reaping.running and not self._guards:
            self._reaping.start()
        self._count += 1
        token = f"{self._prefix}.{self._count}"
        self._guards[token] = guard = Guard(token, self._reaping, self._reaping.outer)
        self._reaping.tell(self._line("hold", token))
        return guard

    def end(self, guard: Guard) -> None:
        """The run has ended; what it left in the background on purpose stays."""
        self._guards.pop(guard.token, None)
        self._reaping.tell(f"done {guard.token}")

    def stop(self) -> None:
        """The engine is not used any more."""
        self._reaping.stop()

    def _lines(self) -> list[str]:
        return [self._line("held", token) for token in self._guards]

    @staticmethod
    def _line(word: str, token: str) -> str:
        return f"{word} {token} {WAIT} 0 0 0"
