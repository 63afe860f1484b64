"""Settings for commands that run once and end."""

from __future__ import annotations

import sys

from txdagu.config.settings import Settings
from txdagu.tap.settings import GivesFlags, read_settings


def settings_from(options: GivesFlags) -> Settings:
    """Merge options, environment and files; warnings go to standard error. Raises `InvalidInputError`."""
    settings = read_settings(options)
    for warning in settings.warnings:
        sys.stderr.write(f"Warning: {warning}\n")
    return settings
