"""Where things lie: the home directory, or the directories of the XDG convention."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from txdagu.config.definitions import HOME_FLAG
from txdagu.config.values import Surroundings, UnfitError, read_path
from txdagu.model.errors import InvalidInputError, Problem


@dataclass(frozen=True, slots=True)
class Places:
    """
    The base directories that Dagu 1.30.2 would choose.

    With a `home` everything lies in it. Without, configuration and DAGs lie in ``~/.config/dagu`` (XDG_CONFIG_HOME is not
    looked at) and the rest in ``$XDG_DATA_HOME/dagu``, by default ``~/.local/share/dagu``. `origin` says what chose the home.
    """

    config_dir: str
    share_dir: str
    home: str = ""
    origin: str = ""
    warning: str = ""

    def default_of(self, field: str, data_dir: str) -> str:
        """The default of a field of `PathSettings`, or of the coordinator's state directory."""
        below_data = {
            "dag_runs_dir": "dag-runs",
            "queue_dir": "queue",
            "proc_dir": "proc",
            "service_registry_dir": "service-registry",
            "state_dir": "coordinator",
        }
        if field in below_data:
            return posixpath.join(data_dir, below_data[field])
        return {
            "dags_dir": posixpath.join(self.config_dir, "dags"),
            "base_config": posixpath.join(self.config_dir, "base.yaml"),
            "data_dir": posixpath.join(self.share_dir, "data"),
            "log_dir": posixpath.join(self.share_dir, "logs"),
            "admin_logs_dir": posixpath.join(self.share_dir, "logs/admin"),
            "suspend_flags_dir": posixpath.join(self.share_dir, "suspend"),
        }.get(field, "")


def find_places(
    *,
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    home_dir: str,
    cwd: str,
    path_exists: Callable[[str], bool],
) -> Places:
    """
    Choose: ``--dagu-home``, else ``DAGU_HOME``, else ``~/.dagu`` if it exists, else XDG. `home_dir` is the user's own.

    Raises `InvalidInputError` if the directory that was given cannot be one.
    """
    surroundings = Surroundings(cwd, home_dir, environ)
    for origin, given in (
        (f"--{HOME_FLAG[0]}", flags.get(HOME_FLAG[0], "")),
        ("DAGU_HOME", environ.get("DAGU_HOME", "")),
    ):
        if given.strip():
            try:
                home = read_path(given.strip(), surroundings)
            except UnfitError as error:
                raise InvalidInputError([Problem(str(error), origin, error.advice)]) from None
            return Places(home, home, home, origin)
    old = posixpath.join(home_dir, ".dagu")
    if path_exists(old):
        warning = f"using {old} because it exists; this place is deprecated: set DAGU_HOME={old} to keep it"
        return Places(old, old, old, old, warning)
    share = environ.get("XDG_DATA_HOME", "")
    if not posixpath.isabs(share):  # "All paths … must be absolute", XDG Base Directory Specification
        share = posixpath.join(home_dir, ".local/share")
    return Places(posixpath.join(home_dir, ".config/dagu"), posixpath.join(share, "dagu"))
