"""Parsing the arguments of a sub-command, with errors for people."""

from __future__ import annotations

from typing import TypeVar

from twisted.python.usage import UsageError

from txdagu.model.errors import InvalidInputError, Problem
from txdagu.tap.options import SettingsOptions

AnyOptions = TypeVar("AnyOptions", bound=SettingsOptions)


def parse(options: AnyOptions, command: str, arguments: list[str]) -> AnyOptions:
    """
    The options, filled.

    What they call `operands` is shown in the usage line. ``--help`` prints and raises `SystemExit`; bad usage raises
    `InvalidInputError`.
    """
    operands = getattr(options, "operands", "")
    options.synopsis = f"Usage: dagu {command} [options] {operands}".rstrip()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        advice = f"dagu {command} --help tells the options"
        raise InvalidInputError([Problem(str(error), advice=advice)]) from None
    return options
