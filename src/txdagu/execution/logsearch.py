"""Looks for lines in log files of any size, with bounded memory. Blocks, and is called in threads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from txdagu.model.errors import DaguError

PIECE = 64 * 1024
_PATTERN = "re:"


def log_has(path: str, texts: Sequence[str]) -> bool:
    """
    Whether a line of the file contains one of the texts, or a match of what follows its ``re:``.

    Lines are looked at in pieces of at most 64 KiB: a text is found wherever it stands, a regular expression only within a
    piece. Raises `DaguError` for what is no regular expression. A file that cannot be read contains nothing.
    """
    plain = [text.encode() for text in texts if not text.startswith(_PATTERN)]
    patterns = [_compiled(text[len(_PATTERN) :]) for text in texts if text.startswith(_PATTERN)]
    overlap = max(map(len, plain), default=1) - 1
    before = b""
    try:
        with Path(path).open("rb") as file:
            while piece := file.readline(PIECE):
                line = before + piece
                if any(text in line for text in plain):
                    return True
                if patterns and any(pattern.search(_text(piece)) for pattern in patterns):
                    return True
                before = line[len(line) - overlap :] if overlap and not piece.endswith(b"\n") else b""
    except OSError:
        return False
    return False


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "replace").rstrip("\r\n")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DaguError(f"continueOn.output: {pattern!r} is no regular expression: {error}") from error
