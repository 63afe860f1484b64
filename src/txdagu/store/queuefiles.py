"""
The queue's directories: one a queue, in it one file a waiting run. Blocking; may be used by several threads at once.

The run in the file counts; the file's name only gives the order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from txdagu.model.run import RunRef
from txdagu.store.errors import CorruptRecordError
from txdagu.store.layout import queue_item_name, queue_item_order, single_name
from txdagu.store.stepjson import encode_json
from txdagu.system.files import make_directories, names_in, put_in_place


class _RunRecord(msgspec.Struct):
    name: str
    id: str


class _ItemRecord(msgspec.Struct, rename="camel"):
    dag_run: _RunRecord


_decoder = msgspec.json.Decoder(_ItemRecord)


class QueueFiles:
    """
    All queues of a data directory.

    Items never change, so each is read once. `warn` takes the one error of an item that cannot be read; such an item is then
    passed over.
    """

    def __init__(self, root: Path, now: Callable[[], datetime], warn: Callable[[CorruptRecordError], None]) -> None:
        self._root = root
        self._now = now
        self._warn = warn
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, RunRef | None]] = {}

    def directories(self) -> list[Path]:
        """The directory of all queues and those of each."""
        return [self._root, *(self._root / name for name in names_in(self._root))]

    def add(self, queue: str, run: RunRef, token: str) -> None:
        """Put a run at the end of a queue: complete or not at all. `token` makes the temporary name unique."""
        directory = self._root / single_name(queue, "queue")
        at = self._now().astimezone(UTC)
        name = queue_item_name(at, run.id)
        item = {
            "fileName": name,
            "dagRun": {"name": run.name, "id": run.id},
            "queuedAt": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}000Z",
        }
        make_directories(directory)
        put_in_place(directory / name, encode_json(item), f"queue_{token}")

    def items(self) -> list[tuple[str, RunRef]]:
        """All waiting runs as (queue, run), queues by name, high priority first and then oldest first within each."""
        found: list[tuple[str, RunRef]] = []
        for queue in sorted(names_in(self._root)):
            found += [(queue, run) for _, run in self._items_of(queue)]
        return found

    def remove(self, queue: str, run: RunRef) -> None:
        """Take all items of that run out of the queue."""
        directory = self._root / single_name(queue, "queue")
        with self._lock:
            names = [name for name, known in self._known.get(queue, {}).items() if known == run]
        if not names:
            names = [name for name, known in self._items_of(queue) if known == run]
        for name in names:
            with suppress(FileNotFoundError):
                (directory / name).unlink()
            with self._lock:
                self._known.get(queue, {}).pop(name, None)

    def _items_of(self, queue: str) -> list[tuple[str, RunRef]]:
        directory = self._root / queue
        ordered = sorted((order, name) for name in names_in(directory) if (order := queue_item_order(name)))
        with self._lock:
            known = self._known.get(queue, {})
        fresh = {name: known[name] if name in known else self._read(directory / name) for _, name in ordered}
        with self._lock:
            self._known[queue] = fresh
        return [(name, run) for name, run in fresh.items() if run]

    def _read(self, path: Path) -> RunRef | None:
        try:
            record = _decoder.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._warn(CorruptRecordError(str(path), str(error)))
            return None
        return RunRef(record.dag_run.name, record.dag_run.id)
