"""Bare HTTP/2 peers over real sockets, which say exactly what a test tells them, to compare how others react."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from h2 import events
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from txdagu.testing.wire import foreign_client, foreign_server
from txdagu.wire.metadata import Header


@dataclass
class Answer:
    """How a server answered one request: `http`, `status` and `message` are None if they never came."""

    headers: list[Header] = field(default_factory=list)
    trailers: list[Header] = field(default_factory=list)
    data: bytes = b""
    reset: int | None = None
    goaway: int | None = None
    ended: bool = False

    def header(self, name: bytes) -> str | None:
        """A header's or trailer's value."""
        found = [value for key, value in [*self.headers, *self.trailers] if key == name]
        return found[0].decode("latin-1") if found else None

    @property
    def outcome(self) -> str:
        """In short: the gRPC status, else the HTTP status, else how the stream or the connection ended."""
        status, http = self.header(b"grpc-status"), self.header(b":status")
        if status is not None:
            return f"status {status}"
        if http is not None and http != "200":
            return f"http {http}"
        if self.reset is not None:
            return f"reset {self.reset}"
        if self.goaway is not None:
            return f"goaway {self.goaway}"
        return "ended without status" if self.ended else "closed"


def ask(port: int, headers: Iterable[Header], *data: bytes, end: bool = True, seconds: float = 10) -> Answer:
    """Send one request on a connection of its own, and wait for the whole answer. Blocks."""
    connection, answer = foreign_client(), Answer()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        connection.send_headers(1, list(headers), end_stream=end and not data)
        for index, piece in enumerate(data):
            connection.send_data(1, piece, end_stream=end and index == len(data) - 1)
        sock.sendall(connection.data_to_send())
        while not answer.ended and answer.reset is None and answer.goaway is None:
            received = sock.recv(65536)
            if not received:
                break
            for event in connection.receive_data(received):
                _note(answer, event)
            sock.sendall(connection.data_to_send())
    return answer


def _note(answer: Answer, event: events.Event) -> None:
    match event:
        case events.ResponseReceived():
            answer.headers = list(event.headers)
        case events.TrailersReceived():
            answer.trailers = list(event.headers)
        case events.DataReceived():
            answer.data += event.data
        case events.StreamEnded():
            answer.ended = True
        case events.StreamReset():
            answer.reset = int(event.error_code or 0)
        case events.ConnectionTerminated():
            answer.goaway = int(event.error_code or 0)


Script = Callable[[H2Connection, int], None]


class RawServer:
    """
    Answers each request by the script for its path: a function that is given the connection and the stream's number.

    A context manager; `port` is where it listens. Runs in threads.
    """

    def __init__(self, scripts: dict[str, Script]) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client has closed it
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        connection = foreign_server()
        paths: dict[int, str] = {}
        with sock:
            try:
                sock.sendall(connection.data_to_send())
                while data := sock.recv(65536):
                    for event in connection.receive_data(data):
                        match event:
                            case events.RequestReceived():
                                path = dict(event.headers)[b":path"]
                                paths[event.stream_id] = path.decode()
                            case events.StreamEnded():
                                self._scripts[paths[event.stream_id]](connection, event.stream_id)
                    sock.sendall(connection.data_to_send())
            except (OSError, ProtocolError):
                return  # the client has gone, as it may
