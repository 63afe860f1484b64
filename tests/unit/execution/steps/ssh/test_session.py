"""A channel on its own: how much is on its way, and in which order it is written."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.files import StepFileError
from txdagu.execution.steps.ssh.session import WINDOW, CommandChannel, RemoteEnd


class Wire:
    """Where a channel's requests go."""

    def __init__(self) -> None:
        self.widened: list[int] = []
        self.requests: list[tuple[bytes, bytes]] = []
        self.answer: Deferred[str] = Deferred()
        self.closed = False

    def widen(self, channel: Any, size: int) -> None:
        self.widened.append(size)

    def sendRequest(self, channel: Any, name: bytes, data: bytes, wantReply: bool = False) -> Deferred[str]:  # noqa: N803
        self.requests.append((name, data))
        return self.answer

    def sendEOF(self, channel: Any) -> None:
        """Nothing to send."""

    def sendClose(self, channel: Any) -> None:
        self.closed = True


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.written: list[tuple[bytes, bool]] = []
        self.writing: list[Deferred[None]] = []

        def write(data: bytes, error: bool) -> Deferred[None]:
            self.written.append((data, error))
            self.writing.append(Deferred())
            return self.writing[-1]

        self.wire = Wire()
        self.channel = CommandChannel("line", write)
        self.channel.conn = self.wire
        self.channel.channelOpen(b"")

    def wrote(self) -> None:
        """The piece that is being written is written."""
        self.writing[-1].callback(None)

    def test_window(self) -> None:
        """Room for more is given by what was written, and not before."""
        self.channel.dataReceived(b"a" * (WINDOW // 2))
        self.channel.dataReceived(b"b" * (WINDOW // 2))
        self.assertEqual((len(self.written), self.wire.widened), (1, []))
        self.wrote()
        self.wrote()
        self.assertEqual(self.wire.widened, [WINDOW // 2, WINDOW // 2])
        self.channel.dataReceived(b"few")
        self.wrote()
        self.assertEqual(self.wire.widened[2:], [])

    def test_order(self) -> None:
        """Pieces of both streams keep their order, neighbours of one stream become one piece."""
        for data, kind in ((b"1", 0), (b"2", 0), (b"3", 0), (b"4", 1), (b"5", 1), (b"6", 0)):
            if kind:
                self.channel.extReceived(kind, data)
            else:
                self.channel.dataReceived(data)
        while len(self.written) < 4:
            self.wrote()
        self.assertEqual(self.written, [(b"1", False), (b"23", False), (b"45", True), (b"6", False)])

    def test_end_waits_for_output(self) -> None:
        """The end is told when all is written, whatever closed before."""
        self.channel.dataReceived(b"1")
        self.channel.request_exit_status(b"\0\0\0\5")
        self.channel.closed()
        self.channel.lost("the connection is lost after the end")
        self.assertNoResult(self.channel.ended)
        self.wrote()
        self.assertEqual(self.successResultOf(self.channel.ended), RemoteEnd(5))

    def test_cannot_write(self) -> None:
        """Output that cannot be written ends the command, with the reason."""
        self.channel.dataReceived(b"1")
        self.channel.dataReceived(b"2")
        self.writing[0].errback(StepFileError("disk full"))
        self.failureResultOf(self.channel.ended, StepFileError)
        self.assertTrue(self.wire.closed)
        self.channel.dataReceived(b"3")
        self.assertEqual(len(self.written), 1)

    def test_signal_before_start(self) -> None:
        """A signal waits until there is a command to send it to."""
        self.channel.signal("SIGINT")
        self.assertEqual([name for name, _ in self.wire.requests], [b"exec"])
        self.wire.answer.callback("")
        self.assertEqual(self.wire.requests[1:], [(b"signal", b"\0\0\0\3INT")])

    def test_drop(self) -> None:
        """Who drops a command waits for nothing more than the piece that is being written."""
        self.channel.dataReceived(b"1")
        self.channel.dataReceived(b"2")
        self.channel.drop()
        self.wrote()
        self.assertIn("force", self.successResultOf(self.channel.ended).trouble)
        self.assertEqual(len(self.written), 1)
