"""Settings of this process: its flags with the real environment, files and host name."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from txdagu.config.loading import load_settings
from txdagu.config.settings import Settings
from txdagu.model.errors import InvalidInputError, Problem, not_utf8


class GivesFlags(Protocol):
    """What `txdagu.tap.options.SettingsOptions` is to this module."""

    coordinator_follows_host: bool

    def flags(self) -> Mapping[str, str]:
        """Given settings by long option name."""


def read_settings(options: GivesFlags) -> Settings:
    """
    Merge the options with what surrounds this process. Raises `InvalidInputError` with every mistake at once.

    Reads at most two small files; meant for the time before the reactor runs.
    """
    return load_settings(
        flags=options.flags(),
        environ=os.environ,
        read_file=_read_file,
        home_dir=str(Path.home()),
        hostname=socket.gethostname(),
        pid=os.getpid(),
        cwd=str(Path.cwd()),
        path_exists=lambda path: Path(path).exists(),
        coordinator_follows_host=options.coordinator_follows_host,
    )


def _read_file(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError([Problem(f"cannot be read: {error.strerror}", path)]) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError([not_utf8(error, path)]) from error
