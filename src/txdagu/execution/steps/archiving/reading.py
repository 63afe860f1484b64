"""Reading archives member by member."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

from txdagu.execution.steps.archiving.formats import Format
from txdagu.execution.steps.archiving.members import Kind, Member
from txdagu.execution.steps.archiving.options import ArchiveError

CHUNK = 1024 * 1024
_TOO_OLD = (1980, 1, 1, 0, 0, 0)


@contextmanager
def opened(path: str, form: Format, password: str = "") -> Iterator[Iterator[Member]]:
    """The members of an archive, in its order; each can be read until the next is asked for."""
    try:
        if form is Format.ZIP:
            with zipfile.ZipFile(path) as archive:
                if password:
                    archive.setpassword(password.encode())
                yield _zip_members(archive)
        elif form is Format.TAR_ZST:
            with zstandard().open(path, "rb") as plain, tarfile.open(fileobj=plain, mode="r|") as stream:
                yield _tar_members(stream)
        else:
            with tarfile.open(path, "r:*") as tar:
                yield _tar_members(tar)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise ArchiveError(f"corrupted archive: {error}") from error
    except (RuntimeError, NotImplementedError) as error:  # how zipfile tells of passwords and of foreign methods
        raise ArchiveError(f"{path}: {error}") from error


def zstandard() -> Any:
    """The package that reads and writes zstd."""
    try:
        import zstandard as package
    except ImportError:
        raise ArchiveError(
            "tar.zst needs the package zstandard, which is not installed: pip install 'txdagu[archive]'"
        ) from None
    return package


def verify(path: str, form: Format, password: str = "") -> None:
    """Read everything; raises `ArchiveError` if that cannot be done."""
    with opened(path, form, password) as members:
        for member in members:
            if member.open is not None:
                with member.open() as content:
                    while content.read(CHUNK):
                        pass


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        moment = datetime(*max(info.date_time, _TOO_OLD), tzinfo=UTC)
        name = info.filename.rstrip("/")
        if info.is_dir():
            yield Member(name, Kind.DIRECTORY, 0, stat.S_IMODE(mode) or 0o755, moment)
        elif stat.S_ISLNK(mode):
            target = archive.read(info).decode("utf-8", "surrogateescape")
            yield Member(name, Kind.LINK, info.file_size, stat.S_IMODE(mode), moment, target)
        else:
            content = partial(archive.open, info)
            yield Member(name, Kind.FILE, info.file_size, stat.S_IMODE(mode) or 0o644, moment, open=content)


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        moment = datetime.fromtimestamp(info.mtime, UTC)
        name = info.name.rstrip("/")
        if info.isdir():
            yield Member(name, Kind.DIRECTORY, 0, info.mode, moment)
        elif info.issym():
            yield Member(name, Kind.LINK, 0, info.mode, moment, info.linkname)
        elif info.isreg() or info.islnk():
            yield Member(name, Kind.FILE, info.size, info.mode, moment, open=partial(_content, archive, info))
        else:
            yield Member(name, Kind.OTHER, 0, info.mode, moment)


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    try:
        content = archive.extractfile(info)
    except (KeyError, tarfile.StreamError) as error:
        raise ArchiveError(
            f'corrupted archive: "{info.name}" is a link to a file that cannot be read: {error}'
        ) from error
    if content is None:
        raise ArchiveError(f'corrupted archive: "{info.name}" has no content')
    return content
