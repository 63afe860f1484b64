"""What is in an archive."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import IO


class Kind(Enum):
    """The kinds of entries that are kept; the values are their letters in a mode's text."""

    FILE = "-"
    DIRECTORY = "d"
    LINK = "L"
    OTHER = "?"


@dataclass(frozen=True, slots=True)
class Member:
    """
    One entry. `name` has no slash at its end; `mode` holds the permission bits; `modified` is in UTC.

    `size` is that of the content, in bytes. `target` is what a symbolic link points to; `open` gives the content of a file.
    """

    name: str
    kind: Kind
    size: int
    mode: int
    modified: datetime
    target: str = ""
    open: Callable[[], IO[bytes]] | None = None

    @property
    def mode_text(self) -> str:
        """Kind and permissions, such as ``-rw-r--r--``."""
        return self.kind.value + stat.filemode(self.mode)[1:]
