"""RFC 9113 sections 3.4 and 4: the preface, the frame format, sizes, header blocks; and the errors of RFC 7541."""

from txdagu.testing.conformance import (
    COMPRESSION_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    ClientConformance,
    Conformance,
    ServerConformance,
)
from txdagu.testing.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawPeer,
    frame,
    settings,
)
from txdagu.testing.wire import REQUEST, server_connection
from txdagu.wire.events import CallStarted
from txdagu.wire.status import StatusCode


class Preface(Conformance):
    def setUp(self) -> None:
        self.peer = RawPeer(server_connection())

    def test_3_4_settings_first(self) -> None:
        """Our own preface begins with SETTINGS that is no acknowledgement."""
        first = self.peer.read()[0]
        self.assertEqual((type(first).__name__, "ACK" in first.flags), ("SettingsFrame", False))

    def test_3_4_invalid(self) -> None:
        """Another preface ends the connection; no GOAWAY is needed, since nobody speaks HTTP/2 there."""
        self.peer.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        self.assertIsNotNone(self.peer.broken)
        self.assertFalse(self.peer.connection.is_usable)

    def test_3_4_prefix_waits(self) -> None:
        """Half of a preface is nothing wrong yet."""
        self.peer.send(PREFACE[:10])
        self.assertIsNone(self.peer.broken)
        self.peer.send(PREFACE[10:], settings())
        self.assertTrue(self.peer.is_alive())


class Format(ServerConformance):
    def test_4_1_unknown_type(self) -> None:
        """Frames of unknown types are discarded."""
        self.accepted(frame(0x16, 0, 0, b"12345678") + frame(0xFA, 0xFF, 1, b""))

    def test_4_1_undefined_flags(self) -> None:
        """Flags without a meaning for the frame's type are ignored."""
        self.peer.send(frame(PING, 0x16, 0, b"12345678"))
        self.assertTrue(self.peer.is_alive())

    def test_4_1_reserved_bit(self) -> None:
        """The reserved bit before a stream identifier is ignored."""
        self.accepted(frame(PING, 0, 1 << 31, b"12345678"))

    def test_4_2_data_of_the_largest_size(self) -> None:
        """DATA of exactly 2**14 bytes is accepted."""
        self.accepted(self.open() + frame(DATA, 0, 1, b"\0" + (1 << 20).to_bytes(4, "big") + bytes(16379)))

    def test_4_2_data_too_large(self) -> None:
        """One byte more than SETTINGS_MAX_FRAME_SIZE is a FRAME_SIZE_ERROR."""
        self.connection_error(self.open() + frame(DATA, 0, 1, bytes(16385)), FRAME_SIZE_ERROR)

    def test_4_2_headers_too_large(self) -> None:
        """So it is for HEADERS, which carry state of the whole connection."""
        self.connection_error(frame(HEADERS, END_HEADERS, 1, bytes(16385)), FRAME_SIZE_ERROR)

    def test_4_2_too_small(self) -> None:
        """Frames too short for their fixed content are errors of size."""
        for kind, stream_id, body in (
            (PRIORITY, 1, bytes(4)),
            (RST_STREAM, 1, bytes(3)),
            (PING, 0, bytes(7)),
            (GOAWAY, 0, bytes(7)),
            (WINDOW_UPDATE, 0, bytes(3)),
            (SETTINGS, 0, bytes(5)),
        ):
            self.setUp()
            self.connection_error(self.open() + frame(kind, 0, stream_id, body), FRAME_SIZE_ERROR)

    def test_4_3_block_in_pieces(self) -> None:
        """A header block may be cut anywhere, also into empty pieces."""
        block = self.peer.block(REQUEST)
        self.accepted(
            frame(HEADERS, 0, 1, block[:3])
            + frame(CONTINUATION, 0, 1)
            + frame(CONTINUATION, 0, 1, block[3:5])
            + frame(CONTINUATION, END_HEADERS, 1, block[5:])
        )
        self.assertIsInstance(self.peer.events[-1], CallStarted)

    def test_4_3_frame_within_a_block(self) -> None:
        """Nothing may stand between the frames of a header block: no PING, no PRIORITY, no HEADERS of another stream."""
        for other in (
            frame(PING, 0, 0, bytes(8)),
            frame(PRIORITY, 0, 1, bytes(5)),
            frame(HEADERS, END_HEADERS, 3, b""),
        ):
            self.setUp()
            block = self.peer.block(REQUEST)
            self.connection_error(frame(HEADERS, 0, 1, block[:3]) + other, PROTOCOL_ERROR)

    def test_4_3_unknown_frame_within_a_block(self) -> None:
        """Not even one of an unknown type (section 5.5)."""
        self.connection_error(frame(HEADERS, 0, 1, self.peer.block(REQUEST)[:3]) + frame(0x16, 0, 0), PROTOCOL_ERROR)


class Compression(ServerConformance):
    def block_fails(self, block: bytes) -> None:
        """A header block that cannot be read ends the connection, since its state is lost."""
        self.connection_error(frame(HEADERS, END_HEADERS | END_STREAM, 1, block), COMPRESSION_ERROR)

    def test_4_3_truncated(self) -> None:
        """A block that ends within a field."""
        self.block_fails(b"\x00\x05ab")

    def test_rfc7541_2_3_3_unknown_index(self) -> None:
        """An index beyond both tables."""
        self.block_fails(b"\xff\x80\x01")

    def test_rfc7541_5_1_endless_integer(self) -> None:
        """An integer with more digits than anybody needs."""
        self.block_fails(b"\xff" + b"\xff" * 40)

    def test_rfc7541_5_2_padding_too_long(self) -> None:
        """A Huffman string padded with more than seven bits."""
        self.block_fails(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")

    def test_rfc7541_5_2_padding_with_zeros(self) -> None:
        """A Huffman string padded with something else than the beginning of EOS."""
        self.block_fails(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")

    def test_rfc7541_5_2_eos(self) -> None:
        """A Huffman string that holds EOS."""
        self.block_fails(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")

    def test_rfc7541_6_1_index_zero(self) -> None:
        """Index 0 means nothing."""
        self.block_fails(b"\x80")

    def test_rfc7541_6_3_table_too_large(self) -> None:
        """A dynamic table larger than SETTINGS_HEADER_TABLE_SIZE."""
        self.block_fails(b"\x3f\xe1\x3f" + self.peer.block(REQUEST))

    def test_rfc7541_4_2_late_size_update(self) -> None:
        """A change of the table's size after the first field."""
        self.block_fails(self.peer.block(REQUEST) + b"\x20")

    def test_rfc7541_4_2_sizes_between(self) -> None:
        """Of several changes the smallest and the last are told, also when the last is repeated; a huge one is not used."""
        for sizes, told in (
            ([5, 0, 0], b"\x20"),
            ([0, 5], b"\x20\x25"),
            ([2**32 - 1], b""),
            ([9, 2**32 - 1], b"\x29\x3f\xe1\x1f"),
        ):
            self.setUp()
            self.peer.send(*[settings((1, size)) for size in sizes], self.open(ended=True))
            self.server.finish(1, StatusCode.OK)
            (answer,) = self.peer.read()
            self.assertEqual(answer.data[: len(told) + 1], told + b"\x88")  # and then :status 200

    def test_rfc7541_4_2_our_table_shrinks(self) -> None:
        """A peer that allows no dynamic table gets blocks that need none."""
        self.peer.send(settings((1, 0)), self.open(ended=True))
        self.server.finish(1, StatusCode.OK)
        (answer,) = [found for found in self.peer.read() if found.stream_id == 1]
        block = answer.data
        self.assertEqual(block[:1], b"\x20")
        self.assertEqual(self.peer.fields(block)[0], (b":status", b"200"))


class AtClient(ClientConformance):
    def test_4_2_frame_too_large(self) -> None:
        """The client has the same limit."""
        self.connection_error(frame(DATA, 0, 1, bytes(16385)), FRAME_SIZE_ERROR)

    def test_4_3_unreadable_block(self) -> None:
        """A block that cannot be read ends the client's connection too."""
        self.connection_error(frame(HEADERS, END_HEADERS, 1, b"\x80"), COMPRESSION_ERROR)
