"""Labels: what a worker says of itself, and the selector with which a task asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from txdagu.model.errors import InvalidInputError, Problem

Labels = Mapping[str, str]


def parse_labels(text: str, where: str = "") -> dict[str, str]:
    """
    Read ``gpu=true, memory=64G`` as flags and environment variables write it.

    Items are separated by commas and split at the first ``=``; blanks around keys and values are dropped; an empty value
    is a value; the case of keys and values is kept. Raises `InvalidInputError` naming every item without ``=`` or
    without a key, and every key given twice with different values.
    """
    labels: dict[str, str] = {}
    problems: list[Problem] = []
    for item in text.split(","):
        if not item.strip():
            continue
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key:
            problems.append(
                Problem(f"label {item.strip()!r} is not key=value", where, "write for example gpu=true,memory=64G")
            )
        elif labels.get(key, value) != value:
            problems.append(Problem(f"label {key!r} is given twice, as {labels[key]!r} and as {value!r}", where))
        else:
            labels[key] = value
    if problems:
        raise InvalidInputError(problems)
    return labels


def format_labels(labels: Labels) -> str:
    """Labels as `parse_labels` reads them, sorted by key."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


@dataclass(frozen=True, slots=True)
class WorkerSelector:
    """
    Which workers may run something: all `labels` must be equal, or ``local``: here, on no worker at all.

    An empty selector asks for nothing; the routing rule decides where such work goes.
    """

    labels: Labels = field(default_factory=dict)
    local: bool = False

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return self.local or bool(self.labels)

    def overridden_by(self, nearer: WorkerSelector) -> WorkerSelector:
        """This selector with a nearer one laid over it, key by key; a nearer ``local`` wins whole."""
        if nearer.local:
            return nearer
        if not nearer.labels:
            return self
        return WorkerSelector({**({} if self.local else self.labels), **nearer.labels})
