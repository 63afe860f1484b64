"""Which format an archive has: what was said, else the ending of its name, else its first bytes."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from txdagu.execution.steps.archiving.options import ArchiveError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Format(Enum):
    """What can be written and read; the values are the words of ``config.format``."""

    ZIP = "zip"
    TAR = "tar"
    TAR_GZ = "tar.gz"
    TAR_BZ2 = "tar.bz2"
    TAR_XZ = "tar.xz"
    TAR_ZST = "tar.zst"


LEVELS: Mapping[Format, range] = {
    Format.ZIP: range(10),
    Format.TAR_GZ: range(10),
    Format.TAR_BZ2: range(1, 10),
    Format.TAR_XZ: range(10),
    Format.TAR_ZST: range(1, 23),
}
"""The compression levels of each format; plain tar has none."""

_ALIASES = {
    "tgz": Format.TAR_GZ,
    "tbz2": Format.TAR_BZ2,
    "tbz": Format.TAR_BZ2,
    "txz": Format.TAR_XZ,
    "tzst": Format.TAR_ZST,
    **{item.value: item for item in Format},
}


def format_named(name: str) -> Format:
    """The format that ``config.format`` names."""
    try:
        return _ALIASES[name.lower().strip().lstrip(".")]
    except KeyError:
        known = ", ".join(item.value for item in Format)
        raise ArchiveError(f"format {name} cannot be read or written: use one of {known}") from None


def format_of_name(path: str) -> Format | None:
    """The format that the ending of a file's name tells."""
    name = Path(path).name.lower()
    return next(
        (_ALIASES[ending] for ending in sorted(_ALIASES, key=len, reverse=True) if name.endswith(f".{ending}")), None
    )


def format_to_write(path: str, said: str) -> Format:
    """The format of an archive that is to be made."""
    found = format_named(said) if said else format_of_name(path)
    if found is None:
        raise ArchiveError("format detection failed: could not infer format; specify config.format")
    return found


def format_to_read(path: str, said: str) -> Format:
    """The format of a file: also without an ending that tells it."""
    found = format_named(said) if said else format_of_name(path)
    if found is None:
        found = _format_inside(path)
    if found is None:
        raise ArchiveError("format detection failed: no formats matched; specify config.format")
    return found


def _format_inside(path: str) -> Format | None:
    if zipfile.is_zipfile(path):
        return Format.ZIP
    with Path(path).open("rb") as file:
        if file.read(4) == _ZSTD_MAGIC:
            return Format.TAR_ZST
    return Format.TAR if tarfile.is_tarfile(path) else None  # reading finds the compression by itself
