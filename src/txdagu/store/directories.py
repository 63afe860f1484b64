"""Where the runs of a data directory lie. Blocking; may be used by several threads at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from txdagu.model.run import RunRef
from txdagu.store.layout import birthday, parse_attempt_dir, parse_run_dir, run_prefix
from txdagu.system.files import names_in

_REMEMBERED_RUNS = 4096
_REMEMBERED_DAYS = 8
_SETTLED_NS = 2_000_000_000


def remove_tree(path: Path) -> None:
    """Remove the directory with everything in it."""
    import shutil

    shutil.rmtree(path)


def attempts_of(run_dir: Path) -> list[str]:
    """Names of a run's attempts, newest first; hidden and foreign names are left out."""
    return sorted((name for name in names_in(run_dir) if parse_attempt_dir(name)), reverse=True)


class RunDirectories:
    """
    Finds the directories of root runs.

    Ids are compared whole, and the newest directory wins; names that are not those of runs are read over. A day's listing is kept
    as long as the day's directory has not changed, so that looking up many runs of a day does not list it many times.
    """

    def __init__(self, root: Path, now: Callable[[], datetime]) -> None:
        self._root = root
        self._now = now
        self._lock = threading.Lock()
        self._found: OrderedDict[RunRef, Path] = OrderedDict()
        self._days: OrderedDict[Path, tuple[int, bool, dict[str, str]]] = OrderedDict()

    def of_dag(self, dag_name: str) -> Path:
        """The directory below which all runs of the DAG lie; it is also the one that is locked to make one."""
        return self._root / run_prefix(dag_name) / "dag-runs"

    def find(self, run: RunRef, locked: bool = False) -> Path | None:
        """
        The run's directory, None if there is none.

        With `locked`, the caller holds the lock of the DAG's runs: then nobody else adds a directory, and a listing that may
        be as old as the clock's tick is good enough, because a directory of the same second would have the very same name.
        """
        with self._lock:
            known = self._found.get(run)
        if known and known.is_dir():
            return known
        top = self.of_dag(run.name)
        since = birthday(run.id)
        for day in _days(top, since):
            name = self._names(top / day, run.id if not locked else "").get(run.id)
            if name:
                path = top / day / name
                self._remember(run, path)
                return path
        return None

    def latest(self, dag_name: str) -> Iterator[tuple[str, Path]]:
        """All runs of the DAG as (id, directory), newest first."""
        top = self.of_dag(dag_name)
        for day in _days(top, ""):
            directory = top / day
            for name in sorted(names_in(directory), reverse=True):
                run_id = parse_run_dir(name)
                if run_id:
                    yield run_id, directory / name

    def made(self, run: RunRef, path: Path) -> None:
        """Remember the directory that the caller has just made while holding the lock."""
        self._remember(run, path)
        day, name = path.parent, path.name
        with self._lock:
            known = self._days.get(day)
            if known:
                known[2][run.id] = name
                self._days[day] = (day.stat().st_mtime_ns, False, known[2])

    def forget(self, run: RunRef) -> None:
        """The run's directory is gone."""
        with self._lock:
            self._found.pop(run, None)

    def _remember(self, run: RunRef, path: Path) -> None:
        with self._lock:
            self._found[run] = path
            if len(self._found) > _REMEMBERED_RUNS:
                self._found.popitem(last=False)

    def _names(self, day: Path, wanted: str) -> dict[str, str]:
        try:
            changed = day.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        with self._lock:
            known = self._days.get(day)
            if known and known[0] == changed and (known[1] or not wanted or wanted in known[2]):
                self._days.move_to_end(day)
                return known[2]
        names: dict[str, str] = {}
        for name in names_in(day):
            run_id = parse_run_dir(name)
            if run_id and name > names.get(run_id, ""):
                names[run_id] = name
        # A change in the same tick of the clock as the last one would not move the time, so a young listing is not trusted.
        settled = self._now().timestamp() * 1e9 - changed > _SETTLED_NS
        with self._lock:
            self._days[day] = (changed, settled, names)
            self._days.move_to_end(day)
            if len(self._days) > _REMEMBERED_DAYS:
                self._days.popitem(last=False)
        return names


def _days(top: Path, since: str) -> Iterator[str]:
    """Day directories below `top`, newest first, none before `since`."""
    for year in _numbers(top, 4):
        if year < since[:4]:
            return
        for month in _numbers(top / year, 2):
            if f"{year}/{month}" < since[:7]:
                return
            for day in _numbers(top / year / month, 2):
                path = f"{year}/{month}/{day}"
                if path < since:
                    return
                yield path


def _numbers(path: Path, digits: int) -> list[str]:
    return sorted((name for name in names_in(path) if len(name) == digits and name.isdecimal()), reverse=True)
