"""From text, as people write it in flags, variables and files, to typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from txdagu.config.definitions import Definition, Kind
from txdagu.model.labels import parse_labels

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_TRUE = frozenset(("1", "t", "true", "yes", "y", "on"))
_FALSE = frozenset(("0", "f", "false", "no", "n", "off"))
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")

FileValue = str | dict[str, str] | list[dict[str, str]]


class UnfitError(ValueError):
    """The value cannot be what its setting is; `advice` says what to write instead."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a path may refer to: `base_dir` for relative ones, `home_dir` for ``~``, `environ` for ``$NAME``."""

    base_dir: str
    home_dir: str
    environ: Mapping[str, str]


def read_value(definition: Definition, value: FileValue, surroundings: Surroundings) -> object:
    """The typed value of a setting. Raises `UnfitError`, for labels also `InvalidInputError` with one problem a label."""
    match definition.kind, value:
        case Kind.LABELS, dict():
            return dict(value)
        case Kind.LABELS, str():
            return parse_labels(value)
        case Kind.QUEUES, list():
            return _queues(value)
        case Kind.QUEUES, _:
            raise UnfitError("is not a list of queues", "write each as - name: … and maxConcurrency: …")
        case _, str():
            return _scalar(definition, value, surroundings)
        case Kind.LABELS, _:
            raise UnfitError("is a list, not labels", "write a map, or gpu=true,memory=64G")
    raise UnfitError("is not a single value", f"write for example {definition.default or 'one text'}")


def _scalar(definition: Definition, text: str, surroundings: Surroundings) -> object:
    text = text.strip()
    match definition.kind:
        case Kind.PORT:
            return read_port(text)
        case Kind.INTEGER:
            return read_integer(text)
        case Kind.BOOLEAN:
            return read_boolean(text)
        case Kind.DURATION:
            return read_duration(text, zero=definition.zero)
        case Kind.HOST:
            return read_host(text)
        case Kind.PATH:
            return read_path(text, surroundings)
        case Kind.WORD:
            return read_word(text, definition.words)
    return text


def read_port(text: str) -> int:
    """A TCP port, 0 to 65535."""
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text) <= 65535:
        return int(text)
    if text.startswith("tcp://"):
        raise UnfitError(
            f'"{text}" is not a port',
            "Kubernetes sets this variable for a Service of that name: put enableServiceLinks: false into the pod's spec",
        )
    raise UnfitError(f'"{text}" is not a port', "give a number from 0 to 65535")


def read_integer(text: str) -> int:
    """A whole number."""
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        return int(text)
    raise UnfitError(f'"{text}" is not a whole number')


def read_boolean(text: str) -> bool:
    """True or false, in the words of Go's ParseBool and of YAML, in any case."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise UnfitError(f'"{text}" is neither true nor false', "write true or false")


def read_duration(text: str, *, zero: bool = False) -> float:
    """Seconds from a duration in Go's form: ``30s``, ``1h30m``, ``1.5s``, ``250ms``. Zero only where it is allowed."""
    if zero and text == "0":
        return 0.0
    position, seconds = 0, 0.0
    while (part := _DURATION_PART.match(text, position)) is not None:
        seconds += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not text or position != len(text) or seconds == float("inf"):
        raise UnfitError(f'"{text}" is not a duration', "write for example 30s, 5m or 1h30m")
    if seconds == 0 and not zero:
        raise UnfitError(f'"{text}" is no time at all', "write for example 30s")
    return seconds


def read_host(text: str) -> str:
    """A host name or address, with or without the brackets of IPv6; without scheme, path or blanks."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "://" in bare or "/" in bare or re.search(r"\s", bare):
        raise UnfitError(f'"{text}" is not a host name or address', "write it without scheme and path")
    if bare.count(":") == 1:
        raise UnfitError(f'"{text}" is not a host name or address', "the port is a setting of its own")
    return bare


def read_word(text: str, words: tuple[str, ...]) -> str:
    """One of some words, in any case."""
    if text.lower() in words:
        return text.lower()
    raise UnfitError(f'"{text}" is none of {", ".join(words)}')


def read_path(text: str, surroundings: Surroundings) -> str:
    """An absolute path: ``~`` and ``$NAME`` replaced, relative to the base directory, ``..`` resolved by name only."""
    import posixpath

    missing = []

    def value_of(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in surroundings.environ:
            missing.append(name)
        return surroundings.environ.get(name, "")

    path = _VARIABLE.sub(value_of, text)
    if missing:
        raise UnfitError(f'"{text}" uses the variable {missing[0]}, which is not set')
    if "\0" in path:
        raise UnfitError("a path cannot hold a null character")
    if path == "~" or path.startswith("~/"):
        path = surroundings.home_dir + path[1:]
    return posixpath.normpath(posixpath.join(surroundings.base_dir, path)) if path else ""


def _queues(items: list[dict[str, str]]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for item in items:
        fields = {name.lower().replace("_", ""): value for name, value in item.items()}
        name = fields.get("name", "").strip()
        if not name:
            raise UnfitError("a queue has no name", "write each as - name: … and maxConcurrency: …")
        if name in limits:
            raise UnfitError(f"queue {name} is listed twice")
        # Dagu 1.30.2: the older maxActiveRuns wins where both stand; a limit is at least 1.
        limit = fields.get("maxactiveruns") or fields.get("maxconcurrency") or "1"
        try:
            limits[name] = max(1, read_integer(limit.strip()))
        except UnfitError as error:
            raise UnfitError(f"maxConcurrency of queue {name}: {error}", error.advice) from None
    return limits
