"""Command line options, made from the table of settings. They only parse: what was not given stays None."""

from __future__ import annotations

import getopt
import sys
from collections.abc import Sequence

from twisted.python import usage

from txdagu import __version__
from txdagu.config.definitions import BY_FLAG, CONFIG_FLAG, HOME_FLAG, Definition, Kind
from txdagu.config.nearest import nearest

Parameter = list[str | None]


def parameters(*keys: str) -> list[Parameter]:
    """Rows of `optParameters` for the settings whose flags are named, or whose flags start with a name that ends in a dot."""
    chosen = [
        definition
        for flag, definition in BY_FLAG.items()
        if any(flag == key or (key.endswith(".") and flag.startswith(key)) for key in keys)
    ]
    return [[definition.flag, definition.short or None, None, _help(definition)] for definition in chosen]


def _help(definition: Definition) -> str:
    default = f" [default: {definition.default}]" if definition.default else ""
    return f"{definition.doc} ({definition.env[0]}){default}"


class SettingsOptions(usage.Options):
    """
    Options that are settings, plus ``--config`` and ``--dagu-home``.

    Options and arguments may be mixed; ``--`` ends the options, and what follows it is kept in `after_dashes` too. A boolean
    option may stand alone (true) or be given a value.
    """

    optParameters = [
        [CONFIG_FLAG[0], CONFIG_FLAG[1], None, CONFIG_FLAG[2]],
        [HOME_FLAG[0], HOME_FLAG[1], None, HOME_FLAG[2]],
    ]
    coordinator_follows_host = False
    synopsis: str

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.after_dashes: tuple[str, ...] = ()

    def flags(self) -> dict[str, str]:
        """The settings that were given, by long name, as they were written."""
        known = (*BY_FLAG, CONFIG_FLAG[0], HOME_FLAG[0])
        return {name: self[name] for name in known if self.get(name) is not None}

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse, options and arguments mixed. Raises `usage.UsageError`."""
        words = list(sys.argv[1:] if options is None else options)
        if "--_shell-completion" in words:
            super().parseOptions(words)  # type: ignore[no-untyped-call]
            return
        end = words.index("--") if "--" in words else len(words)
        words[:end] = [self._with_value(word) for word in words[:end]]
        try:
            given, arguments = getopt.gnu_getopt(words, self.shortOpt, self.longOpt)
        except getopt.GetoptError as error:
            raise usage.UsageError(self._explained(error)) from None
        self.after_dashes = self._behind_dashes(words)
        takes_value = {name.removesuffix("=") for name in self.longOpt if name.endswith("=")}
        ordered: list[str] = []
        for name, value in given:
            if not name.startswith("--"):
                ordered += [name, value] if f"{name[1:]}:" in self.shortOpt else [name]
            else:
                ordered.append(f"{name}={value}" if name[2:] in takes_value else name)
        super().parseOptions([*ordered, "--", *arguments])  # type: ignore[no-untyped-call]

    def _with_value(self, word: str) -> str:
        """``--peer.insecure`` as ``--peer.insecure=true``; other words as they are."""
        definition = BY_FLAG.get(word.removeprefix("--"))
        bare = definition is not None and definition.kind is Kind.BOOLEAN and word.startswith("--")
        return f"{word}=true" if bare else word

    def _behind_dashes(self, words: list[str]) -> tuple[str, ...]:
        """What follows the ``--`` that ends the options; one that is an option's value does not end them."""
        for position, word in enumerate(words):
            if word == "--":
                try:
                    getopt.gnu_getopt(words[:position], self.shortOpt, self.longOpt)
                except getopt.GetoptError:
                    continue
                return tuple(words[position + 1 :])
        return ()

    def _explained(self, error: getopt.GetoptError) -> str:
        meant = ""
        if error.opt and len(error.opt) > 1:
            meant = nearest(error.opt, [name.removesuffix("=") for name in self.longOpt])
        return f"{error.msg} (did you mean --{meant}?)" if meant and meant != error.opt else error.msg

    def opt_help(self) -> None:
        """Show this help and exit."""
        sys.stdout.write(f"{self}\n")
        raise SystemExit(0)

    opt_h = opt_help

    def opt_version(self) -> None:
        """Show the version and exit."""
        sys.stdout.write(f"txdagu {__version__}\n")
        raise SystemExit(0)
