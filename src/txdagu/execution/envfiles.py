"""What a run takes from files beside its DAG: dotenv files and secrets. Everything here blocks and is called in threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from txdagu.execution.evaluation.dotenv import parse_dotenv
from txdagu.model.dag import Secret
from txdagu.model.errors import DaguError, InvalidInputError

LARGEST = 1024 * 1024  # bytes; what is larger is neither a list of variables nor a secret


class SecretError(DaguError):
    """A secret has no value."""


def read_dotenv_files(names: Iterable[str], places: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """
    The variables of all files, later ones winning, and what is wrong with files that cannot be read, a sentence each.

    A name is looked for in the `places` in order. A file that is not there is none; of a file with a mistake nothing is used.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for name in names:
        path = _find(name, places)
        if path is None:
            continue
        try:
            found.update(parse_dotenv(_read(path), str(path)))
        except InvalidInputError as error:
            problems.append(f"nothing of {path} is used: {error}")
        except (OSError, ValueError) as error:
            problems.append(f"{path} cannot be read: {_reason(error)}")
    return found, problems


def resolve_secrets(secrets: Iterable[Secret], environ: Mapping[str, str], places: Iterable[str]) -> dict[str, str]:
    """The values by name, from the variables in `environ` or from files. Raises `SecretError` for the first that has none."""
    return {secret.name: _resolve(secret, environ, places) for secret in secrets}


def _resolve(secret: Secret, environ: Mapping[str, str], places: Iterable[str]) -> str:
    which = f'failed to resolve secrets: failed to resolve secret "{secret.name}" from provider "{secret.provider}"'
    if secret.provider == "env":
        if secret.key not in environ:
            raise SecretError(f'{which}: environment variable "{secret.key}" is not set')
        return environ[secret.key]
    if secret.provider == "file":
        path = _find(secret.key, places)
        if path is None:
            looked = ", ".join(dict.fromkeys(str(_path(secret.key, place)) for place in places))
            raise SecretError(f"{which}: there is no such file: {looked}")
        try:
            return _read(path)
        except (OSError, ValueError) as error:
            raise SecretError(f"{which}: {path} cannot be read: {_reason(error)}") from error
    raise SecretError(
        f"failed to resolve secrets: unknown secret provider: {secret.provider}; write env or file as the provider of"
        f" {secret.name}"
    )


def _path(name: str, place: str) -> Path:
    return Path(place or ".", name).expanduser()


def _find(name: str, places: Iterable[str]) -> Path | None:
    paths = (_path(name, place) for place in places) if name else ()
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    return data.decode("utf-8", "surrogateescape")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
