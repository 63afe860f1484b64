"""What an archive step asks for."""

from __future__ import annotations

from dataclasses import dataclass


class ArchiveError(Exception):
    """What cannot be done with an archive, as a sentence."""


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """The config of the step, evaluated; relative paths are those of the program's working directory."""

    operation: str
    source: str = ""
    destination: str = ""
    format: str = ""
    compression_level: int = -1
    password: str = ""
    overwrite: bool = False
    preserve_paths: bool = True
    strip_components: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    dry_run: bool = False
    verbose: bool = False
    follow_symlinks: bool = False
    verify_integrity: bool = False
    continue_on_error: bool = False
