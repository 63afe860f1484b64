"""Settings as messages write them: the key, what it is now, and who said so."""

from __future__ import annotations

from typing import Any

from txdagu.config.definitions import BY_KEY
from txdagu.config.settings import Settings


def value_of(settings: Settings, key: str) -> Any:
    """What the setting with that dotted key is now."""
    section, name = BY_KEY[key].place
    return getattr(getattr(settings, section) if section else settings, name)


def present(settings: Settings, key: str) -> str:
    """``peer.insecure is false from DAGU_PEER_INSECURE``; ``is true by default``; ``is not set``."""
    value = value_of(settings, key)
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    origin = settings.origins.get(key)
    if origin:
        return f"{key} is {shown} from {origin}"
    return f"{key} is {shown} by default" if shown else f"{key} is not set"
