"""
Finding everybody who belongs to a task, and signalling them.

A process belongs to a task if its environment, as it was when it began its program, has the task's token; setsid, double
forks and a changed parent do not alter that. A process that began with another environment belongs to it as long as it is in
the group or session of a known leader, or in one in which somebody has the token: the number of a group alone proves nothing,
because the system gives it to somebody else when the group has ended.
"""

from __future__ import annotations

import os

VARIABLE = "DAGU_REAPER_TOKEN"
"""The variable: one token, or several with colons between them where runs start runs."""

_KEY = VARIABLE.encode() + b"="
DEAD = "ZX"


class Process:
    """One process: its state as a letter, group, session, and the tokens it began with."""

    __slots__ = ("group", "pid", "session", "state", "tokens")

    def __init__(self, pid: int, state: str, group: int, session: int, tokens: tuple[str, ...]) -> None:
        self.pid = pid
        self.state = state
        self.group = group
        self.session = session
        self.tokens = tokens

    def carries(self, target: str) -> bool:
        """Whether it has that token, or one that begins so where the target ends with a full stop."""
        if target.endswith("."):
            return any(token.startswith(target) for token in self.tokens)
        return target in self.tokens


def processes(proc: str = "/proc") -> list[Process]:
    """Everybody who lives on this host, as far as we may see them; we ourselves do not count."""
    found = []
    own = os.getpid()
    for name in os.listdir(proc):
        if name.isdigit() and int(name) != own:
            process = _process(proc, name)
            if process is not None:
                found.append(process)
    return found


def members(everybody: list[Process], target: str, groups: tuple[int, ...]) -> list[Process]:
    """
    Those who belong to the target. `groups` are process groups whose leaders have not been waited for, so that their numbers
    are theirs.
    """
    marked = [process for process in everybody if process.carries(target)]
    pids = {process.pid for process in marked}
    known = {*groups, *(process.group for process in marked if process.group == process.session)}
    return marked + [
        process
        for process in everybody
        if process.pid not in pids and (process.group in known or process.session in known)
    ]


def send(process: Process, number: int) -> bool:
    """Send a signal; False if it has ended meanwhile or is not ours to signal."""
    try:
        os.kill(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _process(proc: str, name: str) -> Process | None:
    try:
        with open(f"{proc}/{name}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None  # it has just ended
    state = fields[0].decode()
    if state in DEAD:
        return None
    try:
        with open(f"{proc}/{name}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        environment = b""  # somebody else's
    return Process(int(name), state, int(fields[2]), int(fields[3]), _tokens(environment))


def _tokens(environment: bytes) -> tuple[str, ...]:
    at = 0 if environment.startswith(_KEY) else environment.find(b"\0" + _KEY) + 1
    if at == 0 and not environment.startswith(_KEY):
        return ()
    value = environment[at + len(_KEY) :].partition(b"\0")[0]
    return tuple(value.decode("ascii", "replace").split(":"))
