"""``dagu start-all``, ``dagu coordinator``, ``dagu worker``: a role in this process until it is told to stop."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from txdagu.cli.arguments import parse
from txdagu.cli.logging import begin_logging
from txdagu.tap.options import SettingsOptions


class _Quiet:
    optFlags = [["quiet", "q", "Log warnings and errors only."]]


def start_all(arguments: list[str]) -> int:
    """Run the main instance."""
    return _serve("start-all", "txdagu.tap.start_all", arguments)


def coordinator(arguments: list[str]) -> int:
    """Run a coordinator."""
    return _serve("coordinator", "txdagu.tap.coordinator", arguments)


def worker(arguments: list[str]) -> int:
    """Run a worker; or list workers, or give them orders."""
    from txdagu.cli.workers import SUBCOMMANDS

    if arguments and arguments[0] in SUBCOMMANDS:
        return SUBCOMMANDS[arguments[0]](arguments[1:])
    return _serve("worker", "txdagu.tap.worker", arguments)


def _serve(command: str, module_name: str, arguments: list[str]) -> int:
    """
    What twistd does for the same service, with Dagu's log lines on standard error.

    Returns 0 after an orderly end and 1 if the role could not start.
    """
    role: Any = import_module(module_name)
    options_class = type("Options", (_Quiet, role.Options), {})
    options: SettingsOptions = parse(options_class(), command, arguments)
    from twisted.internet import reactor  # noqa: TID251 - this is the main program

    service = role.makeService(options, reactor)
    begin_logging(sys.stderr, service.settings.log_format, debug=service.settings.debug, quiet=bool(options["quiet"]))
    loop: Any = reactor
    service.privilegedStartService()
    service.startService()
    loop.addSystemEventTrigger("before", "shutdown", service.stopService)
    loop.run()
    code: int = service.exit_code
    return code
