"""The journal of a coordinator, looked at from outside without changing anything. Blocking."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from txdagu.journal import dialect
from txdagu.journal.database import JournalDatabase
from txdagu.journal.durable import Place
from txdagu.journal.place import holder, network_file_system
from txdagu.model.findings import Finding, failure, ok, warning

_OTHER_DIRECTORY = "see coordinator.stateDir; a coordinator makes the journal when it starts"


def inspect(place: Place) -> Iterator[Finding]:
    """What is to be said of the place, the file and its records."""
    directory = place.directory
    kind = network_file_system(str(directory.resolve()), place.mounts())
    if kind:
        yield warning(
            "place", f"{directory} is on a network file system ({kind})", "put it on a local disk: coordinator.stateDir"
        )
    else:
        yield ok("place", f"{directory} is on this host")
    if not place.file.exists():
        yield failure("file", f"there is no {place.file.name}", _OTHER_DIRECTORY)
        return
    name = holder(directory)
    yield ok("holder", f"{name} says to hold it" if name else "no coordinator holds it")
    try:
        with closing(dialect.open_to_read(place.file)) as connection:
            wrong = dialect.faults(connection)
            if wrong:
                yield _damaged(place, wrong)
                return
            size = sum(file.stat().st_size for file in dialect.files_of(place.file))
            yield ok("file", f"{place.file.name} is sound, {size / 1e6:.1f} MB", bytes=size)
            yield from _records(JournalDatabase(connection))
    except sqlite3.Error as error:
        yield _damaged(place, str(error))


def _damaged(place: Place, why: str) -> Finding:
    advice = (
        "put back a sound copy, or have it set aside at the next start with coordinator.onDamagedJournal: set-aside"
    )
    return failure("file", f"{place.file} cannot be read: {why}", advice)


def _records(database: JournalDatabase) -> Iterator[Finding]:
    counts = database.counts()
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    yield ok("tasks", said or "none", **counts)
    aside = database.set_aside()
    for one in aside:
        yield warning(
            "damaged record",
            f"record {one.number} was set aside: {one.reason}",
            f"its content is in the table set_aside; start the run again if it still matters (number {one.number})",
        )
    if not aside:
        yield ok("damaged records", "none was ever set aside")


def history(place: Place, run_id: str) -> Iterator[Finding]:
    """Everything that happened to the tasks of a run, oldest first; times are UTC."""
    try:
        with closing(dialect.open_to_read(place.file)) as connection:
            database = JournalDatabase(connection)
            roots = database.roots_of(run_id)
            for root in roots:
                for line in database.timeline(root, run_id, 0.0):
                    at = datetime.fromtimestamp(line.at, UTC)
                    epoch = f" (epoch {line.epoch})" if line.epoch else ""
                    yield ok(
                        f"{at:%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}", f"{line.state.value}{epoch}: {line.reason}"
                    )
            if not roots:
                yield failure(
                    "run", f"no task of run {run_id} is in {place.file}", "ended tasks are kept for seven days"
                )
    except sqlite3.Error as error:
        yield failure("file", f"{place.file} cannot be read: {error}", _OTHER_DIRECTORY)
