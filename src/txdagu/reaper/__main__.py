"""
The reaper's process: one select loop around its core.

Run as a file by a Python without site-packages. Standard input is a socket, both ways; it ends when the worker does, whatever
ended that. The number of a further descriptor may be given: a lock that lasts as long as we do, into whose file we write a
last line when all is done.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from txdagu.reaper.core import CONTINUE, KILL, STOP, Order, Reaper
from txdagu.reaper.strays import Process, members, processes, send

NUMBERS = {STOP: signal.SIGSTOP, CONTINUE: signal.SIGCONT, KILL: signal.SIGKILL}
LARGEST_READ = 65536


def now() -> float:
    """Seconds since the host was started; they go on while it sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def carry_out(orders: list[Order], core: Reaper) -> None:
    """Look for everybody concerned, once for all orders, and send the signals."""
    everybody = processes()
    for order in orders:
        touched = 0
        for process in members(everybody, order.target, order.groups):
            if _wants(process, order.signal):
                touched += send(process, NUMBERS[order.signal])
        core.looked(order, touched, now())


def _wants(process: Process, wanted: str) -> bool:
    stopped = process.state in "Tt"
    return wanted == KILL or stopped == (wanted == CONTINUE)


def main(worker: int, lock: int | None) -> int:
    """Serve the worker at the other end of that socket until it and its tasks' processes are gone; then say so in `lock`."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    core = Reaper()
    unread = b""
    listening = True
    while not core.finished:
        deadline = core.next_deadline()
        wait = None if deadline is None else max(0.0, deadline - now())
        # A wait does not count the time that the host sleeps, so it is kept short where a deadline matters.
        wait = wait if wait is None else min(wait, 1.0)
        if select.select([worker] if listening else [], [], [], wait)[0]:
            data = _read(worker)
            listening = bool(data)
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                core.line(line.decode("ascii"), now())
            if not data:
                core.closed(now())
        core.tick(now())
        due = core.orders(now())
        if due:
            carry_out(due, core)
        _say(worker, core.words)
        core.words = []
    if lock is not None:
        os.lseek(lock, 0, os.SEEK_END)
        os.write(lock, b"reaped\n")
    return 0


def _read(worker: int) -> bytes:
    try:
        return os.read(worker, LARGEST_READ)
    except ConnectionError:
        return b""


def _say(worker: int, words: list[str]) -> None:
    try:
        for word in words:
            os.write(worker, word.encode("ascii") + b"\n")
    except OSError:
        return  # it is gone, which we learn by reading


if __name__ == "__main__":
    try:
        code = main(0, int(sys.argv[1]) if len(sys.argv) > 1 else None)
    except Exception as error:
        _say(0, [f"broken {type(error).__name__}: {error!a}"])
        raise
    sys.exit(code)
