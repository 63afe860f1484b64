"""Writing archives member by member."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from txdagu.execution.steps.archiving.formats import LEVELS, Format
from txdagu.execution.steps.archiving.options import ArchiveError
from txdagu.execution.steps.archiving.reading import CHUNK, zstandard

Add = Callable[[Path, str], None]
"""Puts a file, directory or symbolic link into the archive under a name."""

_TAR_MODES = {Format.TAR: "w", Format.TAR_GZ: "w:gz", Format.TAR_BZ2: "w:bz2", Format.TAR_XZ: "w:xz"}
_OLDEST = datetime(1980, 1, 1, tzinfo=UTC)


def check_level(form: Format, level: int) -> None:
    """Raise `ArchiveError` for a compression level that the format does not know; -1 is its own choice."""
    levels = LEVELS.get(form)
    if levels is not None and level != -1 and level not in levels:
        raise ArchiveError(f"invalid compression level: {level} ({form.value} has {levels[0]} to {levels[-1]}, or -1)")


@contextmanager
def created(path: Path, form: Format, level: int, *, follow: bool) -> Iterator[Add]:
    """A new archive, which appears under its name when it is complete; until then, and if it fails, nothing is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _writer(unfinished, form, level, follow=follow) as add:
            yield add
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _writer(path: Path, form: Format, level: int, *, follow: bool) -> Iterator[Add]:
    if form is Format.ZIP:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=None if level < 0 else level) as archive:
            yield lambda source, name: _add_to_zip(archive, source, name, follow=follow)
        return
    if form is Format.TAR_ZST:
        package: Any = zstandard()
        compressor = package.ZstdCompressor(level=3 if level < 0 else level)
        with (
            package.open(str(path), "wb", cctx=compressor) as plain,
            tarfile.open(fileobj=plain, mode="w|", dereference=follow) as stream,
        ):
            yield lambda source, name: stream.add(source, name, recursive=False)
        return
    options: dict[str, Any] = {}
    if level >= 0 and form is not Format.TAR:
        options["preset" if form is Format.TAR_XZ else "compresslevel"] = level
    with tarfile.open(path, _TAR_MODES[form], dereference=follow, **options) as tar:  # type: ignore[call-overload]
        yield lambda source, name: tar.add(source, name, recursive=False)


def _add_to_zip(archive: zipfile.ZipFile, source: Path, name: str, *, follow: bool) -> None:
    status = source.stat() if follow else source.lstat()
    moment = max(datetime.fromtimestamp(status.st_mtime, UTC), _OLDEST)
    directory = stat.S_ISDIR(status.st_mode)
    info = zipfile.ZipInfo(name + ("/" if directory else ""), moment.timetuple()[:6])
    info.external_attr = (status.st_mode & 0xFFFF) << 16 | (0x10 if directory else 0)
    if directory:
        archive.writestr(info, b"")
    elif stat.S_ISLNK(status.st_mode):
        archive.writestr(info, os.fsencode(source.readlink()))
    elif stat.S_ISREG(status.st_mode):
        info.compress_type = archive.compression
        info.file_size = status.st_size
        with source.open("rb") as content, archive.open(info, "w") as entry:
            shutil.copyfileobj(content, entry, CHUNK)
