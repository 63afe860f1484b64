"""Remembered header blocks mean what hpack says they mean, whatever happens to the dynamic tables."""

from __future__ import annotations

from hpack import Decoder, Encoder, HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.wire.header_blocks import BLOCKS_KEPT, LARGEST_KEPT, CachingDecoder, CachingEncoder, HeaderBlock

Headers = list[tuple[bytes, bytes]]
NAMES = [b":path", b"content-type", b"grpc-timeout", b"grpc-message", b"x-token", b"te"]
HEADERS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([b"", b"a", b"bb", b"c" * 40, b"d" * 200])), max_size=6
)
STEPS = st.lists(st.one_of(HEADERS, st.sampled_from([0, 40, 300, 4096])), max_size=40)
ANSWER = ((b":status", b"200"), (b"content-type", b"application/grpc"))


class Equivalence(SynchronousTestCase):
    """Against plain hpack at the other end. Numbers among the steps change the size of the table."""

    @settings(max_examples=150)
    @given(STEPS)
    def test_decoder(self, steps: list[Headers | int]) -> None:
        """What a plain encoder wrote is read as by a plain decoder, block by block."""
        encoder, plain, caching = Encoder(), Decoder(), CachingDecoder()
        for step in steps:
            if isinstance(step, int):
                if step != encoder.header_table_size:  # hpack forgets a change that is followed by the same size again
                    encoder.header_table_size = step
            else:
                for _ in range(3):
                    block = encoder.encode(step)
                    self.assertEqual(caching.decode(block), list(plain.decode(block, raw=True)))
            self.assertEqual(caching.header_table.dynamic_entries, plain.header_table.dynamic_entries)

    @settings(max_examples=150)
    @given(STEPS)
    def test_encoder(self, steps: list[Headers | int]) -> None:
        """What we write is read by a plain decoder, and the tables of both ends stay the same."""
        encoder, decoder = CachingEncoder(), Decoder()
        for step in steps:
            if isinstance(step, int):
                encoder.header_table_size = step
            else:
                for _ in range(3):
                    self.assertEqual(list(decoder.decode(encoder.encode(step), raw=True)), step)
                self.assertEqual(encoder.header_table.dynamic_entries, decoder.header_table.dynamic_entries)

    @settings(max_examples=150)
    @given(st.lists(st.binary(max_size=30), max_size=10))
    def test_nonsense(self, blocks: list[bytes]) -> None:
        """Bytes that are no header block raise what hpack raises, also the second time."""
        plain, caching = Decoder(), CachingDecoder()
        for block in [block for block in blocks for _ in range(2)]:
            try:
                expected: object = list(plain.decode(block, raw=True))
            except HPACKError as error:
                expected = type(error)
            try:
                got: object = caching.decode(block)
            except HPACKError as error:
                got = type(error)
            self.assertEqual(got, expected)


class Sizes(SynchronousTestCase):
    """What hpack gets wrong."""

    def test_same_size_again(self) -> None:
        """A change of size is told to the peer, also when the same size was set twice before the next block."""
        encoder, decoder = CachingEncoder(), Decoder()
        encoder.header_table_size = 0
        encoder.header_table_size = 0
        decoder.decode(encoder.encode(ANSWER))
        self.assertEqual(decoder.header_table_size, 0)


class Caching(SynchronousTestCase):
    """What is remembered, and for how long."""

    def test_same_object(self) -> None:
        """A repeated block is not decoded again, until the table changes."""
        encoder, decoder = Encoder(), CachingDecoder()
        decoder.decode(encoder.encode(ANSWER))
        block = encoder.encode(ANSWER)
        first = decoder.decode(block)
        self.assertIsInstance(first, HeaderBlock)
        self.assertIs(decoder.decode(block), first)
        decoder.decode(encoder.encode([(b"new", b"entry")]))
        self.assertIsNot(decoder.decode(encoder.encode(ANSWER)), first)

    def test_varying_values(self) -> None:
        """A value that differs in every call leaves the table alone, so the others stay remembered."""
        encoder = CachingEncoder()
        encoder.encode(ANSWER)
        before = encoder.header_table.changes
        for number in range(5):
            encoder.encode(
                ((b":status", b"200"), (b"grpc-message", b"task %d" % number), (b"grpc-timeout", b"%dm" % number))
            )
        self.assertEqual(encoder.header_table.changes, before)

    def test_bounded(self) -> None:
        """A peer cannot make us keep many blocks, nor large ones."""
        encoder, decoder = Encoder(), CachingDecoder()
        mine = CachingEncoder()
        for number in range(4 * BLOCKS_KEPT):
            headers = [(b"grpc-message", b"x%d" % number, True)]
            decoder.decode(encoder.encode(headers))
            mine.encode([(b"grpc-message", b"x%d" % number)])
        large = [(b"x", bytes(2 * LARGEST_KEPT), True)]
        block = encoder.encode(large)
        self.assertIsNot(decoder.decode(block), decoder.decode(block))
        self.assertLessEqual(len(decoder._known), BLOCKS_KEPT)
        self.assertLessEqual(len(mine._known), BLOCKS_KEPT)


class Attacks(SynchronousTestCase):
    """Blocks that would cost much time."""

    def test_size_updates(self) -> None:
        """A block may change the table's size; one that does little else, 20 ms for each 16 KiB, is refused."""
        self.assertEqual(CachingDecoder().decode(b"\x20\x3f\xe1\x1f\x82"), [(b":method", b"GET")])
        self.assertRaises(HPACKError, CachingDecoder().decode, b"\x20" * 33)
        self.assertRaises(HPACKError, CachingDecoder().decode, b"\x20" * 16_000)

    def test_endless_number(self) -> None:
        """A number of 250 kB, which takes seconds to add up, is refused at once."""
        for first in (b"\xff", b"\x00\x7f", b"\x3f"):
            self.assertRaises(HPACKError, CachingDecoder().decode, first + b"\xff" * 250_000)
