"""Names of images, and the credentials for the registries that they come from. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from txdagu.model.errors import DaguError
from txdagu.model.scalars import scalar_text

DEFAULT_REGISTRY = "docker.io"
_DEFAULT_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
WHOLE_JSON = "_json"


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image as an engine fetches it: the whole `repository`, and its `tag` or digest; `registry` is the host of it."""

    repository: str
    tag: str
    registry: str


def image_name(written: str) -> ImageName:
    """
    The parts of a name; ``latest`` and Docker's own registry where it says nothing else.

    The first part is a host if it has a dot or a colon or is ``localhost``.
    """
    name, at, digest = written.partition("@")
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, ""
    if not path:
        raise DaguError(f"{written!r} is not the name of an image")
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, path if slash else f"library/{path}"
    return ImageName(f"{registry}/{repository}", digest if at else tag or "latest", registry)


def registry_header(auths: Mapping[str, Any], registry: str) -> str:
    """
    What the header ``X-Registry-Auth`` says for a registry; empty where the `auths` name nobody for it.

    `auths` are evaluated. Each is a mapping with ``username`` and ``password``, or with ``auth`` (both, with a colon between
    them, in base64), or such a mapping as JSON, or the base64 text alone. All together they may be the JSON of a client's
    ``config.json``. Raises `DaguError` for what is none of these; it never quotes a credential.
    """
    for name, auth in _by_registry(auths).items():
        if _host(name) == _host(registry):
            credentials = {**_credentials(auth, name), "serveraddress": registry}
            return base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode("ascii")
    return ""


def _by_registry(auths: Mapping[str, Any]) -> Mapping[str, Any]:
    whole = auths.get(WHOLE_JSON)
    if isinstance(whole, str):
        try:
            auths = json.loads(whole) if whole.strip() else {}
        except ValueError:
            raise DaguError("registryAuths: the text is no JSON; write a mapping of registries") from None
    if not isinstance(auths, Mapping):
        raise DaguError("registryAuths: the JSON is no object; write a mapping of registries")
    inner = auths.get("auths")
    return inner if isinstance(inner, Mapping) else auths


def _host(name: str) -> str:
    host = name.partition("://")[2] or name
    host = host.partition("/")[0].lower()
    return DEFAULT_REGISTRY if host in _DEFAULT_NAMES else host


def _credentials(auth: Any, registry: str) -> dict[str, str]:
    where = f"registryAuths, {registry}"
    if isinstance(auth, str):
        try:
            auth = json.loads(auth) if auth.lstrip().startswith("{") else {"auth": auth}
        except ValueError:
            raise DaguError(f"{where}: the text begins like JSON and is none") from None
    if not isinstance(auth, Mapping):
        raise DaguError(f"{where}: write a mapping with username and password")
    values = {key.lower(): scalar_text(value) for key, value in auth.items() if isinstance(value, str | int | float)}
    if values.get("identitytoken"):
        return {"identitytoken": values["identitytoken"]}
    if not values.get("username") and values.get("auth"):
        try:
            plain = base64.b64decode(values["auth"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise DaguError(f"{where}: auth is not base64 of user:password") from None
        user, colon, password = plain.partition(":")
        if not colon:
            raise DaguError(f"{where}: auth is not base64 of user:password")
        return {"username": user, "password": password}
    if not values.get("username"):
        raise DaguError(f"{where}: username or auth is missing")
    return {"username": values["username"], "password": values.get("password", "")}
