"""What can be wrong with a store, for people."""

from __future__ import annotations

from txdagu.model.errors import DaguError


class CorruptRecordError(DaguError):
    """A file of the store cannot be understood; `path` says which."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be read as a record: {reason} (restore or remove the file)")


class UnfinishedRecordError(CorruptRecordError):
    """A file of the store holds no whole record: its first one is just being written, or its writer died over it."""
