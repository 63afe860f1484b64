"""
Rich error details: messages that tell programs more about an error than its code.

They travel beside the status, as a `google.rpc.Status` in the header ``grpc-status-details-bin``; the messages of
`google.rpc.error_details_pb2` are meant for it, and any other will do. A handler raises
``RpcError(code, text, details=[RetryInfo(…)])``; a client asks ``find_detail(error, RetryInfo)``.

Many peers take no more than 8 KiB of headers, so details should be short.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

from txdagu.wire.status import RpcError, StatusCode

MessageT = TypeVar("MessageT", bound=Message)


def pack_details(code: StatusCode, message: str, details: Iterable[Message]) -> bytes:
    """
    The bytes of a `google.rpc.Status`. Details that are wrapped in `Any` already go as they are.

    Raises TypeError for a detail that is no protobuf message.
    """
    # What protobuf cannot encode is replaced exactly as in grpc-message; clients compare the two.
    status = Status(code=int(code), message=message.encode("utf-8", "replace").decode("utf-8"))
    for detail in details:
        if isinstance(detail, AnyMessage):
            status.details.append(detail)
        elif isinstance(detail, Message):
            status.details.add().Pack(detail)
        else:
            raise TypeError(f"a detail of an RpcError must be a protobuf message, not {type(detail).__name__}")
    return bytes(status.SerializeToString())


def unpack_details(data: bytes) -> tuple[AnyMessage, ...]:
    """The details in the bytes of a `google.rpc.Status`; none if these are not one."""
    try:
        return tuple(Status.FromString(data).details)
    except DecodeError:
        return ()


def find_detail(error: RpcError, kind: type[MessageT]) -> MessageT | None:
    """The first detail of that type, or None. One that says it is of the type but cannot be read is passed over."""
    for detail in error.details:
        if isinstance(detail, kind):
            return detail
        if isinstance(detail, AnyMessage) and detail.TypeName() == kind.DESCRIPTOR.full_name:
            try:
                return kind.FromString(detail.value)
            except DecodeError:
                continue
    return None
