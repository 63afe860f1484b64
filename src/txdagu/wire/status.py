"""gRPC status codes, and the errors by which a call ends."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from txdagu.wire.metadata import NONE, Metadata, ReceivedMetadata


class StatusCode(IntEnum):
    """The seventeen codes of gRPC (doc/statuscodes.md of the gRPC project)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """
    A call ended with a status other than OK.

    A handler raises it to answer so; a client gets it from an awaited call. `message` is for people, `details` are for
    programs: protobuf messages that say more about the error. A handler gives them as they are, a client gets each wrapped
    in a `google.protobuf.Any`; `txdagu.grpc.rich_status` finds one by its type. `trailing_metadata` travels with the status.
    """

    def __init__(
        self,
        code: StatusCode,
        message: str = "",
        *,
        details: Iterable[Any] = (),
        trailing_metadata: Metadata | None = None,
    ) -> None:
        super().__init__(f"{code.name}: {message}" if message else code.name)
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.trailing_metadata = NONE if trailing_metadata is None else ReceivedMetadata(trailing_metadata)
