"""Lines of a run's own log: ``time=… level=INFO msg="…" step=…``."""

from __future__ import annotations

import json
import re
from datetime import datetime

_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")


def log_line(now: datetime, level: str, message: str, **fields: object) -> str:
    """One line; underscores in the names of fields become dashes, empty fields are left out."""
    parts = [f"time={now.isoformat(timespec='milliseconds')}", f"level={level}", f"msg={_quoted(message)}"]
    parts += [
        f"{name.replace('_', '-')}={_value(str(value))}" for name, value in fields.items() if value not in ("", None)
    ]
    return " ".join(parts)


def _value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
