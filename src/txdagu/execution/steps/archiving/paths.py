"""Which members take part, and where one may be put."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from txdagu.execution.steps.archiving.options import ArchiveError

_PIECE = re.compile(r"/\*\*$|\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|\{[^{}]*\}|.", re.DOTALL)


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(_translated(glob), re.DOTALL)


def _translated(glob: str) -> str:
    pieces = []
    for match in _PIECE.finditer(glob):
        piece = match[0]
        if piece == "/**":
            pieces.append("(?:/.*)?")
        elif piece == "**/":
            pieces.append("(?:.*/)?")
        elif piece == "**":
            pieces.append(".*")
        elif piece == "*":
            pieces.append("[^/]*")
        elif piece == "?":
            pieces.append("[^/]")
        elif piece.startswith("[") and len(piece) > 1:
            inside = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            pieces.append(f"[^{inside[1:]}]" if inside[:1] in ("!", "^") else f"[{inside}]")
        elif piece.startswith("{") and len(piece) > 1:
            pieces.append(f"(?:{'|'.join(map(_translated, piece[1:-1].split(',')))})")
        else:
            pieces.append(re.escape(piece))
    return "".join(pieces)


def matches(name: str, glob: str) -> bool:
    """Whether a glob describes the whole inner path; ``**`` stands for any directories, also none."""
    try:
        return _pattern(glob).fullmatch(name) is not None
    except re.error as error:
        raise ArchiveError(f"{glob!r} is not a pattern: {error}") from error


def takes_part(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether some pattern includes the path, if there are any, and none excludes it."""
    if include and not any(matches(name, glob) for glob in include):
        return False
    return not any(matches(name, glob) for glob in exclude)


def inner_target(name: str, strip: int, *, preserve: bool) -> str:
    """Where below the destination a member goes; empty if nothing of its path is left. Slashes at its front do not count."""
    parts = [part for part in name.split("/") if part not in ("", ".")][strip:]
    return "/".join(parts if preserve else parts[-1:])


def check_inside(name: str) -> None:
    """Raise `ArchiveError` for a path that leads out of the destination."""
    if ".." in PurePosixPath(name).parts:
        raise ArchiveError(f'corrupted archive: target "{name}" escapes destination')


def check_link(name: str, target: str) -> None:
    """Raise `ArchiveError` for a symbolic link that leads out of the destination."""
    if target.startswith("/"):
        raise ArchiveError(f'corrupted archive: symlink target "{target}" is absolute')
    resolved = os.path.normpath(str(PurePosixPath(name).parent / target))
    if resolved == ".." or resolved.startswith("../"):
        raise ArchiveError(f'corrupted archive: symlink target "{target}" escapes destination')


def check_parent(path: Path, destination: Path) -> None:
    """Raise `ArchiveError` if symbolic links on the way, from this archive or from before, lead out of the destination."""
    if not path.parent.resolve().is_relative_to(destination.resolve()):
        raise ArchiveError(f'corrupted archive: "{path}" lies behind a symlink that escapes destination')
