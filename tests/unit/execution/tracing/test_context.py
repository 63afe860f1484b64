"""Places in traces."""

from __future__ import annotations

from unittest import TestCase

from txdagu.execution.tracing.context import TraceContext, parse_traceparent, trace_of

TEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class TraceContextTests(TestCase):
    def test_traceparent(self) -> None:
        """The header of W3C Trace Context is read and written; later versions may say more."""
        place = parse_traceparent(TEXT)
        assert place is not None
        self.assertEqual(str(place), TEXT)
        self.assertEqual(parse_traceparent(TEXT.replace("00-", "01-", 1) + "-more"), place)
        self.assertEqual(str(TraceContext(bytes(16))), "")

    def test_not_a_traceparent(self) -> None:
        """What does not follow the standard is as if it were not there."""
        for wrong in (
            "",
            "x",
            TEXT.upper(),
            TEXT[:-1],
            TEXT + "-more",
            TEXT.replace("00-", "ff-", 1),
            TEXT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
            TEXT.replace("b7ad6b7169203331", "0" * 16),
        ):
            self.assertIsNone(parse_traceparent(wrong), wrong)

    def test_names(self) -> None:
        """Names follow from what they name: the same for all members of a family, others for each attempt and step."""
        trace = trace_of("run")
        self.assertEqual(trace, trace_of("run"))
        self.assertNotEqual(trace, trace_of("other"))
        places = {trace.below("1").span_id, trace.below("2").span_id, trace.below("1", "a").span_id}
        self.assertEqual({len(place or b"") for place in places}, {8})
        self.assertEqual(len(places), 3)
        self.assertEqual(len(trace.trace_id), 16)
