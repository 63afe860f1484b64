"""Stage 4 of evaluation: text in backticks is run as a command and gives way to what it prints."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

RunBackticks = Callable[[str], Awaitable[str]]
"""Runs a command with the default shell; its trimmed standard output. Raises `DaguError` when it fails."""

_COMMAND = re.compile(r"(?<!\\)`((?:[^`\\]|\\.)*)`", re.DOTALL)


async def replace_backticks(text: str, run: RunBackticks) -> str:
    """Replace each pair of backticks from left to right; what a command prints is not looked at again."""
    if text.count("`") < 2:
        return text
    pieces: list[str] = []
    position = 0
    for match in _COMMAND.finditer(text):
        pieces += (text[position : match.start()], await run(match[1]) if match[1].strip() else "")
        position = match.end()
    return "".join((*pieces, text[position:]))
