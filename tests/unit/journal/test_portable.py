"""The SQL of the journal is also PostgreSQL's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import sqlglot
from sqlglot.errors import ErrorLevel
from twisted.trial.unittest import SynchronousTestCase

import txdagu.journal
from txdagu.journal.database import compare_and_swap, insert
from txdagu.journal.rows import COLUMNS, TRANSITION_COLUMNS
from txdagu.journal.schema import MIGRATIONS, VERSION_TABLE

SQLITE_ONLY = (
    "PRAGMA",
    "AUTOINCREMENT",
    "INSERT OR",
    "WITHOUT ROWID",
    "ROWID",
    "DATETIME(",
    "GLOB",
    "IFNULL",
    "STRFTIME",
)
PACKAGE = Path(txdagu.journal.__path__[0])


def texts_in(module: str) -> list[str]:
    """Every text of a module that is a statement."""
    found = []
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "number" for part in node.values)
        else:
            continue
        if re.match(r"SELECT .* FROM |INSERT .* VALUES \(|UPDATE .* SET .* WHERE |DELETE FROM .* WHERE ", text):
            found.append(text)
    return found


class DialectTests(SynchronousTestCase):
    """Each statement is read by rules of both."""

    def test_same_meaning(self) -> None:
        """Every statement is understood as SQLite's and as PostgreSQL's, in the same way."""
        statements = [text.format(number="BIGINT") for step in (*MIGRATIONS, (VERSION_TABLE,)) for text in step]
        statements += [insert("tasks", COLUMNS, 2), insert("transitions", TRANSITION_COLUMNS, 1)]
        statements.append(compare_and_swap(2).replace("INTEGER", "BIGINT"))
        written = [text for text in texts_in("database.py") if "{number}" not in text]
        self.assertGreater(len(written), 12)
        statements += written
        for statement in statements:
            read = [
                sqlglot.parse_one(statement.replace("?", "0"), read=dialect, error_level=ErrorLevel.RAISE)
                for dialect in ("sqlite", "postgres")
            ]
            # No column may be NULL, so where NULL would be sorted does not matter.
            as_sqlite, as_postgres = (re.sub(" NULLS (FIRST|LAST)", "", tree.sql("postgres")) for tree in read)
            self.assertEqual(as_sqlite, as_postgres)

    def test_one_place_for_what_only_sqlite_knows(self) -> None:
        """Words that only SQLite understands stand in `dialect` alone, and so do its functions."""
        for module in PACKAGE.glob("*.py"):
            if module.name == "dialect.py":
                continue
            text = module.read_text()
            self.assertEqual(
                [], [word for word in SQLITE_ONLY if word in text.upper().replace("`ROWID`", "")], module.name
            )
            self.assertNotIn("sqlite3.connect", text, module.name)
