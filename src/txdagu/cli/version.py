"""``dagu version``."""

from __future__ import annotations

import sys

from txdagu import __version__

COMPATIBLE_WITH = "1.30.2"


def version(arguments: list[str]) -> int:
    """Print our version and that of Dagu whose protocol, files and commands these are; on standard output."""
    if arguments and arguments[0] not in ("-h", "--help"):
        sys.stderr.write(f'Error: version takes no arguments, and "{arguments[0]}" is one\n')
        return 1
    if arguments:
        sys.stdout.write("Usage: dagu version\n\nPrint the version.\n")
    else:
        sys.stdout.write(f"txdagu {__version__} (compatible with Dagu {COMPATIBLE_WITH})\n")
    return 0
