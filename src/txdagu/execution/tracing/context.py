"""Names of traces and spans, and how they are passed on (W3C Trace Context)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

VARIABLE = "TRACEPARENT"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: the trace, and the span under which more may be put, None where there is none yet. Ids are bytes."""

    trace_id: bytes
    span_id: bytes | None = None

    def below(self, *names: str) -> TraceContext:
        """
        A place for a span of its own.

        Its id follows from the trace and from the names, so whoever knows them, knows it.
        """
        return TraceContext(self.trace_id, _digest("span", self.trace_id.hex(), *names)[:8])

    def __str__(self) -> str:
        """The header ``traceparent`` (W3C Trace Context, section 3.2); empty without a span."""
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-01" if self.span_id is not None else ""


def parse_traceparent(text: str) -> TraceContext | None:
    """What a ``traceparent`` says; None for anything else, ids of zeros included (section 3.2.2)."""
    match = _FORM.fullmatch(text.strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[4]):
        return None
    trace_id, span_id = bytes.fromhex(match[2]), bytes.fromhex(match[3])
    return TraceContext(trace_id, span_id) if any(trace_id) and any(span_id) else None


def trace_of(root_run_id: str) -> TraceContext:
    """The trace of a family of runs that nobody named: all its members find it, wherever they run."""
    return TraceContext(_digest("trace", root_run_id)[:16])


def _digest(*names: str) -> bytes:
    return sha256("\0".join(names).encode("utf-8", "surrogateescape")).digest()
