"""
How many files may be open: as many as the system allows this process, while programs that it starts keep the usual limit.

A thousand programs at once are a thousand descriptors, and many systems begin with a soft limit of 1024 for the sake of programs
that use ``select``. Our reactor does not, so the limit is raised here, and put back in what we start.
"""

from __future__ import annotations

import resource
from functools import cache


@cache
def raise_open_files() -> int:
    """Raise this process's soft limit of open files to the hard one; what it was before. Later calls do nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def usual_open_files(pid: int, soft: int) -> None:
    """Give a program that was just started the soft limit that it would have had. One that runs as somebody else keeps ours."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    except (PermissionError, ProcessLookupError):
        return
