"""The simple expansion that takes over where a shell's refuses a text: ``$NAME`` and ``${NAME}``, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

# What is between braces is a name, whatever it is; braces that hold nothing or are not closed fall out.
_REFERENCE = re.compile(r"\$(?:\{(?P<braced>[^}]+)\}|(?P<empty>\{\}?)|(?P<plain>[*#$@!?\d-]|[A-Za-z_]\w*))", re.ASCII)


def expand_simply(text: str, lookup: Callable[[str], str | None]) -> str:
    """All references replaced; unknown names are empty, a ``$`` in front of anything else stays."""
    return _REFERENCE.sub(lambda match: lookup(match["braced"] or match["plain"] or "") or "", text)
