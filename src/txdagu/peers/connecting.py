"""What a channel to a coordinator must be able to do, and how one comes about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message
from twisted.logger import Logger

from txdagu.config.settings import Settings
from txdagu.grpc.channel import Backoff, ChannelOptions, tcp_channel
from txdagu.peers.advice import CLIENT_ADVICE
from txdagu.peers.protection import Protection, protection
from txdagu.peers.security import End
from txdagu.wire.metadata import ReceivedMetadata
from txdagu.wire.method import RpcMethod

log = Logger()

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
AnswerT_co = TypeVar("AnswerT_co", bound=Message, covariant=True)


class Reply(Protocol[AnswerT_co]):
    """The answer to a call with the metadata that came before it."""

    @property
    def message(self) -> AnswerT_co:
        """The response."""

    @property
    def initial_metadata(self) -> ReceivedMetadata:
        """What the server sent before its answer."""


class RpcChannel(Protocol):
    """What dispatchers and workers use of `txdagu.grpc.channel.Channel`. Failed calls raise `RpcError`."""

    def unary(
        self, method: RpcMethod[RequestT, ResponseT], request: RequestT, *, timeout: float | None = None
    ) -> Awaitable[ResponseT]:
        """Call and wait for the response, at most `timeout` seconds."""

    def unary_call(
        self, method: RpcMethod[RequestT, ResponseT], request: RequestT, *, timeout: float | None = None
    ) -> Awaitable[Reply[ResponseT]]:
        """As `unary`, with metadata."""

    def close(self) -> Awaitable[None]:
        """End all calls and the connection."""


Connect = Callable[[str, int], RpcChannel]


LONGEST_RECONNECT_PAUSE = 5.0


def reconnect_pause(lease_ttl: float) -> float:
    """
    How long a channel waits at most before it dials again, in seconds.

    A small part of a lease: what was met at the last attempt must still be news when leases are looked at.
    """
    return min(LONGEST_RECONNECT_PAUSE, lease_ttl / 6)


def connector(settings: Settings, reactor: Any, protected: Protection | None = None) -> Connect:
    """
    What opens a channel to a host and port, over TLS if the settings say so. `protected` is what to use for it, if that was made.

    Without, it is made here, and what is doubtful about it logged; raises `InvalidInputError` if it cannot be had: talking in
    clear text instead would be worse than not talking.
    """
    if protected is None:
        protected = protection(settings, [End.CLIENT])
        for sentence in protected.warnings():
            log.warn("{sentence}", sentence=sentence)
    pause = reconnect_pause(settings.coordinator.lease_ttl)
    options = ChannelOptions(backoff=Backoff(initial=min(0.5, pause), maximum=pause))
    tls = protected.client
    return lambda host, port: tcp_channel(reactor, host, port, tls=tls, advice=CLIENT_ADVICE, options=options)
