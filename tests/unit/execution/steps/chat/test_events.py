"""Server-sent events taken apart."""

from __future__ import annotations

from itertools import pairwise
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from txdagu.execution.steps.chat.events import EventStream, EventTooLongError

STREAM = (
    ": comment\n\nevent: x\ndata: one\n\ndata:two\r\ndata:  lines\r\n\r\nid: 7\rdata\rdata: é\r\r"
    "retry: 5\n\ndata: [DONE]\n\ndata: unfinished"
).encode()
FOUND = ["one", "two\n lines", "\né", "[DONE]"]


class EventStreamTests(TestCase):
    @given(st.lists(st.integers(0, len(STREAM))))
    def test_any_pieces(self, cuts: list[int]) -> None:
        """The same events come out, however the stream is cut; all three ends of lines count."""
        places = [0, *sorted(cuts), len(STREAM)]
        stream = EventStream()
        found = [data for start, end in pairwise(places) for data in stream.feed(STREAM[start:end])]
        self.assertEqual(found, FOUND)

    def test_bound(self) -> None:
        """An event that does not end is an error, on one line or on many; many small ones are none."""
        for piece in (b"data: xxxxxxxx", b"data: xxxxxxxx\n"):
            stream = EventStream(100)
            with self.assertRaisesRegex(EventTooLongError, "longer than 100 bytes"):
                for _ in range(20):
                    stream.feed(piece)
        self.assertEqual(len(EventStream(100).feed(b"data: x\n\n" * 1000)), 1000)
