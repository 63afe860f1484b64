"""The stream in which an engine sends what a container prints."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.containers.multiplexed import MultiplexedStream
from txdagu.model.errors import DaguError
from txdagu.testing.containers import frame

FRAMES = st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=12)


class MultiplexedTests(SynchronousTestCase):
    @given(FRAMES, st.lists(st.integers(0, 4000), max_size=20))
    def test_any_cut(self, frames: list[tuple[bool, bytes]], cuts: list[int]) -> None:
        """However the stream is cut, each output arrives whole and in order, and nothing is handed on twice or empty."""
        whole = b"".join(frame(data, error=error) for error, data in frames)
        places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        stream = MultiplexedStream()
        pieces = [piece for start, end in pairwise(places) for piece in stream.feed(whole[start:end])]
        self.assertTrue(all(data for _, data in pieces))
        merged: list[tuple[bool, bytes]] = []
        wanted: list[tuple[bool, bytes]] = []
        for target, source in ((merged, pieces), (wanted, frames)):
            for error, data in source:
                if target and target[-1][0] == error:
                    target[-1] = (error, target[-1][1] + data)
                elif data:
                    target.append((error, data))
        self.assertEqual(merged, wanted)
        self.assertFalse(stream.cut)

    @given(st.binary(min_size=1, max_size=300), st.integers(1, 307))
    def test_cut_off(self, data: bytes, length: int) -> None:
        """A stream that ends within a frame is known as cut off, and one that ends behind it is not."""
        whole = frame(data)
        stream = MultiplexedStream()
        stream.feed(whole[:length])
        self.assertEqual(stream.cut, length < len(whole))

    def test_data_is_not_collected(self) -> None:
        """The beginning of a long frame is handed on before the rest of it is there."""
        stream = MultiplexedStream()
        self.assertEqual(stream.feed(frame(b"abcdef")[:10]), [(False, b"ab")])

    def test_standard_input_counts_as_output(self) -> None:
        """Frames of stream 0 are printed too."""
        self.assertEqual(MultiplexedStream().feed(b"\0\0\0\0\0\0\0\x01x"), [(False, b"x")])

    def test_terminal(self) -> None:
        """Without frames, all bytes are output."""
        self.assertEqual(MultiplexedStream(framed=False).feed(b"\1\0\0"), [(False, b"\1\0\0")])

    def test_no_frame(self) -> None:
        """Text where a head is due is refused, and quoted."""
        with self.assertRaisesRegex(DaguError, "HTTP/1.1"):
            MultiplexedStream().feed(b"HTTP/1.1 200")
