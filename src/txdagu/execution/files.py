"""Files of a step: scripts, directories, and what it printed. Everything here blocks and is called in threads."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from txdagu.model.errors import DaguError

STDERR_TAIL = 1024
SCRIPT_MODE = 0o750
LEAST_ROOM = 64 * 1024


class StepFileError(DaguError):
    """A directory or file that a step needs cannot be made or read."""


class OutputTooLargeError(DaguError):
    """A step printed more than may be captured."""


def make_directory(path: str, mode: int = 0o755) -> None:
    """Make a working directory with its parents, unless it is there."""
    try:
        Path(path).mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise StepFileError(f"cannot create the working directory {path}: {error.strerror}") from error


def first_directory(candidates: tuple[str, ...]) -> str:
    """The first of the paths that is a directory; empty if none is."""
    return next((path for path in candidates if path and Path(path).is_dir()), "")


def write_script(directory: str, suffix: str, text: str) -> str:
    """Write a script that its owner can execute; its path. Nothing is left behind when that fails."""
    try:
        descriptor, path = tempfile.mkstemp(suffix, "dagu_script-", directory)
    except OSError as error:
        raise StepFileError(f"cannot write a script file in {directory}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), SCRIPT_MODE)
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise StepFileError(f"cannot write the script file {path}: {error.strerror}") from error
    return path


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    Path(path).unlink(missing_ok=True)


def size(path: str) -> int:
    """Bytes in a file; 0 if there is none."""
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0


def read_output(path: str, offset: int, limit: int) -> str:
    """
    What was written from `offset` on, without blanks around it.

    `OutputTooLargeError` if that is more than `limit` bytes.
    """
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            data = file.read(limit + 1)
    except OSError as error:
        raise StepFileError(f"failed to capture output: {path}: {error.strerror}") from error
    return output_text(data, limit)


def output_text(data: bytes, limit: int) -> str:
    """Captured bytes as the text that a variable gets: without blanks around it. `OutputTooLargeError` above the limit."""
    if len(data) > limit:
        raise OutputTooLargeError(f"failed to capture output: output exceeded maximum size limit of {limit} bytes")
    return data.decode("utf-8", "replace").strip()


def read_tail(path: str, offset: int) -> str:
    """The last KiB written from `offset` on; empty if the file cannot be read."""
    try:
        with Path(path).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset, end - STDERR_TAIL))
            return file.read(STDERR_TAIL).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def no_room(path: str) -> str:
    """A sentence if the disk of that file is full; empty if there is room, or nothing can be said."""
    try:
        disk = os.statvfs(Path(path).parent)
    except OSError:
        return ""
    full = disk.f_blocks > 0 and disk.f_bavail * disk.f_frsize < LEAST_ROOM
    return f"no space is left on the disk of its logs, {Path(path).parent}" if full else ""


def absolute_directory(written: str, base: str, fallbacks: tuple[str, ...]) -> str:
    """
    A working directory: as written, relative to `base`; where nothing is written the first fallback that is, else ours.

    A `..` takes the name before it away, without a look at the disk.
    """
    if written:
        return os.path.abspath(Path(base or ".", written))  # noqa: PTH100 - Path.absolute leaves `..` within a path
    return os.path.abspath(next((path for path in fallbacks if path), "."))  # noqa: PTH100
