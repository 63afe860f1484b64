"""
What a step and the program that does its work tell each other: two JSON files in a directory that only we can read.

Imported by such programs, which start for every step: nothing of Twisted comes in here.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_REQUEST, _RESULT = "request.json", "result.json"


def write_request(request: Mapping[str, Any]) -> str:
    """Put a request into a new directory; its path."""
    directory = tempfile.mkdtemp(prefix="dagu_step-")
    Path(directory, _REQUEST).write_text(json.dumps(request), encoding="utf-8")
    return directory


def read_request(directory: str) -> dict[str, Any]:
    """What the program is to do."""
    request: dict[str, Any] = json.loads(Path(directory, _REQUEST).read_text(encoding="utf-8"))
    return request


def write_result(directory: str, result: Mapping[str, Any]) -> None:
    """What the program has to tell; `error` is why it failed."""
    Path(directory, _RESULT).write_text(json.dumps(result), encoding="utf-8")


def read_result(directory: str) -> Mapping[str, Any]:
    """What the program told; nothing if it did not come to that."""
    try:
        result = json.loads(Path(directory, _RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}
