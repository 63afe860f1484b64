"""Standard output and standard error, whoever reads them, and whether anybody still does."""

from __future__ import annotations

import os
import sys
from errno import EDQUOT, EIO, ENOSPC, EPIPE
from io import TextIOWrapper
from pathlib import Path
from typing import IO

# Control characters but tabs and line breaks; those of ASCII have pictures.
_PICTURES = {
    code: chr(0x2421 if code == 0x7F else 0x2400 + code) if code < 0x80 else "\ufffd"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if chr(code) not in "\t\n"
}


def visible(text: str) -> str:
    """What a step printed or was called, so that no terminal acts on it: control characters become their pictures."""
    return text.translate(_PICTURES)


def prepare_streams() -> None:
    """
    Make both streams fit for any caller.

    A stream that was closed before we came leads to ``/dev/null``. A character that the
    locale cannot write becomes a question mark.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for as long as we live
        elif isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def write_or_drop(stream: IO[str], text: str) -> None:
    """Write at once. Once nobody reads any more (``dagu start … | head``), this and all that follows is dropped in silence."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        drop(stream)


def give_up(error: OSError) -> int:
    """
    The exit code after an error while writing output; raises the error again if it is about something else.

    That the reader has gone is not worth a word; that the disk is full is.
    """
    if error.filename is not None or error.errno not in (EPIPE, EIO, ENOSPC, EDQUOT):
        raise error
    drop(sys.stdout)
    if error.errno in (ENOSPC, EDQUOT):
        write_or_drop(sys.stderr, f"Error: cannot write to standard output: {error.strerror}\n")
    drop(sys.stderr)
    return 1


def drop(stream: IO[str]) -> None:
    """From now on what is written leads nowhere, and what is still buffered too; so Python has nothing to complain about."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def harmless(text: str) -> str:
    """What strangers wrote may not steer the terminal: control characters are shown as what they are."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
