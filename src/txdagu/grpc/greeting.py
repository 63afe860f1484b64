"""An HTTP/2 client's greeting, and what the answer to it says about who answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from h2.events import ConnectionTerminated, PingAckReceived, RemoteSettingsChanged
from h2.settings import SettingCodes
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.tls_sight import TLS_ALERT, TLS_HANDSHAKE, TlsFacts, TlsSight, ssl_words
from txdagu.wire.http2 import Http2Connection, PeerError
from txdagu.wire.outcome import reset_name

_PING = b"txdagu\x00\x02"
_SHOWN_BYTES = 24
# Old web servers answer what they do not understand with a bare page.
_PAGES = (b"<!doc", b"<html")


class Answer(Enum):
    """How a port reacted to the greeting."""

    HTTP2 = "HTTP/2"
    HTTP1 = "HTTP/1"
    TLS = "a TLS alert to a greeting in clear text"
    CLEAR = "clear text to a TLS greeting"
    REFUSED = "a TLS alert to a TLS greeting"
    OTHER = "something else"
    CLOSED = "the connection was closed"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an HTTP/2 server allows its clients (RFC 9113 section 6.5.2), in bytes but for the streams; None means no limit."""

    concurrent_streams: int | None
    window: int
    frame_size: int
    header_list_size: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What came back. `detail` has the peer's own words or first bytes where there are any.

    `limits` and `round_trip` (seconds, of a PING) are there once HTTP/2 was spoken, `tls` if TLS was tried.
    """

    answer: Answer
    detail: str = ""
    limits: Limits | None = None
    round_trip: float | None = None
    tls: TlsFacts | None = None


@implementer(IHandshakeListener)
class Greeting(Protocol):
    """Says hello as an HTTP/2 client and fires `reply` once."""

    def __init__(self, clock: IReactorTime, now: Callable[[], float], timeout: float, seen: TlsSight | None) -> None:
        self.reply: Deferred[Reply] = Deferred()
        self._now = now
        self._seen = seen
        self._http2 = Http2Connection(client_side=True)
        self._received = bytearray()
        self._limits: Limits | None = None
        self._asked_at = 0.0
        self._complete = False
        self._words = ""
        self._timer = clock.callLater(timeout, self._silent)

    def connectionMade(self) -> None:
        """In clear text the client speaks first."""
        if self._seen is None:
            self._greet()

    def handshakeCompleted(self) -> None:
        """Over TLS it speaks when the handshake is done. The server may still refuse us after that."""
        self._complete = True
        self._greet()

    def _greet(self) -> None:
        self._http2.start()
        self._write()

    def _write(self) -> None:
        data = self._http2.data_to_send()
        if data and self.transport is not None:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Look for an HTTP/2 server's words."""
        if self.reply.called:
            return
        self._received += data
        if self._limits is None and self._is_strange():
            return
        try:
            for event in self._http2.events(data):
                if isinstance(event, RemoteSettingsChanged) and self._limits is None:
                    self._ready()
                elif isinstance(event, PingAckReceived) and event.ping_data == _PING:
                    self._end(Answer.HTTP2, round_trip=self._now() - self._asked_at)
                    return
                elif isinstance(event, ConnectionTerminated):
                    words = (event.additional_data or b"").decode("utf-8", "replace")
                    self._words = f"GOAWAY {reset_name(int(event.error_code or 0))}" + (f' "{words}"' if words else "")
        except PeerError:
            self._end(Answer.OTHER, _excerpt(self._received))
            return
        self._write()

    def _is_strange(self) -> bool:
        start = bytes(self._received[:9])
        if start.startswith(b"HTTP/1") or start[:5].lower() in _PAGES:
            self._end(Answer.HTTP1, _first_line(self._received))
        elif self._seen is None and len(start) >= 2 and start[0] == TLS_ALERT and start[1] == 3:
            self._end(Answer.TLS)
        elif len(start) >= 4 and start[3] != 4:  # the first frame must be SETTINGS (RFC 9113 section 3.4)
            self._end(Answer.OTHER, _excerpt(self._received))
        return self.reply.called

    def _ready(self) -> None:
        remote = self._http2.remote_settings
        self._limits = Limits(
            concurrent_streams=remote.get(SettingCodes.MAX_CONCURRENT_STREAMS),
            window=remote.initial_window_size,
            frame_size=remote.max_frame_size,
            header_list_size=remote.max_header_list_size,
        )
        self._http2.ping(_PING)
        self._asked_at = self._now()

    def _silent(self) -> None:
        if self._limits is not None:
            self._end(Answer.HTTP2)  # it speaks HTTP/2, though it answers no PING
        elif self._received:
            self._end(Answer.OTHER, _excerpt(self._received))
        else:
            self._end(Answer.SILENCE)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say why, as far as the peer told."""
        error = reason.value
        if self._received and self._limits is None:
            self._end(Answer.OTHER, _excerpt(self._received))
        elif isinstance(error, SSL.Error):
            clear = self._seen is not None and self._seen.first_byte not in (None, TLS_HANDSHAKE, TLS_ALERT)
            self._end(Answer.CLEAR if clear else Answer.REFUSED, ssl_words(error))
        else:
            plain = isinstance(error, ConnectionDone | ConnectionLost)
            self._end(Answer.CLOSED, self._words or ("" if plain else reason.getErrorMessage().rstrip(".")))

    def _end(self, answer: Answer, detail: str = "", round_trip: float | None = None) -> None:
        if self.reply.called:
            return
        if self._timer.active():
            self._timer.cancel()
        tls = None if self._seen is None else self._seen.facts(self._complete)
        self.reply.callback(Reply(answer, detail, self._limits, round_trip, tls))
        self.give_up()

    def give_up(self) -> None:
        """Nothing more is wanted of this connection."""
        if self._timer.active():
            self._timer.cancel()
        transport, self.transport = self.transport, None
        if transport is not None:
            getattr(transport, "abortConnection", transport.loseConnection)()


def _first_line(data: bytes | bytearray) -> str:
    """At most 80 characters of it; what is no ASCII becomes question marks."""
    return re.split(rb"[\r\n]", data, maxsplit=1)[0][:80].decode("ascii", "replace").replace("\ufffd", "?").strip()


def _excerpt(data: bytes | bytearray) -> str:
    """The first line if it is text, else the first bytes in hexadecimal."""
    line = _first_line(data)
    if line and line.isprintable() and "?" not in line:
        return f'"{line}"'
    return bytes(data[:_SHOWN_BYTES]).hex(" ") + ("…" if len(data) > _SHOWN_BYTES else "")
