"""Which file a DAG argument means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from txdagu.dagfile import BaseConfiguration, load_dag
from txdagu.model.dag import Dag
from txdagu.model.errors import InvalidInputError, NotFoundError, Problem, not_utf8

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class DagSource:
    """A DAG file that was found: its absolute path and its text."""

    path: str
    text: str


def candidates(argument: str, cwd: str, dags_dir: str) -> list[str]:
    """
    Where a DAG may be, the likeliest place first, as absolute paths.

    A path is taken as it is, from the current directory; a name is looked up there, then in the directory of DAGs. Both may leave
    out ``.yaml`` or ``.yml``.
    """
    given = Path(argument).expanduser()
    names = [given] if given.suffix in SUFFIXES else [given, *(given.with_name(given.name + end) for end in SUFFIXES)]
    bases = [Path(cwd)] if given.is_absolute() else [Path(cwd), Path(dags_dir)]
    return list(dict.fromkeys(str(base / name) for base in bases for name in names))


def find_dag(argument: str, cwd: str, dags_dir: str) -> DagSource:
    """Read the file that the argument means. Raises `NotFoundError` with every place tried, `InvalidInputError` if unreadable."""
    if not argument.strip() or not Path(argument).name:
        raise InvalidInputError([Problem(f'"{argument}" names no DAG file')])
    places = candidates(argument, cwd, dags_dir)
    for place in places:
        path = Path(place)
        if path.is_dir():
            continue
        try:
            return DagSource(place, path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidInputError([Problem(f"cannot be read: {error.strerror}", place)]) from error
        except UnicodeDecodeError as error:
            raise InvalidInputError([not_utf8(error, place)]) from error
    passed_over = "; the first is a directory" if Path(places[0]).is_dir() else ""
    raise NotFoundError(f'there is no DAG file "{argument}" (looked for {", ".join(places)}{passed_over})')


def read_base(path: str) -> BaseConfiguration | None:
    """The base configuration in a file, None if there is no such file. Raises `InvalidInputError` if it is unreadable."""
    try:
        return BaseConfiguration(Path(path).read_text("utf-8"), path) if path else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInputError([Problem(f"cannot be read: {error.strerror}", path)]) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError([not_utf8(error, path)]) from error


def load_child(name: str, directory: str, dags_dir: str, base_config: str = "") -> Dag:
    """
    The DAG that a step calls by name: in the directory of the calling DAG's file, or else in the directory of DAGs.

    It inherits from the file `base_config`, but for its handlers. Raises `NotFoundError` with the places that were looked into,
    `InvalidInputError` for a file that is no DAG.
    """
    source = find_dag(name, directory or dags_dir, dags_dir)
    return load_dag(source.text, source.path, location=source.path, base=read_base(base_config), called=True)
