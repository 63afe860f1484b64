"""A step's ``config``: evaluated, and read value by value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.scalars import scalar_text

_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False, "": False}


async def evaluated(value: Any, evaluator: Evaluator) -> Any:
    """The value with every text in it evaluated; keys stay as they are, and so does what a text is replaced by."""
    if isinstance(value, str):
        return await evaluator.field(value)
    if isinstance(value, Mapping):
        return {key: await evaluated(item, evaluator) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [await evaluated(item, evaluator) for item in value]
    return value


class Config:
    """
    Reads options of the step type `of`, and keeps what is wrong with them until `check`.

    Keys match whatever their case, with or without underscores between the words; unknown keys are left alone. Numbers and flags
    may be texts: what a reference was replaced by is one.
    """

    def __init__(self, of: str, values: Mapping[str, Any]) -> None:
        self._of = of
        self._values = {_folded(key): value for key, value in values.items() if value is not None}
        self._problems: list[Problem] = []

    def overridden(self, values: Mapping[str, Any]) -> Config:
        """These options with others over them."""
        return Config(self._of, {**self._values, **{_folded(key): value for key, value in values.items()}})

    def text(self, key: str, default: str = "") -> str:
        """A text; numbers and flags are written out."""
        value = self._values.get(_folded(key), default)
        if isinstance(value, dict | list):
            self._refuse(key, "a text", value)
            return default
        return scalar_text(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """``true`` or ``false``."""
        value = self._values.get(_folded(key), default)
        if isinstance(value, str):
            value = _FLAGS.get(value.lower(), value)
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        self._refuse(key, "true or false", value)
        return default

    def number(self, key: str, default: int = 0) -> int:
        """A whole number."""
        value = self._values.get(_folded(key), default)
        try:
            if isinstance(value, dict | list) or (isinstance(value, float) and not value.is_integer()):
                raise ValueError
            return int(value)
        except ValueError:
            self._refuse(key, "a whole number", value)
            return default

    def texts(self, key: str) -> tuple[str, ...]:
        """Several texts: a list, or one text alone."""
        value = self._values.get(_folded(key), [])
        items = value if isinstance(value, list) else [value]
        if isinstance(value, dict) or any(isinstance(item, dict | list) for item in items):
            self._refuse(key, "a text or a list of texts", value)
            return ()
        return tuple(scalar_text(item) for item in items if item is not None)

    def mapping(self, key: str) -> dict[str, str]:
        """Texts by name."""
        value = self._values.get(_folded(key), {})
        if not isinstance(value, dict) or any(isinstance(item, dict | list) for item in value.values()):
            self._refuse(key, "a mapping of texts", value)
            return {}
        return {str(name): scalar_text(item) for name, item in value.items()}

    def refuse(self, key: str, message: str, advice: str = "") -> None:
        """Note that something else is wrong with an option."""
        self._problems.append(Problem(f"{self._of} config: {key} {message}", advice=advice))

    def check(self) -> None:
        """Raise `InvalidInputError` with all that is wrong."""
        if self._problems:
            raise InvalidInputError(self._problems)

    def _refuse(self, key: str, expected: str, value: Any) -> None:
        self.refuse(key, f"must be {expected}, got {scalar_text(value)!r}")


def _folded(key: str) -> str:
    return key.replace("_", "").lower()
