"""
Random conversations between a connection of ours and a plain h2 end, recorded so that they can be played again.

A session is driven by a list of actions, `(name, number, size)`; names are those in `ServerSession.ACTIONS` and
`ClientSession.ACTIONS`, numbers choose among the calls so far, sizes are bytes. An action that makes no sense at that point
(data beyond the window, an answer to a call that is over) is left out, so every conversation is a valid one.
"""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from txdagu.testing.wire import REQUEST, client_connection, foreign_client, foreign_server, server_connection
from txdagu.wire.client import ClientConnection
from txdagu.wire.connection import Connection
from txdagu.wire.events import Event, MessageReceived
from txdagu.wire.framing import encode_frame
from txdagu.wire.server import ServerConnection
from txdagu.wire.status import StatusCode

Action = tuple[str, int, int]
Step = bytes | Callable[[Any], object]
"""What happened to our end: bytes arrived, or its owner did something."""

_ANSWER = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip")]


class Session(ABC):
    """One conversation. `steps` and `events` record what our end, `ours`, went through."""

    ACTIONS: ClassVar[tuple[str, ...]]

    def __init__(self, ours: Connection, foreign: H2Connection) -> None:
        self.ours: Any = ours
        self.foreign = foreign
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.calls: list[int] = []
        self.talking: set[int] = set()
        """Streams on which the peer has sent headers, so that data or an end may follow."""
        self.unanswered: set[int] = set()
        """Calls of ours to which the peer has not said anything but interim answers."""
        self.deliver()

    @classmethod
    @abstractmethod
    def fresh(cls) -> Connection:
        """An end like `ours` at its beginning."""

    def play(self, actions: Iterable[Action]) -> None:
        """Let all this happen."""
        for name, number, size in actions:
            stream_id = self.calls[number % len(self.calls)] if self.calls else 0
            if stream_id or name in ("call", "ping", "settings"):
                with suppress(ProtocolError):  # of the plain end's own: it may not do this now
                    getattr(self, name)(stream_id, number, size)
                self.deliver()

    def deliver(self) -> None:
        """Exchange what both ends have to say."""
        while True:
            data, answer = self.foreign.data_to_send(), self.ours.outgoing()
            if data:
                self.steps.append(data)
                self.events += self.ours.receive(data)
            if answer:
                self.foreign.receive_data(answer)
            if not data and not answer:
                return

    def local(self, step: Callable[[Any], object]) -> None:
        """Our owner does something."""
        self.steps.append(step)
        step(self.ours)

    def consume(self, stream_id: int, number: int, size: int) -> None:
        """Our owner uses all messages that it got."""
        for event in self.events:
            if isinstance(event, MessageReceived):
                self.local(partial(self._consumed, event))
        self.events = [event for event in self.events if not isinstance(event, MessageReceived)]

    @staticmethod
    def _consumed(event: MessageReceived, ours: Connection) -> None:
        ours.consumed(event.stream_id, event.credit)

    def message(self, stream_id: int, number: int, size: int) -> None:
        """Our owner sends a message."""
        self.local(lambda ours: ours.send_message(stream_id, bytes(size)))

    def cancel(self, stream_id: int, number: int, size: int) -> None:
        """Our owner gives a call up."""
        self.local(lambda ours: ours.cancel(stream_id))

    def our_ping(self, stream_id: int, number: int, size: int) -> None:
        """We ask whether the peer is there."""
        self.local(lambda ours: ours.ping(b"%08d" % (number % 10**8)))

    def pause(self, stream_id: int, number: int, size: int) -> None:
        """Our transport is full."""
        self.local(lambda ours: ours.pause_sending())

    def resume(self, stream_id: int, number: int, size: int) -> None:
        """Our transport takes data again."""
        self.local(lambda ours: ours.resume_sending())

    def data(self, stream_id: int, number: int, size: int) -> None:
        """The peer sends a message, compressed or padded now and then, in frames of odd sizes."""
        payload = bytes(size)
        body = (
            encode_frame(gzip.compress(payload, mtime=0), compressed=True) if number % 3 == 0 else encode_frame(payload)
        )
        if number % 5 == 0:
            body += encode_frame(b"") + encode_frame(b"second")
        padding = number % 200 if number % 4 == 0 else None
        room = self.foreign.local_flow_control_window(stream_id)
        piece = 1 + number % self.foreign.max_outbound_frame_size // 2
        if stream_id in self.talking and len(body) + (1 + 256) * (len(body) // piece + 1) < room:
            for start in range(0, len(body), piece):
                self.foreign.send_data(stream_id, body[start : start + piece], pad_length=padding)

    def end(self, stream_id: int, number: int, size: int) -> None:
        """The peer ends its side."""
        if stream_id in self.talking:
            self.talking.remove(stream_id)
            self.foreign.end_stream(stream_id)

    def reset(self, stream_id: int, number: int, size: int) -> None:
        """The peer resets the stream."""
        self.talking.discard(stream_id)
        self.unanswered.discard(stream_id)
        self.foreign.reset_stream(stream_id, number % 16)

    def ping(self, stream_id: int, number: int, size: int) -> None:
        """The peer asks whether we are there."""
        self.foreign.ping(b"%08d" % (number % 10**8))

    def settings(self, stream_id: int, number: int, size: int) -> None:
        """The peer changes its settings. Plain h2 misjudges smaller windows, and other frame sizes within one read."""
        self.foreign.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: 65_535 + len(self.steps) * 1000,
                SettingCodes.HEADER_TABLE_SIZE: number % 5000,
            }
        )

    def window(self, stream_id: int, number: int, size: int) -> None:
        """The peer opens its windows."""
        self.foreign.increment_flow_control_window(size + 1)
        if stream_id in self.foreign.streams:
            self.foreign.increment_flow_control_window(size + 1, stream_id)

    def priority(self, stream_id: int, number: int, size: int) -> None:
        """The peer says what it likes best."""
        self.foreign.prioritize(stream_id, weight=1 + number % 256, depends_on=0)


class ServerSession(Session):
    """Our server and a plain client."""

    ACTIONS = (
        "call", "data", "end", "trailers", "reset", "ping", "settings", "window", "priority",
        "consume", "message", "cancel", "our_ping", "pause", "resume", "finish", "initial",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(self.fresh(), foreign_client())

    @classmethod
    def fresh(cls) -> ServerConnection:
        """See `Session`."""
        return server_connection(100_000)

    def call(self, stream_id: int, number: int, size: int) -> None:
        """A call begins; some are no gRPC, some cannot be read."""
        stream_id = self.foreign.get_next_available_stream_id()
        headers = [*REQUEST, (b"key", b"%d" % size), (b"grpc-encoding", b"gzip")]
        if number % 7 == 0:
            headers[0] = (b":method", b"PUT")
        if number % 11 == 0:
            headers.append((b"grpc-timeout", b"%dm" % number))
        if number % 13 == 0:
            headers.append((b"long-bin", b"A" * 1000))
        self.foreign.send_headers(stream_id, headers)
        self.calls.append(stream_id)
        self.talking.add(stream_id)

    def trailers(self, stream_id: int, number: int, size: int) -> None:
        """The client ends with trailers."""
        if stream_id in self.talking:
            self.talking.remove(stream_id)
            self.foreign.send_headers(stream_id, [(b"late", b"x")], end_stream=True)

    def finish(self, stream_id: int, number: int, size: int) -> None:
        """The handler ends the call."""
        self.local(lambda ours: ours.finish(stream_id, StatusCode(number % 17), "größer" if number % 2 else ""))

    def initial(self, stream_id: int, number: int, size: int) -> None:
        """The handler says what the headers shall carry."""

        def step(ours: ServerConnection) -> None:
            with suppress(RuntimeError):  # they have been sent
                ours.set_initial_metadata(stream_id, {"first": str(size)})

        self.local(step)


class ClientSession(Session):
    """Our client and a plain server."""

    ACTIONS = (
        "call", "message", "half_close", "cancel", "consume", "our_ping", "pause", "resume",
        "data", "end", "reset", "ping", "settings", "window", "respond", "finish", "trailers_only", "interim", "leave",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(self.fresh(), foreign_server())

    @classmethod
    def fresh(cls) -> ClientConnection:
        """See `Session`."""
        return client_connection()

    def call(self, stream_id: int, number: int, size: int) -> None:
        """We make a call."""
        if self.ours.accepts_calls and self.ours.has_free_stream:
            self.calls.append(self.ours._http2.get_next_available_stream_id())  # noqa: SLF001  # told by start_call too
            self.unanswered.add(self.calls[-1])

            def step(ours: ClientConnection) -> None:
                if ours.accepts_calls and ours.has_free_stream:
                    ours.start_call("/s/m", {"key": str(size)}, number or None)

            self.local(step)

    def half_close(self, stream_id: int, number: int, size: int) -> None:
        """We send no more."""
        self.local(lambda ours: ours.half_close(stream_id))

    def respond(self, stream_id: int, number: int, size: int) -> None:
        """The server's headers, sometimes those of another kind of server."""
        headers = _ANSWER if number % 9 else [(":status", "503"), ("content-type", "text/html")]
        if stream_id in self.unanswered:
            self.unanswered.remove(stream_id)
            self.foreign.send_headers(stream_id, headers)
            self.talking.add(stream_id)

    def finish(self, stream_id: int, number: int, size: int) -> None:
        """The server ends the call."""
        if stream_id not in self.talking:
            return
        self.talking.remove(stream_id)
        self.foreign.send_headers(stream_id, [("grpc-status", str(number % 20))], end_stream=True)

    def trailers_only(self, stream_id: int, number: int, size: int) -> None:
        """The server answers with a status alone."""
        if stream_id not in self.unanswered:
            return
        self.unanswered.remove(stream_id)
        self.foreign.send_headers(stream_id, [*_ANSWER, ("grpc-status", str(number % 17))], end_stream=True)

    def interim(self, stream_id: int, number: int, size: int) -> None:
        """An interim answer."""
        if stream_id in self.unanswered:
            self.foreign.send_headers(stream_id, [(":status", "103")])

    def leave(self, stream_id: int, number: int, size: int) -> None:
        """A graceful GOAWAY, after which the server goes on, as real ones do and plain h2 does not."""
        self.foreign.close_connection(ErrorCodes.NO_ERROR, last_stream_id=self.calls[-1])
        self.foreign.state_machine.state = ConnectionState.SERVER_OPEN


def replay(steps: Sequence[Step], ours: Connection, sizes: Sequence[int] = ()) -> Iterator[tuple[list[Event], bytes]]:
    """
    Let another end go through the same, its bytes cut into pieces of `sizes` in turn (whole without sizes).

    Yields what it reported and sent after each step.
    """
    turn = 0
    for step in steps:
        events: list[Event] = []
        sent = b""
        if not isinstance(step, bytes):
            step(ours)
        elif not sizes:
            events = ours.receive(step)
        else:
            position = 0
            while position < len(step):
                size = sizes[turn % len(sizes)]
                turn += 1
                events += ours.receive(step[position : position + size])
                sent += ours.outgoing()
                position += size
        yield events, sent + ours.outgoing()
