"""What a role needs from its operating system process: signals, a word to the service manager, a last line, an exit code."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Protocol

from twisted.internet.interfaces import IReactorFromThreads

# Those who run programs for others (timeout(1), some shells) send a signal to the process and then to its group: one wish.
SAME_REQUEST = 0.5


class RoleProcess(Protocol):
    """The process of a role, as `txdagu.tap.role` sees it."""

    def notify(self, state: str) -> None:
        """Tell the service manager, if there is one: ``READY=1``, ``STOPPING=1``."""

    def complain(self, line: str) -> None:
        """Write a line on the real standard error."""

    def notify_reloading(self) -> None:
        """Tell the service manager that configuration is read again; ``READY=1`` ends that."""

    def watch_signals(
        self, stop: Callable[[str], None], reload: Callable[[str], None], hurry: Callable[[str], None] | None = None
    ) -> None:
        """
        From now on the first signal that asks for an end calls `stop` with its name, in the reactor; the second `hurry`, if there
        is one; the next forces it.

        SIGHUP calls `reload`.
        """


class UnixProcess:
    """This process. `now` is a monotonic clock in seconds; `on_terminal` says whether standard input is a living terminal."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.monotonic,
        on_terminal: Callable[[], bool] = lambda: os.isatty(0),
    ) -> None:
        self._reactor = reactor
        self._environ = environ
        self._now = now
        self._on_terminal = on_terminal
        self._asked: tuple[int, float] | None = None

    def notify(self, state: str) -> None:
        """Send a state to systemd's notification socket (sd_notify(3)); a manager that is gone is no reason to stop."""
        address = self._environ.get("NOTIFY_SOCKET")
        if not address:
            return
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.setblocking(False)
            try:
                manager.connect(address)
                manager.send(state.encode())
            except OSError as error:
                self.complain(f"cannot tell {state} to NOTIFY_SOCKET: {error.strerror}")

    def notify_reloading(self) -> None:
        """``RELOADING=1`` with the time, as ``Type=notify-reload`` wants it (sd_notify(3))."""
        self.notify(f"RELOADING=1\nMONOTONIC_USEC={int(self._now() * 1_000_000)}")

    def complain(self, line: str) -> None:
        """Write past `sys.stderr`, which twistd turns into log events."""
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"{line}\n")
            sys.__stderr__.flush()

    def watch_signals(
        self,
        stop: Callable[[str], None],
        reload: Callable[[str], None] | None = None,
        hurry: Callable[[str], None] | None = None,
    ) -> None:
        """
        The first signal calls `stop`, the second `hurry` if there is one; the next ends the process at once.

        Take SIGTERM, SIGINT and SIGHUP. With `reload`, SIGHUP calls that instead, unless it came because our terminal is gone. To
        be called once the reactor runs, to replace its own handlers: with those, twistd would kill itself by the same signal
        after a clean end. Signals that our parent had us ignore (nohup) stay so.
        """
        had_terminal = self._on_terminal()
        ways = [stop] if hurry is None else [stop, hurry]

        def asked(number: int, frame: FrameType | None) -> None:
            name = signal.Signals(number).name
            if number == signal.SIGHUP and reload is not None and not (had_terminal and not self._on_terminal()):
                self._reactor.callFromThread(reload, name)
                return
            if self._asked is not None:
                last, at = self._asked
                if last == number and self._now() - at < SAME_REQUEST:
                    return
            self._asked = (number, self._now())
            if not ways:
                self.complain(f"{name} again: ending at once, without waiting for anything")
                os._exit(128 + number)
            self._reactor.callFromThread(ways.pop(0), name)

        signal.signal(signal.SIGTERM, asked)
        for number in (signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, asked)


def exit_with(code: Callable[[], int]) -> None:
    """
    Let the interpreter end with this code unless it is 0, whatever the main program wants.

    For twistd, which knows no way to end with a code once its reactor ran. Registered early, so that it is the last exit handler.
    """

    def leave() -> None:
        if code() != 0:
            for stream in (sys.__stdout__, sys.__stderr__):
                if stream is not None:
                    stream.flush()
            os._exit(code())

    atexit.register(leave)
