"""DAG files that are run in two programs, and what the comment at the top of each says about that."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_REPEATED = ("env", "file", "refused", "expect")
_KEYS = ("args", "deviates", "differs", *_REPEATED)


@dataclass(frozen=True)
class Case:
    """
    One DAG file. Its comment begins with ``# Section N: sentence`` and may go on with directives, one a line:

    ``# args: ARGUMENTS`` are for ``start``, as a shell splits them, ``# env: NAME=value`` adds to the environment of both
    programs, ``# file: PATH "text"`` writes a file below their home (the text as in JSON, with ``@HOME@`` for the home).
    ``# refused: phrase`` says that both programs refuse the file with this phrase, ``# expect: PATH = JSON`` what a run has
    to leave behind. ``# deviates: reason`` says that txdagu differs on purpose, and ``# differs: PATH ...`` where: there it must.
    """

    path: Path
    sections: tuple[int, ...]
    trap: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    expected: dict[str, object] = field(default_factory=dict)
    deviates: str = ""
    differs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def arguments(self, home: Path, run_id: str) -> list[str]:
        """The command line of a run, without the program."""
        where = self.args.index("--") if "--" in self.args else len(self.args)
        return ["start", f"--run-id={run_id}", *self.args[:where], str(self.file_in(home)), *self.args[where:]]

    def file_in(self, home: Path) -> Path:
        """Where the DAG file lies in a program's home."""
        return home / "dags" / self.path.name

    def furnish(self, home: Path) -> None:
        """Make a program's home, with this file and all others that it needs."""
        texts = {f"dags/{self.path.name}": self.path.read_text("utf-8"), **self.files}
        for name, text in texts.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("@HOME@", str(home)), "utf-8")

    def environment(self, home: Path, path: str) -> dict[str, str]:
        """The whole environment of a program whose home this is."""
        fixed = {
            "PATH": path,
            "HOME": str(home),
            "DAGU_HOME": str(home),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }
        return {**fixed, "NO_COLOR": "1", "DAGU_DEFAULT_EXECUTION_MODE": "local", **self.env}


def read_case(path: Path) -> Case:
    """The case of one file. Raises `ValueError` with the line that cannot be understood."""
    first, *rest = _comment(path.read_text("utf-8"))
    heading, colon, trap = first.partition(": ")
    kind, _, numbers = heading.partition(" ")
    if kind not in ("Section", "Sections") or not colon:
        raise ValueError(f"{path.name}: begin with '# Section N: what is tested', not {first!r}")
    found: dict[str, list[str]] = {}
    for line in rest:
        key, colon, value = line.partition(":")
        if not colon or key not in _KEYS or (key in found and key not in _REPEATED):
            raise ValueError(f"{path.name}: {line!r} is none of the directives {', '.join(_KEYS)}")
        found.setdefault(key, []).append(value.strip())
    return Case(
        path,
        tuple(int(number) for number in numbers.split(",")),
        trap,
        args=tuple(shlex.split(found.get("args", [""])[0])),
        env=dict(_pair(text, "=") for text in found.get("env", ())),
        files={name: json.loads(text) for name, text in (_pair(text, " ") for text in found.get("file", ()))},
        refused=tuple(found.get("refused", ())),
        expected={name.strip(): json.loads(text) for name, text in (_pair(t, "=") for t in found.get("expect", ()))},
        deviates=found.get("deviates", [""])[0],
        differs=tuple(found.get("differs", [""])[0].split()),
    )


def read_cases(directory: Path) -> tuple[Case, ...]:
    """All files of a directory, by name."""
    return tuple(read_case(path) for path in sorted(directory.glob("*.yaml")))


def _comment(text: str) -> list[str]:
    """The comment lines at the top."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines or [""]


def _pair(text: str, separator: str) -> tuple[str, str]:
    name, _, value = text.partition(separator)
    return name, value
