"""The small codecs: timeouts, metadata, framing, compression, statuses."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.wire.compression import check_encoding, compress, decompress, is_accepted
from txdagu.wire.framing import Frame, FrameReader, encode_frame
from txdagu.wire.metadata import (
    InvalidMetadataError,
    ReceivedMetadata,
    decode_message,
    decode_metadata,
    encode_message,
    encode_metadata,
)
from txdagu.wire.outcome import from_http_status, from_reset, from_trailers
from txdagu.wire.status import RpcError, StatusCode
from txdagu.wire.timeout import encode_timeout, parse_timeout


class Timeouts(SynchronousTestCase):
    """``grpc-timeout``."""

    def test_units(self) -> None:
        """Every unit means what the protocol says."""
        for text, seconds in {b"5n": 5e-9, b"5u": 5e-6, b"5m": 5e-3, b"5S": 5, b"5M": 300, b"5H": 18000}.items():
            self.assertAlmostEqual(parse_timeout(text), seconds, places=12)

    def test_dispatch_timeout(self) -> None:
        """Five minutes are sent as the reference program sends them."""
        self.assertEqual(encode_timeout(300), b"300000m")

    def test_malformed(self) -> None:
        """Nine digits, no digits, signs and unknown units are refused."""
        for text in (b"", b"S", b"5", b"123456789S", b"-1S", b"+1S", b"1.5S", b"5s", b" 5S", b"5S "):
            self.assertRaises(ValueError, parse_timeout, text)

    def test_extremes(self) -> None:
        """What is over is zero; what is too long is the longest there is."""
        self.assertEqual(encode_timeout(-1), b"0n")
        self.assertEqual(encode_timeout(1e20), b"99999999H")

    @given(st.floats(min_value=1e-9, max_value=3e11))
    def test_round_trip(self, seconds: float) -> None:
        """No more than eight digits, never shorter than asked, and off by less than one unit in a million or a nanosecond."""
        header = encode_timeout(seconds)
        self.assertLessEqual(len(header), 9)
        read = parse_timeout(header)
        self.assertGreaterEqual(read, seconds * (1 - 1e-9))
        self.assertLess(read - seconds, max(seconds * 1e-5, 1e-9))


class MetadataTests(SynchronousTestCase):
    """Keys, values, messages."""

    @given(
        st.dictionaries(
            st.from_regex(r"[a-z0-9_.]{1,12}", fullmatch=True).filter(
                lambda key: key not in ("te", "host", "connection")
            ),
            st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.strip),
        ),
        st.dictionaries(
            st.from_regex(r"[a-z]{1,9}-bin", fullmatch=True).filter(lambda k: not k.startswith("grpc-")), st.binary()
        ),
    )
    def test_round_trip(self, texts: dict[str, str], binaries: dict[str, bytes]) -> None:
        """Whatever may be sent is read back unchanged."""
        metadata: dict[str, str | bytes] = {**texts, **binaries}
        self.assertEqual(decode_metadata(encode_metadata(metadata)), metadata)

    def test_refused(self) -> None:
        """What may not be sent is named."""
        refused: dict[str, str | bytes] = {
            "Upper": "x",
            "grpc-x": "x",
            "": "x",
            "a b": "x",
            "te": "x",
            "a": "\n",
            "b": "ü",
            "c": b"x",
            "d": " x",
            "e": "x ",
            "f": " ",
        }
        for key, value in refused.items():
            with self.assertRaises(InvalidMetadataError) as caught:
                encode_metadata({key: value})
            self.assertIn(repr(key), str(caught.exception))
        self.assertRaises(InvalidMetadataError, encode_metadata, {"x-bin": "text"})

    def test_received(self) -> None:
        """Protocol headers are left out, repeated texts joined, padding in binary values may be there or not."""
        headers = [(b":path", b"/a/b"), (b"grpc-timeout", b"1S"), (b"te", b"trailers"), (b"a", b"1"), (b"a", b"2")]
        headers += [(b"b-bin", b"AAE="), (b"c-bin", b"AAE")]
        self.assertEqual(decode_metadata(headers), {"a": "1,2", "b-bin": b"\x00\x01", "c-bin": b"\x00\x01"})
        self.assertRaises(InvalidMetadataError, decode_metadata, [(b"d-bin", b"\xff!")])

    def test_repeated_keys(self) -> None:
        """Every value of a repeated key is kept, those of a binary key also when a proxy has joined them with commas."""
        pairs: list[tuple[str, str | bytes]] = [("a", "1"), ("b-bin", b"\x00,"), ("a", ""), ("b-bin", b"")]
        received = decode_metadata(encode_metadata(pairs))
        self.assertEqual(received.pairs, tuple(pairs))
        self.assertEqual((received.get_all("a"), received.get_all("b-bin")), (("1", ""), (b"\x00,", b"")))
        self.assertEqual((received["a"], received["b-bin"]), ("1,", b"\x00,"))
        self.assertEqual((len(received), list(received), received.get_all("c")), (2, ["a", "b-bin"], ()))
        self.assertRaises(KeyError, lambda: received["c"])
        self.assertEqual(encode_metadata(received), encode_metadata(pairs))
        reordered = ReceivedMetadata([pairs[1], pairs[0], *pairs[2:]])
        self.assertEqual((received, hash(received)), (reordered, hash(reordered)))
        self.assertNotEqual(received, ReceivedMetadata([*pairs[:3], ("b-bin", b"x")]))
        joined = decode_metadata([(b"b-bin", b"AAE,AAI=, ,/w")])
        self.assertEqual(joined.get_all("b-bin"), (b"\x00\x01", b"\x00\x02", b"", b"\xff"))

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_messages(self, text: str) -> None:
        """Any text survives as printable ASCII."""
        encoded = encode_message(text)
        self.assertTrue(all(0x20 <= byte < 0x7F for byte in encoded))
        self.assertEqual(encoded, encoded.strip(b" "), "a header must not begin or end with white space")
        self.assertEqual(encode_message("  a b "), b"%20%20a b%20")
        self.assertEqual(encode_message("  "), b"%20%20")
        self.assertEqual(decode_message(encoded), text)

    @given(st.binary())
    def test_foreign_messages(self, value: bytes) -> None:
        """No message of a peer is an error."""
        decode_message(value)

    def test_bad_escapes(self) -> None:
        """What is no escape stands for itself."""
        self.assertEqual(decode_message(b"100 %, %zz, %4"), "100 %, %zz, %4")
        self.assertEqual(encode_message("no such thing"), b"no such thing")


class Framing(SynchronousTestCase):
    """Messages in a byte stream."""

    @given(st.lists(st.binary(max_size=40)), st.data())
    def test_any_split(self, payloads: list[bytes], data: st.DataObject) -> None:
        """However the bytes are cut, the same messages come out."""
        stream = b"".join(encode_frame(payload) for payload in payloads)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
        reader = FrameReader(100)
        frames = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            frames += reader.feed(stream[start:end])
        self.assertEqual(frames, [Frame(False, payload) for payload in payloads])
        self.assertEqual(reader.pending, 0)

    def test_too_large(self) -> None:
        """The prefix alone is enough to refuse a message, with both numbers."""
        with self.assertRaises(RpcError) as caught:
            FrameReader(10).feed(b"\x00\x00\x00\x00\x0b")
        self.assertEqual(caught.exception.code, StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(caught.exception.message, "grpc: received message larger than max (11 vs. 10)")

    @given(st.binary(max_size=60))
    def test_nonsense(self, data: bytes) -> None:
        """Arbitrary bytes are messages or an RpcError, nothing else."""
        try:
            FrameReader(20).feed(data)
        except RpcError as error:
            self.assertIn(error.code, (StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL))


class Compression(SynchronousTestCase):
    """Messages that were compressed."""

    def test_gzip(self) -> None:
        """Gzip is read."""
        self.assertEqual(decompress(b"gzip", gzip.compress(b"abc"), 3), b"abc")

    def test_bomb(self) -> None:
        """A small message that unpacks to a large one is refused without unpacking it."""
        with self.assertRaises(RpcError) as caught:
            decompress(b"gzip", gzip.compress(bytes(10_000_000)), 1000)
        self.assertEqual(caught.exception.code, StatusCode.RESOURCE_EXHAUSTED)

    def test_damaged(self) -> None:
        """Cut, appended-to and meaningless streams, and a flag without an encoding, are INTERNAL."""
        whole = gzip.compress(b"abc")
        for encoding, data in ((b"gzip", whole[:-1]), (b"gzip", whole * 2), (b"gzip", b"xx"), (b"identity", whole)):
            with self.assertRaises(RpcError) as caught:
                decompress(encoding, data, 100)
            self.assertEqual(caught.exception.code, StatusCode.INTERNAL)

    def test_unknown(self) -> None:
        """Other encodings are UNIMPLEMENTED with the text that peers know."""
        with self.assertRaises(RpcError) as caught:
            check_encoding(b"deflate")
        self.assertEqual(caught.exception.code, StatusCode.UNIMPLEMENTED)
        self.assertEqual(caught.exception.message, 'grpc: Decompressor is not installed for grpc-encoding "deflate"')

    def test_compress(self) -> None:
        """What we compress others can read; what would grow is left as it is."""
        message = b"much of the same " * 100
        packed = compress(message)
        assert packed is not None
        self.assertLess(len(packed), len(message))
        self.assertEqual(gzip.decompress(packed), message)
        for incompressible in (b"", b"x" * 18, bytes(range(256))):
            self.assertIsNone(compress(incompressible))

    def test_accepted(self) -> None:
        """A list with or without spaces; no compression is always possible; no part of a name counts."""
        self.assertTrue(is_accepted("gzip", b"identity, deflate,gzip"))
        self.assertTrue(is_accepted("identity", b""))
        self.assertFalse(is_accepted("gzip", b""))
        self.assertFalse(is_accepted("gzip", b"xgzip,gzip2"))


class Outcomes(SynchronousTestCase):
    """Statuses from trailers, HTTP and resets."""

    def test_trailers(self) -> None:
        """Code and text; no status is None; an unknown number is UNKNOWN and shown."""
        self.assertEqual(
            from_trailers([(b"grpc-status", b"5"), (b"grpc-message", b"a%20b")]), (StatusCode.NOT_FOUND, "a b")
        )
        self.assertIsNone(from_trailers([(b"grpc-message", b"x")]))
        for number in (b"99", b"x", b""):
            outcome = from_trailers([(b"grpc-status", number)])
            assert outcome is not None
            self.assertEqual(outcome[0], StatusCode.UNKNOWN)

    def test_http(self) -> None:
        """The mapping of the gRPC project."""
        expected = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14, 418: 2, 500: 2, 200: 2}
        for number, code in expected.items():
            self.assertEqual(from_http_status(b"%d" % number)[0], code)
        self.assertEqual(from_http_status(b"x")[0], StatusCode.UNKNOWN)

    def test_resets(self) -> None:
        """REFUSED_STREAM, CANCEL and the like have their own codes, the rest is INTERNAL; the name is told."""
        expected = {0: 13, 1: 13, 2: 13, 7: 14, 8: 1, 11: 8, 12: 7, 77: 13}
        for number, code in expected.items():
            self.assertEqual(from_reset(number)[0], code)
        self.assertIn("REFUSED_STREAM", from_reset(7)[1])
        self.assertIn("0x4d", from_reset(77)[1])
