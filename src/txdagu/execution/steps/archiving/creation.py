"""Creating an archive from a file or a directory tree."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from txdagu.execution.steps.archiving.formats import format_to_write
from txdagu.execution.steps.archiving.options import ArchiveError, ArchiveOptions
from txdagu.execution.steps.archiving.paths import takes_part
from txdagu.execution.steps.archiving.reading import verify
from txdagu.execution.steps.archiving.writing import check_level, created

Summary = dict[str, object]


def create(options: ArchiveOptions) -> Summary:
    """Put the source, with its own name as the first part of all paths (what is in it, for ``.``), into the destination."""
    source, destination = Path(options.source), Path(options.destination)
    form = format_to_write(options.destination, options.format)
    if options.password:
        raise ArchiveError("configuration error: password is only supported for extract/list operations")
    check_level(form, options.compression_level)
    chosen = [
        (path, name)
        for path, name in _tree(source, follow=options.follow_symlinks)
        if takes_part(name, options.include, options.exclude) and not _same(path, destination)
    ]
    if options.verbose:
        for _, name in chosen:
            print(name, file=sys.stderr)
    total = sum(path.stat().st_size if options.follow_symlinks else path.lstat().st_size for path, _ in chosen)
    if not options.dry_run:
        with created(destination, form, options.compression_level, follow=options.follow_symlinks) as add:
            for path, name in chosen:
                add(path, name)
        if options.verify_integrity:
            verify(options.destination, form)
    return {
        "filesAdded": len(chosen),
        "bytesArchived": total,
        "verifyPerformed": options.verify_integrity and not options.dry_run,
    }


def _same(path: Path, destination: Path) -> bool:
    """Whether a file of the tree is the archive itself."""
    return path.absolute() == destination.absolute()


def _tree(source: Path, *, follow: bool) -> Iterator[tuple[Path, str]]:
    """The source and all below it, in alphabetical order, with their names in the archive; sockets and the like are left out."""
    seen: set[tuple[int, int]] = set()

    def walk(path: Path, name: str) -> Iterator[tuple[Path, str]]:
        status = path.stat() if follow else path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            return
        if kind == stat.S_IFDIR:
            identity = (status.st_dev, status.st_ino)
            if identity in seen:  # a link to a directory above
                return
            seen.add(identity)
        if name:
            yield path, name
        if kind == stat.S_IFDIR:
            for entry in sorted(path.iterdir()):
                yield from walk(entry, f"{name}/{entry.name}" if name else entry.name)

    try:
        yield from walk(source, source.name if source.name != ".." else "")
    except FileNotFoundError as error:
        raise ArchiveError(f"source not found: {error.filename}: {error.strerror}") from error
