"""What request headers say, and that it is found out once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.wire import REQUEST, Pair
from txdagu.wire.events import CallStarted
from txdagu.wire.header_blocks import HeaderBlock
from txdagu.wire.metadata import Header
from txdagu.wire.request import NotGrpcError, read_request
from txdagu.wire.status import RpcError, StatusCode


def replaced(name: bytes, value: bytes) -> list[Header]:
    """The usual headers with another value."""
    return [(key, value if key == name else old) for key, old in REQUEST]


class Reading(SynchronousTestCase):
    """One block."""

    def test_all(self) -> None:
        """Everything a call may announce."""
        more = [
            (b"grpc-timeout", b"5S"),
            (b"grpc-encoding", b"gzip"),
            (b"grpc-accept-encoding", b"gzip"),
            (b"key", b"value"),
        ]
        head = read_request([*REQUEST, *more])
        self.assertEqual((head.path, head.timeout, head.encoding, head.accepted), ("/s/m", 5.0, b"gzip", b"gzip"))
        self.assertEqual(dict(head.metadata), {"key": "value"})

    def test_not_grpc(self) -> None:
        """What is no call at all names the HTTP status to answer with."""
        for name, value, status in (
            (b":method", b"GET", b"405"),
            (b"content-type", b"text/html", b"415"),
            (b":path", b"x", b"404"),
        ):
            error = self.assertRaises(NotGrpcError, read_request, replaced(name, value))
            self.assertEqual(error.http_status, status)

    def test_unreadable(self) -> None:
        """What is wrong in a call is a status; the next reader of the same block gets it, too."""
        for header, code in (
            ((b"grpc-timeout", b"soon"), StatusCode.INTERNAL),
            ((b"x-bin", b"!"), StatusCode.INTERNAL),
            ((b"grpc-encoding", b"zip"), StatusCode.UNIMPLEMENTED),
        ):
            block = HeaderBlock([*REQUEST, header])
            for _ in range(2):
                self.assertEqual(self.assertRaises(RpcError, read_request, block).code, code)

    def test_shared(self) -> None:
        """A repeated block is read once, and what the calls share cannot be changed by one of them."""
        pair = Pair()
        started: list[CallStarted] = []
        for _ in range(4):
            pair.client.start_call("/s/m", {"key": "value"}, 5)
            started += [event for event in pair.run()[1] if isinstance(event, CallStarted)]
        self.assertIs(started[2].metadata, started[3].metadata)
        self.assertEqual([event.stream_id for event in started], [1, 3, 5, 7])
        with self.assertRaises(TypeError):
            started[3].metadata["key"] = "other"  # type: ignore[index]
