"""The tables of the journal, and the steps by which older ones become newer."""

from __future__ import annotations

# Each item is the statements that lead to the version of its place, counted from 1. What was released is never changed: a new
# table or column is a new item. `{number}` is the dialect's whole number of 64 bits.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # One row for each task: what never changes (`task`, JSON), where it is (`state`, `epoch`, `sequence`: number of its
        # transitions, `changed`: Unix milliseconds), and everything else that changes (`facts`, JSON). `checksum` is of all but
        # `task`, which has its own.
        """
        CREATE TABLE tasks (
            number {number} PRIMARY KEY,
            root_name TEXT NOT NULL,
            root_id TEXT NOT NULL,
            run_id TEXT NOT NULL,
            task TEXT NOT NULL,
            task_checksum {number} NOT NULL,
            state TEXT NOT NULL,
            epoch {number} NOT NULL,
            sequence {number} NOT NULL,
            changed {number} NOT NULL,
            facts TEXT NOT NULL,
            checksum {number} NOT NULL
        )
        """,
        "CREATE INDEX tasks_by_state ON tasks (state, changed)",
        "CREATE INDEX tasks_by_run ON tasks (root_id, run_id)",
        # The flight recorder. `at` is in Unix milliseconds.
        """
        CREATE TABLE transitions (
            number {number} NOT NULL,
            sequence {number} NOT NULL,
            at {number} NOT NULL,
            state TEXT NOT NULL,
            worker_id TEXT NOT NULL,
            epoch {number} NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (number, sequence)
        )
        """,
        # Records that could not be read: where each was, why, and all that was found in it (JSON).
        """
        CREATE TABLE set_aside (
            number {number} PRIMARY KEY,
            found {number} NOT NULL,
            reason TEXT NOT NULL,
            content TEXT NOT NULL
        )
        """,
        # One row. Written at each load, to see whether anything can be written.
        "CREATE TABLE loads (only_row {number} PRIMARY KEY, times {number} NOT NULL, at {number} NOT NULL)",
        "INSERT INTO loads (only_row, times, at) VALUES (1, 0, 0)",
    ),
    (
        # Workers that may not have new tasks. Times are in Unix milliseconds; `until` is 0 where there is no limit.
        """
        CREATE TABLE standings (
            worker_id TEXT PRIMARY KEY,
            mode TEXT NOT NULL,
            since {number} NOT NULL,
            until {number} NOT NULL,
            reason TEXT NOT NULL,
            ordered_by TEXT NOT NULL,
            checksum {number} NOT NULL
        )
        """,
    ),
)

# Made by the program itself, before any migration.
VERSION_TABLE = "CREATE TABLE IF NOT EXISTS schema_version (version {number} PRIMARY KEY)"
