"""
What is behind an address: an HTTP/2 client's greeting is sent, in clear or over TLS, and whatever comes back is told.

Nothing is verified and nothing is refused here, so that everything that is wrong can be seen at once; `txdagu.grpc.trust` judges
the certificates. Connections for calls are made by `txdagu.grpc.channel`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from cryptography import x509
from h2.events import ConnectionTerminated, PingAckReceived, RemoteSettingsChanged
from h2.settings import SettingCodes
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from txdagu.grpc.certificates import Identity, ascii_name
from txdagu.model.addresses import ip_version
from txdagu.wire.http2 import Http2Connection, PeerError
from txdagu.wire.outcome import reset_name

ALPN = b"h2"
_PING = b"txdagu\x00\x02"
_TLS_HANDSHAKE, _TLS_ALERT = 0x16, 0x15
# The name that OpenSSL gives to the state in which a client has just been asked for its certificate.
_ASKED = b"read server certificate request"
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


@dataclass(slots=True)
class TlsFacts:
    """
    What the TLS handshake brought to light. `chain` are the server's certificates as it sent them, its own first.

    `asked` tells whether the server asked for our certificate, `issuers` whose certificates it takes (it need not say). `alpn` is
    the protocol that was agreed on, empty without any.
    """

    complete: bool = False
    version: str = ""
    alpn: str = ""
    chain: tuple[x509.Certificate, ...] = ()
    asked: bool = False
    issuers: tuple[str, ...] = ()


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


@dataclass(slots=True)
class _Seen:
    """What a TLS connection saw on its way."""

    connection: SSL.Connection | None = None
    first_byte: int | None = None
    asked: bool = False

    def facts(self, complete: bool) -> TlsFacts:
        """What is known now."""
        connection = self.connection
        if connection is None:
            return TlsFacts()
        chain = connection.get_peer_cert_chain(as_cryptography=True)
        return TlsFacts(
            complete=complete,
            version=connection.get_protocol_version_name(),
            alpn=connection.get_alpn_proto_negotiated().decode("ascii", "replace"),
            chain=tuple(chain or ()),
            asked=self.asked,
            issuers=tuple(_distinguished(name) for name in connection.get_client_ca_list()),
        )


def _distinguished(name: Any) -> str:
    return ",".join(f"{key.decode()}={value.decode('utf-8', 'replace')}" for key, value in name.get_components())


@implementer(IOpenSSLClientConnectionCreator)
class _Curious:
    """Makes TLS connections that believe everything and remember what they saw."""

    def __init__(self, host: str, identity: Identity | None, seen: _Seen) -> None:
        self._host = host
        self._seen = seen
        own: dict[str, Any] = {}
        if identity is not None:
            own = {
                "privateKey": identity.key,
                "certificate": identity.chain[0],
                "extraCertChain": list(identity.chain[1:]),
            }
        self._context = CertificateOptions(**own).getContext()
        self._context.set_alpn_protos([ALPN])
        self._context.set_info_callback(self._progress)

    def _progress(self, connection: SSL.Connection, _where: int, _result: int) -> None:
        if _ASKED in connection.get_state_string():
            self._seen.asked = True

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802 - of the interface
        """One connection; names (not addresses) are told to the server, as clients do."""
        connection = self._seen.connection = SSL.Connection(self._context, None)
        if ip_version(self._host) is None:
            connection.set_tlsext_host_name(ascii_name(self._host).encode("ascii"))
        return connection


def _watching(seen: _Seen) -> type[BufferingTLSTransport]:
    class Watching(BufferingTLSTransport):
        """Looks at the first byte below TLS, which tells whether the peer speaks TLS at all."""

        def dataReceived(self, data: bytes) -> None:
            if seen.first_byte is None and data:
                seen.first_byte = data[0]
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    return Watching


@implementer(IHandshakeListener)
class _Greeting(Protocol):
    """Says hello as an HTTP/2 client and fires `reply` once."""

    def __init__(self, clock: IReactorTime, now: Callable[[], float], timeout: float, seen: _Seen | None) -> None:
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
        elif self._seen is None and len(start) >= 2 and start[0] == _TLS_ALERT and start[1] == 3:
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
            clear = self._seen is not None and self._seen.first_byte not in (None, _TLS_HANDSHAKE, _TLS_ALERT)
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


class _Once(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._made = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._made


def ssl_words(error: SSL.Error) -> str:
    """The last reason in an OpenSSL error, without the prefix that says who wrote it."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reason = str(entries[-1][2]) if entries else ""
    for prefix in ("tlsv1 alert ", "tlsv13 alert ", "ssl/tls alert ", "sslv3 alert ", "tls alert "):
        reason = reason.removeprefix(prefix)
    return reason


def _first_line(data: bytes | bytearray) -> str:
    """At most 80 characters of it; what is no ASCII becomes question marks."""
    return re.split(rb"[\r\n]", data, maxsplit=1)[0][:80].decode("ascii", "replace").replace("\ufffd", "?").strip()


def _excerpt(data: bytes | bytearray) -> str:
    """The first line if it is text, else the first bytes in hexadecimal."""
    line = _first_line(data)
    if line and line.isprintable() and "?" not in line:
        return f'"{line}"'
    return bytes(data[:_SHOWN_BYTES]).hex(" ") + ("…" if len(data) > _SHOWN_BYTES else "")


@dataclass(frozen=True, slots=True)
class Prober:
    """
    Asks one address at a time. `dial` makes an endpoint from an IP address and a port, `now` is a monotonic clock.

    Every question takes at most `timeout` seconds.
    """

    dial: Callable[[str, int], IStreamClientEndpoint]
    clock: IReactorTime
    now: Callable[[], float]
    timeout: float = field(default=5.0)

    async def tcp(self, address: str, port: int) -> float:
        """Seconds until the connection stood; it is closed at once. Raises what the endpoint raises, and TimeoutError."""
        began = self.now()
        protocol = await self._connect(address, port, _Once(Protocol()))
        took = self.now() - began
        transport = protocol.transport
        getattr(transport, "abortConnection", transport.loseConnection)()
        return took

    async def greet(self, address: str, port: int) -> Reply:
        """What it says to HTTP/2 in clear text (RFC 9113 section 3.3)."""
        return await self._greet(address, port, None, None)

    async def greet_tls(self, address: str, port: int, host: str, identity: Identity | None) -> Reply:
        """What it says to TLS and to HTTP/2 in it. `host` is the name by which clients dial it."""
        seen = _Seen()
        return await self._greet(address, port, seen, _Curious(host, identity, seen))

    async def _greet(self, address: str, port: int, seen: _Seen | None, creator: _Curious | None) -> Reply:
        greeting = _Greeting(self.clock, self.now, self.timeout, seen)
        factory: Any = _Once(greeting)
        if creator is not None and seen is not None:
            factory = TLSMemoryBIOFactory(creator, True, factory, clock=self.clock)
            factory.protocol = _watching(seen)
            factory.noisy = False
        try:
            await self._connect(address, port, factory)
            return await greeting.reply
        except (ConnectError, DeferredTimeoutError) as error:
            return Reply(Answer.CLOSED, str(error).rstrip(".") or "no connection came about")
        finally:
            greeting.give_up()

    async def _connect(self, address: str, port: int, factory: Any) -> Any:
        attempt = self.dial(address, port).connect(factory)
        attempt.addTimeout(self.timeout, cast("Any", self.clock))
        return await attempt
