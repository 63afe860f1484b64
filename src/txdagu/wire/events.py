"""What a connection tells its owner, for both roles. Stream numbers identify calls."""

from __future__ import annotations

from dataclasses import dataclass

from txdagu.wire.metadata import NONE, ReceivedMetadata
from txdagu.wire.status import StatusCode


@dataclass(slots=True)
class PeerReady:
    """The peer's first SETTINGS frame arrived: it speaks HTTP/2 and has accepted us."""


@dataclass(slots=True)
class StreamLimitChanged:
    """The peer changed its settings; calls that waited for a free stream may start now."""


@dataclass(slots=True)
class CallStarted:
    """Server: a call arrived. `timeout` is in seconds, None without a deadline."""

    stream_id: int
    path: str
    metadata: ReceivedMetadata
    timeout: float | None


@dataclass(slots=True)
class HeadersReceived:
    """Client: the server's initial metadata. Not sent for answers that consist of trailers only."""

    stream_id: int
    metadata: ReceivedMetadata


@dataclass(slots=True)
class MessageReceived:
    """One whole message. Tell `consumed(stream_id, credit)` once it was used: it gives the peer's window back."""

    stream_id: int
    payload: bytes
    credit: int
    compressed: bool = False
    """Whether it came compressed; `payload` never is."""


@dataclass(slots=True)
class RequestsEnded:
    """Server: the client will send no more messages in this call."""

    stream_id: int


@dataclass(slots=True)
class CallRejected:
    """Server: the peer's messages cannot be read; the call should end with this status. More of them is not delivered."""

    stream_id: int
    code: StatusCode
    message: str


@dataclass(slots=True)
class CallCancelled:
    """Server: the client gave the call up."""

    stream_id: int
    reason: str


@dataclass(slots=True)
class CallEnded:
    """
    Client: the call is over. `unprocessed` means that the server certainly did not look at it, so it may be repeated.

    `status_details` are the bytes of a `google.rpc.Status`, empty when the server sent none.
    """

    stream_id: int
    code: StatusCode
    message: str
    metadata: ReceivedMetadata = NONE
    unprocessed: bool = False
    status_details: bytes = b""


@dataclass(slots=True)
class SendingResumed:
    """Everything queued for this stream has been handed out; whoever waited to send may go on."""

    stream_id: int


@dataclass(slots=True)
class PingAnswered:
    """The peer answered a ping of ours."""

    payload: bytes


@dataclass(slots=True)
class PeerLeaving:
    """
    The peer sent a GOAWAY: it takes no new calls here.

    Those up to `last_stream_id` go on, unless `ConnectionBroken` follows because the GOAWAY names an error.
    """

    last_stream_id: int
    reason: str
    too_many_pings: bool = False
    """The peer complains of our pings, and will again unless there are fewer (gRFC A8)."""


@dataclass(slots=True)
class ConnectionBroken:
    """The connection must be closed (after writing what is outgoing): a protocol error, or the peer said so. The last event."""

    reason: str


Event = (
    PeerReady
    | StreamLimitChanged
    | CallStarted
    | HeadersReceived
    | MessageReceived
    | RequestsEnded
    | CallRejected
    | CallCancelled
    | CallEnded
    | SendingResumed
    | PingAnswered
    | PeerLeaving
    | ConnectionBroken
)
