"""Conch tells every step of its work, and whole packets, to the log of Twisted; what matters is in the step's error."""

from __future__ import annotations

from twisted.logger import ILogObserver, Logger
from zope.interface import provider


@provider(ILogObserver)
def _ignore(event: object) -> None:
    """Nobody wants to know."""


SILENT = Logger(namespace="txdagu.ssh", observer=_ignore)
