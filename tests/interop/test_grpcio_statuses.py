"""How calls end, compared with grpcio: all statuses, awkward texts, and what broken peers are taken to mean."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from h2.connection import H2Connection

from txdagu.grpc.server import CallContext
from txdagu.testing.echo import ECHO, echo_method
from txdagu.testing.interop import interop_pb2 as pb
from txdagu.testing.interop.foreign import ForeignInteropService
from txdagu.testing.interop.methods import FULL_DUPLEX_CALL, UNARY_CALL
from txdagu.testing.interop.service import InteropService
from txdagu.testing.rawpeer import RawServer, Script, ask
from txdagu.testing.sockets import SocketTestCase
from txdagu.wire.framing import encode_frame
from txdagu.wire.metadata import Header
from txdagu.wire.status import RpcError, StatusCode

TEXTS = [
    "",
    " ",
    " both ends ",
    "100 %",
    "%41 is no escape",
    "%",
    "grüße ☺ \U0001f608",
    "\x00\x01\x1f\x7f\x80\xff",
    "\r\n\t",
    'a,b;c="d"\'e\\',
    "x" * 4000,
    "ü" * 1000,
]
MESSAGE = encode_frame(b"hello")
REQUEST: list[Header] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", ECHO.path.encode()),
    (b":authority", b"x"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
REPLY: list[Header] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
OK: list[Header] = [(b"grpc-status", b"0")]


class StatusTests(SocketTestCase):
    """Every status code with every text."""

    def status(self, number: int, text: str) -> pb.EchoStatus:
        """What a request asks to be answered with."""
        return pb.EchoStatus(code=number, message=text)

    async def test_from_foreign_server(self) -> None:
        """Each code of grpcio's server is the same code here, with its text."""
        channel = self.dial(self.serve_foreign(ForeignInteropService()))
        for code in StatusCode:
            if code is StatusCode.OK:
                continue
            request = pb.SimpleRequest(response_status=self.status(code, f"why {code}"))
            error = await status_of(channel.unary(UNARY_CALL, request))
            self.assertEqual((error.code, error.message), (code, f"why {code}"))
        for text in TEXTS:
            request = pb.SimpleRequest(response_status=self.status(5, text))
            error = await status_of(channel.unary(UNARY_CALL, request))
            self.assertEqual((error.code, error.message), (StatusCode.NOT_FOUND, text))

    async def test_to_foreign_client(self) -> None:
        """Each code of our server is the same code for grpcio's client, with its text, before and after a first response."""
        _, port = await self.serve(InteropService())
        channel = self.dial_foreign(port)
        unary = channel.unary_unary(UNARY_CALL.path, UNARY_CALL.encode_request)
        duplex = channel.stream_stream(FULL_DUPLEX_CALL.path, FULL_DUPLEX_CALL.encode_request)
        codes = {code.value[0]: code for code in grpc.StatusCode}

        def check() -> None:
            for number, text in [(number, f"why {number}") for number in range(1, 17)] + [(5, text) for text in TEXTS]:
                status = self.status(number, text)
                with self.assertRaises(grpc.RpcError) as early:
                    unary(pb.SimpleRequest(response_status=status))
                first = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=1)])
                call = duplex(iter([first, pb.StreamingOutputCallRequest(response_status=status)]))
                next(call)
                with self.assertRaises(grpc.RpcError) as late:
                    next(call)
                for error in (early.exception, late.exception):
                    self.assertEqual((error.code(), error.details()), (codes[number], text))

        await self.in_thread(check)

    async def test_ok(self) -> None:
        """The seventeenth code is success, also for streams without messages."""
        ours, (_, port) = self.dial(self.serve_foreign(ForeignInteropService())), await self.serve(InteropService())
        self.assertEqual(await ours.unary(UNARY_CALL, pb.SimpleRequest()), pb.SimpleResponse(payload=pb.Payload()))
        foreign = self.dial_foreign(port).unary_unary(UNARY_CALL.path)
        _, call = await self.in_thread(foreign.with_call, b"")
        self.assertEqual((call.code(), call.details()), (grpc.StatusCode.OK, ""))

    async def test_trailers_only(self) -> None:
        """An error before the first response is one block of headers; its metadata is trailing metadata at both clients."""
        _, port = await self.serve(Failing())
        answer = await self.in_thread(ask, port, REQUEST, MESSAGE)
        self.assertEqual((answer.trailers, answer.data, answer.header(b"grpc-status")), ([], b"", "9"))
        call = self.dial_foreign(port).unary_unary(ECHO.path).future(b"")
        await self.in_thread(call.code)
        self.assertEqual([tuple(pair) for pair in call.initial_metadata()], [])
        self.assertEqual([tuple(pair) for pair in call.trailing_metadata()], [("early", "1"), ("late", "2")])
        stream = self.dial(port).unary_stream(ECHO, b"")
        await status_of(anext(stream))
        self.assertEqual(stream.initial_metadata.pairs, ())
        self.assertEqual(stream.trailing_metadata.pairs, (("early", "1"), ("late", "2")))


class Failing:
    """Answers with metadata and an error."""

    def handlers(self) -> Any:
        """See `GrpcService`."""
        return {ECHO: self.echo}

    async def echo(self, _request: bytes, context: CallContext) -> bytes:
        """Fail."""
        context.set_initial_metadata({"early": "1"})
        context.set_trailing_metadata({"late": "2"})
        raise RpcError(StatusCode.FAILED_PRECONDITION, "no")


async def status_of(call: Awaitable[Any]) -> RpcError:
    """The error of a call that must fail."""
    try:
        await call
    except RpcError as error:
        return error
    raise AssertionError("the call succeeded")


class Responder:
    """Says how much time a call has left, to the nearest ten seconds."""

    def handlers(self) -> Any:
        """See `GrpcService`."""
        return {ECHO: self.echo}

    async def echo(self, _request: bytes, context: CallContext) -> bytes:
        """Answer."""
        remaining = context.time_remaining()
        return b"" if remaining is None else b"%d" % round(remaining, -1)


class ForeignResponder(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The same for grpcio, where no deadline is one in a far future."""

    def service(self, details: Any) -> Any:
        """Find a method."""
        return {ECHO.path: grpc.unary_unary_rpc_method_handler(self.echo)}.get(details.method)

    def echo(self, _request: bytes, context: Any) -> bytes:
        """Answer."""
        remaining = context.time_remaining()
        return b"" if remaining is None or remaining > 1e15 else b"%d" % round(remaining, -1)


def with_header(name: bytes, value: bytes) -> list[Header]:
    """A request with one header more, or another value of one."""
    return [pair for pair in REQUEST if pair[0] != name] + [(name, value)]


class BrokenClientTests(SocketTestCase):
    """What our server and grpcio's answer to requests that grpcio's client would not send."""

    async def compare(self, requests: dict[str, tuple[list[Header], bytes]]) -> dict[str, tuple[str, str]]:
        """The outcomes at both servers."""
        _, ours = await self.serve(Responder())
        foreign = self.serve_foreign(ForeignResponder())

        def asking() -> dict[str, tuple[str, str]]:
            return {
                name: (outcome(ask(ours, headers, body)), outcome(ask(foreign, headers, body)))
                for name, (headers, body) in requests.items()
            }

        def outcome(answer: Any) -> str:
            return f"{answer.outcome} {answer.data[5:].decode()}".rstrip()

        return await self.in_thread(asking)  # type: ignore[no-any-return]

    async def test_timeouts(self) -> None:
        """``grpc-timeout`` is understood in every unit; what is none is INTERNAL, and no time at all DEADLINE_EXCEEDED."""
        expected = {
            "1H": "status 0 3600",
            "2M": "status 0 120",
            "100S": "status 0 100",
            "90000m": "status 0 90",
            "99999999u": "status 0 100",
            "00000070S": "status 0 70",
            "99999999H": "status 0 359999996400",
            "0S": "status 4",
            "0n": "status 4",
            **dict.fromkeys(["1", "S", "1s", "-1S", "1.5S", "1µ"], "status 13"),
        }
        requests = {text: (with_header(b"grpc-timeout", text.encode("latin-1")), MESSAGE) for text in expected}
        self.assertEqual(await self.compare(requests), {text: (outcome, outcome) for text, outcome in expected.items()})

    async def test_nanoseconds(self) -> None:
        """The finest unit holds at most a tenth of a second, which is a deadline that may pass before the answer."""
        seen = await self.compare({"n": (with_header(b"grpc-timeout", b"99999999n"), MESSAGE)})
        self.assertTrue(set(seen["n"]) <= {"status 0 0", "status 4"}, seen)

    async def test_timeouts_stricter_than_grpcio(self) -> None:
        """Nine digits and spaces are not in the protocol: INTERNAL here as in grpc-go, while grpcio lets them pass."""
        requests = {text: (with_header(b"grpc-timeout", text.encode()), MESSAGE) for text in ("123456789S", "50 S")}
        self.assertEqual(
            await self.compare(requests),
            {"123456789S": ("status 13", "status 0 123456790"), "50 S": ("status 13", "status 0 50")},
        )

    async def test_messages(self) -> None:
        """Compressed messages are read; those that cannot be are INTERNAL, as is a compressed one in a call without encoding."""
        good = gzip.compress(b"hello")
        zipped = with_header(b"grpc-encoding", b"gzip")
        requests = {
            "plain": (REQUEST, MESSAGE),
            "compressed": (zipped, encode_frame(good, compressed=True)),
            "not compressed after all": (zipped, MESSAGE),
            "no encoding": (REQUEST, encode_frame(good, compressed=True)),
            "identity": (with_header(b"grpc-encoding", b"identity"), encode_frame(good, compressed=True)),
            "no gzip": (zipped, encode_frame(b"hello", compressed=True)),
            "cut short": (zipped, encode_frame(good[:-4], compressed=True)),
            "two members": (zipped, encode_frame(good + good, compressed=True)),
            "bytes after it": (zipped, encode_frame(good + b"x", compressed=True)),
        }
        read = dict.fromkeys(["plain", "compressed", "not compressed after all"], ("status 0", "status 0"))
        refused = dict.fromkeys(requests, ("status 13", "status 13"))
        self.assertEqual(await self.compare(requests), {**refused, **read})

    async def test_number_of_requests(self) -> None:
        """Not exactly one whole request for a unary call is an error; the codes differ, as those of grpc-go and C core do."""
        requests = {"none": (REQUEST, b""), "cut short": (REQUEST, MESSAGE[:-1]), "two": (REQUEST, MESSAGE * 2)}
        self.assertEqual(
            await self.compare(requests),
            {
                "none": ("status 13", "status 12"),
                "cut short": ("status 13", "status 12"),
                "two": ("status 13", "status 0"),
            },
        )

    async def test_metadata(self) -> None:
        """Binary metadata may be padded, bare or empty; what is no base64 is INTERNAL, the URL alphabet included."""
        expected = {b"AAE=": 0, b"AAE": 0, b"": 0, b"!!": 13, b"A": 13, b"AA E": 13, b"-_8": 13}
        requests = {value.decode(): (with_header(b"x-bin", value), MESSAGE) for value in expected}
        outcomes = {value.decode(): (f"status {code}", f"status {code}") for value, code in expected.items()}
        self.assertEqual(await self.compare(requests), outcomes)

    async def test_joined_binary_metadata(self) -> None:
        """Binary values joined with a comma are taken apart, as the protocol demands; grpcio does not."""
        requests = {"joined": (with_header(b"x-bin", b"AAE,AAI"), MESSAGE)}
        self.assertEqual(await self.compare(requests), {"joined": ("status 0", "status 13")})

    async def test_unknown_methods(self) -> None:
        """Whatever a path says, it is UNIMPLEMENTED when nothing is there."""
        paths = ["/test.Echo/Nothing", "/test.Echo/", "/nothing", "//Echo", "/a/b/c", "/"]
        requests = {path: (with_path(path), MESSAGE) for path in paths}
        self.assertEqual(await self.compare(requests), dict.fromkeys(paths, ("status 12", "status 12")))


def with_path(path: str) -> list[Header]:
    """A request for another path."""
    return [(name, path.encode() if name == b":path" else value) for name, value in REQUEST]


def reply(headers: list[Header], data: bytes, trailers: list[Header] | None) -> Script:
    """Answer with headers, data, and trailers or a bare end."""

    def run(connection: H2Connection, stream: int) -> None:
        connection.send_headers(stream, headers)
        connection.send_data(stream, data, end_stream=trailers is None)
        if trailers is not None:
            connection.send_headers(stream, trailers, end_stream=True)

    return run


def only(*headers: Header) -> Script:
    """Answer with headers alone."""
    return lambda connection, stream: connection.send_headers(stream, headers, end_stream=True)


def reset(code: int, before: Script | None = None) -> Script:
    """Reset the stream, perhaps after something else."""

    def run(connection: H2Connection, stream: int) -> None:
        if before is not None:
            before(connection, stream)
        connection.reset_stream(stream, code)

    return run


class BrokenServerTests(SocketTestCase):
    """What our client and grpcio's make of answers that no gRPC server should give."""

    async def compare(self, scripts: dict[str, Script]) -> dict[str, tuple[str, str]]:
        """The statuses at both clients, ours first."""
        seen = {}
        with RawServer({f"/test.Echo/{name}": script for name, script in scripts.items()}) as server:
            channel, foreign = self.dial(server.port), self.dial_foreign(server.port)

            def ask_foreign(path: str) -> str:
                _, call = foreign.unary_unary(path).with_call(b"", timeout=10)
                return str(call.code().name)

            for name in scripts:
                method = echo_method(name)
                try:
                    await channel.unary(method, b"", timeout=10)
                    ours = "OK"
                except RpcError as error:
                    ours = error.code.name
                try:
                    theirs = await self.in_thread(ask_foreign, method.path)
                except grpc.RpcError as error:
                    theirs = error.code().name
                seen[name] = (ours, theirs)
        return seen

    async def check_same(self, scripts: dict[str, Script], expected: Callable[[str], str] | dict[str, str]) -> None:
        """Both clients must come to the expected status."""
        find = expected.__getitem__ if isinstance(expected, dict) else expected
        self.assertEqual(await self.compare(scripts), {name: (find(name), find(name)) for name in scripts})

    async def test_http_statuses(self) -> None:
        """An answer that has only an HTTP status is mapped as the protocol says; with a ``grpc-status`` that one counts."""
        known = {400: "INTERNAL", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED"}
        known |= dict.fromkeys([429, 502, 503, 504], "UNAVAILABLE")
        codes = [204, 302, 400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 500, 501, 502, 503, 504, 505, 599, 999]
        scripts: dict[str, Script] = {}
        expected: dict[str, str] = {}
        for code in codes:
            page: list[Header] = [(b":status", b"%d" % code), (b"content-type", b"text/html")]
            scripts |= {f"{code}": only(*page), f"{code}-page": reply(page, b"<html>", None)}
            scripts[f"{code}-status"] = only(page[0], REPLY[1], (b"grpc-status", b"5"))
            expected |= dict.fromkeys([f"{code}", f"{code}-page"], known.get(code, "UNKNOWN"))
            expected[f"{code}-status"] = "NOT_FOUND"
        await self.check_same(scripts, expected)

    async def test_resets(self) -> None:
        """Each code of RST_STREAM means the same status, before the answer, after its headers and after a message."""
        names = {7: "UNAVAILABLE", 8: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED"}
        scripts: dict[str, Script] = {}
        for code in range(15):
            scripts[f"{code}-early"] = reset(code)
            scripts[f"{code}-headers"] = reset(code, lambda connection, stream: connection.send_headers(stream, REPLY))
            scripts[f"{code}-message"] = reset(code, half_answer)
        await self.check_same(scripts, lambda name: names.get(int(name.split("-")[0]), "INTERNAL"))

    async def test_statuses(self) -> None:
        """Numbers beyond the known ones are UNKNOWN, alone or in trailers; an answer without any status is UNKNOWN too."""
        scripts: dict[str, Script] = {}
        for number in (17, 99):
            status = (b"grpc-status", b"%d" % number)
            scripts |= {f"{number}": only(*REPLY, status), f"{number}-trailers": reply(REPLY, MESSAGE, [status])}
        scripts |= {
            "no-trailers": reply(REPLY, MESSAGE, None),
            "only-headers": only(*REPLY),
            "trailers-without-status": reply(REPLY, MESSAGE, [(b"x", b"y")]),
        }
        await self.check_same(scripts, lambda _: "UNKNOWN")

    async def test_unreadable_statuses(self) -> None:
        """A status that is no number is UNKNOWN here, as the protocol says; grpcio finds it INTERNAL."""
        scripts = {
            f"s{text}": only(*REPLY, (b"grpc-status", text.encode())) for text in ("-1", "abc", "", "2147483648")
        }
        self.assertEqual(await self.compare(scripts), dict.fromkeys(scripts, ("UNKNOWN", "INTERNAL")))

    async def test_unreadable_answers(self) -> None:
        """Damaged metadata and damaged compression are INTERNAL; a status with an answer cut short is that status."""
        bad = (b"x-bin", b"!!")
        packed = [*REPLY, (b"grpc-encoding", b"gzip")]
        scripts = {
            "initial": reply([*REPLY, bad], MESSAGE, OK),
            "trailing": reply(REPLY, MESSAGE, [*OK, bad]),
            "damaged": reply(packed, encode_frame(b"zzz", compressed=True), OK),
            "no-encoding": reply(REPLY, encode_frame(gzip.compress(b"x"), compressed=True), OK),
            "cut-short": reply(REPLY, MESSAGE[:-1], [(b"grpc-status", b"5")]),
            "fine": reply(packed, encode_frame(gzip.compress(b"x"), compressed=True), OK),
        }
        await self.check_same(scripts, {**dict.fromkeys(scripts, "INTERNAL"), "cut-short": "NOT_FOUND", "fine": "OK"})

    async def test_number_of_responses(self) -> None:
        """A unary call whose OK has no response, or half of one, is an error here; grpcio returns None for it."""
        scripts = {"none": reply(REPLY, b"", OK), "half": reply(REPLY, MESSAGE[:-1], OK), "only": only(*REPLY, *OK)}
        self.assertEqual(await self.compare(scripts), dict.fromkeys(scripts, ("INTERNAL", "OK")))

    async def test_leaving(self) -> None:
        """A call that was answered before a GOAWAY succeeds."""

        def run(connection: H2Connection, stream: int) -> None:
            reply(REPLY, MESSAGE, OK)(connection, stream)
            connection.close_connection(0, last_stream_id=stream)

        await self.check_same({"leaving": run}, {"leaving": "OK"})


def half_answer(connection: H2Connection, stream: int) -> None:
    """Headers and a message."""
    connection.send_headers(stream, REPLY)
    connection.send_data(stream, MESSAGE)
