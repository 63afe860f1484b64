"""Extracting an archive; nothing is ever put outside of the destination."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from txdagu.execution.steps.archiving.formats import format_to_read
from txdagu.execution.steps.archiving.members import Kind, Member
from txdagu.execution.steps.archiving.options import ArchiveError, ArchiveOptions
from txdagu.execution.steps.archiving.paths import check_inside, check_link, check_parent, inner_target, takes_part
from txdagu.execution.steps.archiving.reading import CHUNK, opened, verify

Summary = dict[str, object]


def extract(options: ArchiveOptions) -> Summary:
    """Put the members into the destination, or only say what would be."""
    form = format_to_read(options.source, options.format)
    if options.verify_integrity:
        verify(options.source, form, options.password)
    extraction = _Extraction(options, Path(options.destination or "."))
    with opened(options.source, form, options.password) as members:
        for member in members:
            extraction.take(member)
    extraction.finish()
    summary: Summary = {
        "filesExtracted": extraction.files,
        "bytesExtracted": extraction.size,
        "filesSkipped": extraction.skipped,
        "verifyPerformed": options.verify_integrity,
    }
    if extraction.errors:
        summary["errors"] = extraction.errors
    return summary


@dataclass
class _Extraction:
    """What has been done so far."""

    options: ArchiveOptions
    destination: Path
    files: int = 0
    size: int = 0
    skipped: int = 0
    errors: list[str] = field(default_factory=list)
    modes: list[tuple[Path, int]] = field(default_factory=list)

    def take(self, member: Member) -> None:
        options = self.options
        name = inner_target(member.name, options.strip_components, preserve=options.preserve_paths)
        if not name:
            if member.kind is not Kind.DIRECTORY:
                print(f"archive: {member.name} is skipped: nothing of its path is left", file=sys.stderr)
                self.skipped += 1
            return
        if not takes_part(name, options.include, options.exclude):
            self.skipped += 1
            return
        try:
            self._put(member, name)
        except (ArchiveError, OSError) as error:
            text = str(error) if isinstance(error, ArchiveError) else f"{error.filename or name}: {error.strerror}"
            if not options.continue_on_error:
                raise ArchiveError(f"extraction failed: {member.name}: {text}") from error
            self.errors.append(f"archive: {text}")
            print(f"archive: going on after an error: {text}", file=sys.stderr)

    def _put(self, member: Member, name: str) -> None:
        check_inside(name)
        if member.kind is Kind.OTHER:
            raise ArchiveError(f'"{member.name}" is neither file, directory nor symlink')
        if member.kind is Kind.LINK:
            check_link(name, member.target)
        path = self.destination / name
        if self.options.verbose:
            print(name, file=sys.stderr)
        if not self.options.dry_run:
            self._write(member, path)
        if member.kind is not Kind.DIRECTORY:
            self.files += 1
            self.size += member.size

    def _write(self, member: Member, path: Path) -> None:
        check_parent(path, self.destination)
        if member.kind is Kind.DIRECTORY:
            path.mkdir(parents=True, exist_ok=True)
            self.modes.append((path, member.mode & 0o777))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            if not self.options.overwrite:
                raise ArchiveError(f'destination error: destination "{path}" exists (overwrite disabled)')
            path.unlink()  # never through a link that stands there
        if member.kind is Kind.LINK:
            path.symlink_to(member.target)
            return
        assert member.open is not None
        with member.open() as content, path.open("xb") as file:
            shutil.copyfileobj(content, file, CHUNK)
        path.chmod(member.mode & 0o777)
        moment = member.modified.timestamp()
        os.utime(path, (moment, moment))

    def finish(self) -> None:
        """Directories get their modes at the end: one that may not be written to could not be filled."""
        if not self.options.dry_run:
            self.destination.mkdir(parents=True, exist_ok=True)
        for path, mode in reversed(self.modes):
            path.chmod(mode)
