"""What can be wrong with a store, for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from txdagu.model.errors import DaguError


class CorruptRecordError(DaguError):
    """A file of the store cannot be understood; `path` says which."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be read as a record: {reason} (restore or remove the file)")


class UnfinishedRecordError(CorruptRecordError):
    """A file of the store holds no whole record: its first one is just being written, or its writer died over it."""


class UnusableStoreError(DaguError):
    """Nothing can be written where the store is: no such place, no permission, no room."""

    def __init__(self, error: OSError) -> None:
        where = error.filename or "the store"
        super().__init__(
            f"{where} cannot be written: {error.strerror} (check DAGU_HOME, paths.dataDir and paths.logDir, and the disk)"
        )


@contextmanager
def writing() -> Iterator[None]:
    """Makes an `UnusableStoreError` of what the system says while something new is begun in the store."""
    try:
        yield
    except OSError as error:
        raise UnusableStoreError(error) from error
