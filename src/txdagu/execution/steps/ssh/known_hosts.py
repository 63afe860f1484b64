"""
The keys of hosts, as files of OpenSSH keep them: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. Pure; nothing of Conch.

Names may be patterns or hashed. A line marked ``@revoked`` forbids a key, one marked ``@cert-authority`` speaks of
certificates, which are not asked for.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha1, sha256


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that the file has for a host: the `line` it stands in, its `type`, its `blob`, and whether it is `revoked`."""

    line: int
    type: str
    blob: bytes
    revoked: bool = False


class KnownHosts:
    """The keys of one host in one file. `text` is the whole file, `path` its name for people."""

    def __init__(self, text: str, path: str, host: str, port: int) -> None:
        self.path = path
        self.keys = _keys(text, host if port == 22 else f"[{host}]:{port}")
        if port != 22 and not any(not key.revoked for key in self.keys):
            self.keys += _keys(text, host)  # as OpenSSH: the name alone, if the port is nowhere

    @property
    def types(self) -> tuple[str, ...]:
        """The types of the keys that are known, in the order of the file."""
        return tuple(dict.fromkeys(key.type for key in self.keys if not key.revoked))

    def problem(self, blob: bytes, shown_host: str) -> str:
        """Why this key of the host is not to be trusted: a sentence with the next step, or nothing if it is known."""
        own = [key for key in self.keys if key.blob == blob]
        kind = key_type(blob)
        for key in own:
            if key.revoked:
                return f"the host key of {shown_host} is revoked in {self.path} line {key.line}: {kind} {fingerprint(blob)}"
        if own:
            return ""
        others = [key for key in self.keys if key.type == kind and not key.revoked]
        if others:
            expected = ", ".join(f"{fingerprint(key.blob)} in {self.path} line {key.line}" for key in others)
            return (
                f"the host key of {shown_host} has changed: it shows {kind} {fingerprint(blob)}, known is {expected}; "
                "either somebody listens in between, or the host has got a new key: ask who runs it, then replace the line"
            )
        only = f", only of type {', '.join(self.types)}" if self.types else ""
        return (
            f"the host key of {shown_host} is not known{only}: it shows {kind} {fingerprint(blob)}; compare that with the "
            f"host's own and add it to {self.path}, for example with ssh-keyscan"
        )


def fingerprint(blob: bytes) -> str:
    """A key's fingerprint as ssh shows it: ``SHA256:…``."""
    return "SHA256:" + b64encode(sha256(blob).digest()).decode("ascii").rstrip("=")


def key_type(blob: bytes) -> str:
    """The type that stands at the beginning of a public key: RFC 4253, section 6.6."""
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", "replace")


def _keys(text: str, name: str) -> list[KnownKey]:
    return list(_matching(text, name.lower()))


def _matching(text: str, name: str) -> Iterator[KnownKey]:
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        try:
            blob = b64decode(fields[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        if key_type(blob) == fields[1] and _names(fields[0], name):
            yield KnownKey(number, fields[1], blob, revoked=bool(marker))


def _names(patterns: str, name: str) -> bool:
    """Whether the first field of a line means that host; one ``!pattern`` that matches says no."""
    if patterns.startswith("|"):
        return _hashed(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        if _fits(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _fits(pattern: str, name: str) -> bool:
    """``*`` and ``?`` have a meaning, brackets have none: they stand around hosts with a port."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _hashed(field: str, name: str) -> bool:
    try:
        _, version, salt, digest = field.split("|")
        expected = b64decode(digest, validate=True)
        return version == "1" and hmac.compare_digest(hmac.digest(b64decode(salt), name.encode(), sha1), expected)
    except (binascii.Error, ValueError):
        return False
