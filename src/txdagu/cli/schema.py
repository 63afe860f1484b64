"""``dagu schema``: print the JSON Schema of DAG files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from twisted.python import usage

from txdagu.cli.arguments import parse
from txdagu.dagfile.schema import json_schema
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.tap.options import SettingsOptions


class Options(SettingsOptions):
    """Options of ``dagu schema``."""

    longdesc = "Print the JSON Schema (draft 2020-12) of DAG files, for editors that check and complete them."
    optParameters = [["output", "o", None, "File to write it to, instead of standard output"]]

    def parseArgs(self, *surplus: str) -> None:
        """No arguments."""
        if surplus:
            raise usage.UsageError(f'"{surplus[0]}" is not expected here')


def schema(arguments: list[str]) -> int:
    """Write the schema to the file that is named, else to standard output."""
    options = parse(Options(), "schema", arguments)
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if options["output"] is None:
        sys.stdout.write(text)
        return 0
    try:
        Path(options["output"]).write_text(text, "utf-8")
    except OSError as error:
        problem = Problem(
            f"cannot be written: {error.strerror}", options["output"], "name a file in an existing directory"
        )
        raise InvalidInputError([problem]) from error
    return 0
