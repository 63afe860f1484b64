"""What both ends must agree on about one RPC: its path, its kind, and how messages become bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


class Cardinality(Enum):
    """The four kinds of calls: how many messages travel in each direction."""

    UNARY_UNARY = (False, False)
    UNARY_STREAM = (False, True)
    STREAM_UNARY = (True, False)
    STREAM_STREAM = (True, True)

    def __init__(self, client_streaming: bool, server_streaming: bool) -> None:
        self.client_streaming = client_streaming
        """Whether the client may send any number of messages."""
        self.server_streaming = server_streaming
        """Whether the server may send any number of messages."""


@dataclass(frozen=True)
class RpcMethod(Generic[Request, Response]):
    """
    One method of a service. `service` is the full name (``grpc.health.v1.Health``), `name` the method's.

    The four callables turn messages into bytes and back; those that read raise any exception for bytes they cannot read.
    """

    service: str
    name: str
    cardinality: Cardinality
    encode_request: Callable[[Request], bytes]
    decode_request: Callable[[bytes], Request]
    encode_response: Callable[[Response], bytes]
    decode_response: Callable[[bytes], Response]

    @property
    def path(self) -> str:
        """The HTTP/2 ``:path`` of a call."""
        return f"/{self.service}/{self.name}"
