"""Run one operation. See `txdagu.execution.steps.exchange` for the argument."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from txdagu.execution.steps.archiving.creation import create
from txdagu.execution.steps.archiving.extraction import extract
from txdagu.execution.steps.archiving.listing import list_members
from txdagu.execution.steps.archiving.options import ArchiveError, ArchiveOptions
from txdagu.execution.steps.exchange import read_request, write_result

OPERATIONS = {"create": create, "extract": extract, "list": list_members}


def perform(options: ArchiveOptions) -> dict[str, object]:
    """The operation's summary in the order of Dagu's. Raises `ArchiveError`."""
    operation = OPERATIONS.get(options.operation)
    if operation is None:
        known = ", ".join(OPERATIONS)
        raise ArchiveError(f'configuration error: unsupported archive operation "{options.operation}" (use {known})')
    if not options.source:
        raise ArchiveError(f"configuration error: source is required for {options.operation}")
    if options.operation == "create" and not options.destination:
        raise ArchiveError("configuration error: destination is required for create")
    if not Path(options.source).exists():
        raise ArchiveError(f"source not found: {options.source}: No such file or directory")
    begun = time.perf_counter()
    try:
        summary = operation(options)
    except OSError as error:
        raise ArchiveError(f"{error.filename or options.source}: {error.strerror or error}") from error
    head: dict[str, object] = {"operation": options.operation, "source": options.source}
    if options.operation != "list":
        head["destination"] = options.destination or "."
    verified = {"verifyPerformed": summary.pop("verifyPerformed")} if "verifyPerformed" in summary else {}
    errors = {"errors": summary.pop("errors")} if "errors" in summary else {}
    duration = {"duration": duration_text(time.perf_counter() - begun)}
    return {**head, **summary, **duration, **errors, **verified}


def duration_text(seconds: float) -> str:
    """A duration as Dagu writes it: ``731.126µs``, ``8.1ms``, ``1.5s``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{round(seconds / size, 9 if unit == 's' else 6 if unit == 'ms' else 3):g}{unit}"
    return f"{round(seconds / 1e-9):d}ns"


def main(directory: str) -> None:
    """Read the request, work, print the summary; what was wrong is left in the result."""
    request = read_request(directory)
    for key in ("include", "exclude"):
        request[key] = tuple(request[key])
    try:
        summary = perform(ArchiveOptions(**request))
    except ArchiveError as error:
        write_result(directory, {"error": f"archive: {error}"})
        sys.exit(1)
    print(json.dumps(summary, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    main(sys.argv[1])
