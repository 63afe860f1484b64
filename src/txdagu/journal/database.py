"""The tables of the journal: written a group of entries at a time, read back after a restart. Everything here blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from txdagu.dispatch.history import KEPT_SECONDS, KEPT_TASKS
from txdagu.dispatch.journal import Kept
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Entry, StandingEntry, Transition
from txdagu.journal import dialect
from txdagu.journal.rows import (
    COLUMNS,
    STANDING_COLUMNS,
    TRANSITION_COLUMNS,
    DamagedRowError,
    Row,
    changes,
    moment,
    readable,
    standing_row,
    to_entry,
    to_row,
    to_standing,
    transition_row,
)
from txdagu.journal.schema import MIGRATIONS, VERSION_TABLE
from txdagu.model.errors import ConflictError, UnavailableError
from txdagu.model.run import RunRef

ENDED_TASKS = 20_000
ENDED_SECONDS = 7 * 24 * 3600.0
TRANSITIONS_OF_A_TASK = 1_000
# So many rows go with one statement: between statements this thread may have to wait for the reactor's.
_ROWS_AT_ONCE = 128
_TRIM_EVERY = 100


@dataclass(frozen=True, slots=True)
class Retention:
    """How many ended tasks are kept, and for how many seconds; and how many transitions of one task."""

    tasks: int = ENDED_TASKS
    seconds: float = ENDED_SECONDS
    transitions: int = TRANSITIONS_OF_A_TASK


RETENTION = Retention()


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that could not be read. It is kept, apart from the others, with all that was found in it."""

    number: int
    reason: str


class JournalDatabase:
    """
    One open database. `retention` bounds what is kept of tasks that have ended.

    `offset` is always what must be added to the core's seconds to have Unix time. Raises `sqlite3.Error` where a method says
    nothing else.
    """

    def __init__(self, connection: sqlite3.Connection, retention: Retention = RETENTION) -> None:
        self._connection = connection
        self._retention = retention

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def migrate(self) -> None:
        """
        Bring the tables to the newest version, each step whole or not at all.

        Raises `UnavailableError` if a newer program wrote them.
        """
        execute = self._connection.execute
        with self._transaction():
            execute(statement(VERSION_TABLE))
            version = execute("SELECT COALESCE(MAX(version), 0) FROM schema_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise UnavailableError(
                f"the journal was written by a newer version of this program (tables of version {version}, known here: "
                f"{len(MIGRATIONS)}); run that version, or choose another directory with coordinator.stateDir"
            )
        for number, step in enumerate(MIGRATIONS[version:], version + 1):
            with self._transaction():
                for text in step:
                    execute(statement(text))
                execute("INSERT INTO schema_version (version) VALUES (?)", (number,))

    # -- writing -------------------------------------------------------------------------------------------------------

    def apply(self, entries: Sequence[Entry], offset: float, standings: Sequence[StandingEntry] = ()) -> int:
        """
        Keep these entries, in their order, all or none; when it returns the disk has them. Returns how many tasks ended.

        Raises `ConflictError` if a task is not in the state and epoch in which its first entry found it: somebody else has
        written here.
        """
        first: dict[int, Entry] = {}
        newest: dict[int, Entry] = {}
        for entry in entries:
            first.setdefault(entry.number, entry)
            newest[entry.number] = entry
        added = [to_row(newest[number], offset) for number in first if first[number].before is State.NEW]
        changed = [
            (number, entry.before_epoch, entry.before.value, *changes(newest[number], offset))
            for number, entry in first.items()
            if entry.before is not State.NEW
        ]
        lines = [transition_row(entry, offset) for entry in entries]
        with self._transaction():
            self._write(insert, ("tasks", COLUMNS), added)
            if self._write(compare_and_swap, (), changed) != len(changed):
                raise ConflictError(
                    "somebody else has changed tasks in the journal; see that one coordinator alone uses its coordinator.stateDir"
                )
            self._write(insert, ("transitions", TRANSITION_COLUMNS), lines)
            for worker_id, standing in {one.worker_id: one.standing for one in standings}.items():
                self._connection.execute("DELETE FROM standings WHERE worker_id = ?", (worker_id,))
                if standing is not None:
                    row = standing_row(worker_id, standing, offset)
                    self._write(insert, ("standings", STANDING_COLUMNS), [row])
            for entry in newest.values():
                if entry.sequence > self._retention.transitions and entry.sequence % _TRIM_EVERY == 0:
                    self._connection.execute(
                        "DELETE FROM transitions WHERE number = ? AND sequence <= ?",
                        (entry.number, entry.sequence - self._retention.transitions),
                    )
        return sum(entry.transition.state is State.ENDED for entry in newest.values())

    def prune(self, unix_now: float, at_most: int) -> int:
        """Delete ended tasks that are too old or too many, `at_most` so many; returns how many it were."""
        execute = self._connection.execute
        ended = (State.ENDED.value,)
        with self._transaction():
            count = execute("SELECT COUNT(*) FROM tasks WHERE state = ?", ended).fetchone()[0]
            oldest = execute(
                "SELECT number, changed FROM tasks WHERE state = ? ORDER BY changed, number LIMIT ?", (*ended, at_most)
            ).fetchall()
            too_old = (unix_now - self._retention.seconds) * 1000
            gone = [
                (number,)
                for position, (number, changed) in enumerate(oldest)
                if changed < too_old or position < count - self._retention.tasks
            ]
            self._connection.executemany("DELETE FROM transitions WHERE number = ?", gone)
            self._connection.executemany("DELETE FROM tasks WHERE number = ?", gone)
        return len(gone)

    # -- reading -------------------------------------------------------------------------------------------------------

    def load(self, unix_now: float, offset: float) -> tuple[Kept, list[SetAside]]:
        """
        What is kept, and which records had to be set aside because they are damaged.

        Something is written first, so that who can load can commit as well. Of ended tasks it returns no more than the core
        would remember.
        """
        with self._transaction():
            self._connection.execute(
                "UPDATE loads SET times = times + 1, at = ? WHERE only_row = 1", (int(unix_now * 1000),)
            )
        columns = ", ".join(COLUMNS)
        ended = State.ENDED.value
        # Not "<>": an index can look for what is smaller and larger, whatever damage made of a state.
        open_rows = self._connection.execute(
            f"SELECT {columns} FROM tasks WHERE state < ? OR state > ? ORDER BY number",  # noqa: S608 - our own column names
            (ended, ended),
        ).fetchall()
        ended_rows = self._connection.execute(
            f"SELECT {columns} FROM tasks WHERE state = ? AND changed > ? ORDER BY changed DESC, number DESC LIMIT ?",  # noqa: S608
            (ended, int((unix_now - KEPT_SECONDS) * 1000), KEPT_TASKS),
        ).fetchall()
        damaged: list[tuple[Row, str]] = []
        kept = self._readable(open_rows, offset, damaged)
        over = self._readable(ended_rows[::-1], offset, damaged)
        self._set_aside(damaged, unix_now)
        last_number = self._connection.execute(
            "SELECT MAX(number) FROM (SELECT MAX(number) AS number FROM tasks"
            " UNION ALL SELECT MAX(number) FROM set_aside) AS both_tables"
        ).fetchone()[0]
        found = [SetAside(row[0], reason) for row, reason in damaged]
        return Kept(kept, over, last_number or 0, self._standings(offset)), found

    def timeline(self, root: RunRef, run_id: str, offset: float) -> list[Transition]:
        """Every transition of every task of a run, oldest first."""
        rows = self._connection.execute(
            "SELECT line.at, line.state, line.worker_id, line.epoch, line.reason"
            " FROM transitions AS line INNER JOIN tasks AS task ON task.number = line.number"
            " WHERE task.root_name = ? AND task.root_id = ? AND task.run_id = ? ORDER BY line.number, line.sequence",
            (root.name, root.id, run_id),
        )
        return [Transition(moment(at, offset), State(state), *rest) for at, state, *rest in rows]

    def _standings(self, offset: float) -> tuple[StandingEntry, ...]:
        columns = ", ".join(STANDING_COLUMNS)
        rows = self._connection.execute(f"SELECT {columns} FROM standings ORDER BY worker_id")  # noqa: S608
        return tuple(to_standing(row, offset) for row in rows)

    def roots_of(self, run_id: str) -> list[RunRef]:
        """The roots under which there are tasks of a run with that id."""
        rows = self._connection.execute(
            "SELECT DISTINCT root_name, root_id FROM tasks WHERE run_id = ? ORDER BY root_name, root_id", (run_id,)
        )
        return [RunRef(*row) for row in rows]

    def set_aside(self) -> list[SetAside]:
        """Every record that was ever set aside."""
        return [
            SetAside(*row) for row in self._connection.execute("SELECT number, reason FROM set_aside ORDER BY number")
        ]

    def counts(self) -> dict[str, int]:
        """How many tasks are in each state."""
        return dict(self._connection.execute("SELECT state, COUNT(*) FROM tasks GROUP BY state ORDER BY state"))

    def _readable(self, rows: list[Row], offset: float, damaged: list[tuple[Row, str]]) -> tuple[Entry, ...]:
        entries = []
        for row in rows:
            try:
                entries.append(to_entry(row, offset))
            except DamagedRowError as error:
                damaged.append((row, str(error)))
        return tuple(entries)

    def _set_aside(self, damaged: list[tuple[Row, str]], unix_now: float) -> None:
        with self._transaction():
            for row, reason in damaged:
                self._connection.execute(
                    "INSERT INTO set_aside (number, found, reason, content) VALUES (?, ?, ?, ?)",
                    (row[0], int(unix_now * 1000), reason, readable(row)),
                )
                self._connection.execute("DELETE FROM tasks WHERE number = ?", (row[0],))

    def _write(self, form: Any, arguments: tuple[Any, ...], rows: list[Row]) -> int:
        """Write all rows with few statements; returns how many rows of the table that touched."""
        touched, position = 0, 0
        while position < len(rows):
            # Powers of two, so that there are few statements, and all stay prepared.
            count = min(_ROWS_AT_ONCE, 1 << (len(rows) - position).bit_length() - 1)
            values = [value for row in rows[position : position + count] for value in row]
            touched += self._connection.execute(form(*arguments, count), values).rowcount
            position += count
        return touched

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def statement(text: str) -> str:
    """A statement of the schema in the dialect's words."""
    return text.format(number=dialect.NUMBER)


@cache
def insert(table: str, columns: tuple[str, ...], count: int) -> str:
    """The statement that adds so many rows to a table."""
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * count)}"  # noqa: S608 - our own names


@cache
def compare_and_swap(count: int) -> str:
    """The statement that changes so many tasks, each only if it is in the epoch and state that are expected of it."""
    row = f"({', '.join('?' * 9)})"
    return statement(
        "UPDATE tasks SET state = v.column4, epoch = CAST(v.column5 AS {number}), sequence = CAST(v.column6 AS {number}),"  # noqa: S608
        " changed = CAST(v.column7 AS {number}), facts = v.column8, checksum = CAST(v.column9 AS {number})"
        f" FROM (VALUES {', '.join([row] * count)}) AS v"
        " WHERE tasks.number = CAST(v.column1 AS {number}) AND tasks.epoch = CAST(v.column2 AS {number})"
        " AND tasks.state = v.column3"
    )
