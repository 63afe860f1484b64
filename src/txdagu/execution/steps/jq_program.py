"""The program that a ``jq`` step runs. See `txdagu.execution.steps.exchange` for its argument."""

from __future__ import annotations

import sys
from typing import Any

from txdagu.execution.steps import gojson
from txdagu.execution.steps.exchange import read_request, write_result
from txdagu.model.scalars import scalar_text

INDENT = " " * 4


def shown(value: Any, raw: bool) -> str:
    """A result as it is printed: raw texts stand bare, raw numbers in short form. `ValueError` if JSON has no such value."""
    if not raw or isinstance(value, dict | list):
        return gojson.dumps(value, "" if raw else INDENT)
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return scalar_text(float(value))
    return scalar_text(value)


def answer(query: str, text: str, raw: bool) -> str:
    """Print all results; what was wrong with the query or the input, empty if nothing."""
    try:
        import jq
    except ImportError:
        return "jq steps need the package jq, which is not installed: pip install 'txdagu[jq]'"
    try:
        gojson.parse(text)
    except (ValueError, RecursionError) as error:
        return f"the script is not one JSON text: {error}"
    try:
        program = jq.compile(query)
    except ValueError as error:
        return f"the query cannot be read: {error}"
    results = iter(program.input_text(text))
    while True:
        try:
            value = next(results)
        except StopIteration:
            return ""
        except ValueError as error:
            print(f"failed to run jq query: {error}", file=sys.stderr)
            return ""
        try:
            print(shown(value, raw))
        except ValueError as error:
            print(f"failed to marshal jq output: json: {error}", file=sys.stderr)


def main(directory: str) -> None:
    """Read the request, print, and leave what was wrong in the result."""
    request = read_request(directory)
    error = answer(request["query"], request["input"], request["raw"])
    sys.stdout.flush()
    if error:
        write_result(directory, {"error": error})
        sys.exit(1)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main(sys.argv[1])
