"""Names of DAGs and runs: which are allowed, and how new ones are made."""

from __future__ import annotations

import re
import uuid
from hashlib import sha256

import base58

from txdagu.model.errors import InvalidInputError, Problem

DAG_NAME = re.compile(r"[A-Za-z0-9_.-]+")
MAX_DAG_NAME = 40
RUN_ID = re.compile(r"[-A-Za-z0-9_]+")
MAX_RUN_ID = 64


def new_run_id(now_ms: int, randomness: bytes) -> str:
    """
    A UUID of version 7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then chance.

    `randomness` is ten random bytes. Ids of later milliseconds sort after earlier ones.
    """
    value = (now_ms & (1 << 48) - 1) << 80 | int.from_bytes(randomness, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def child_run_id(parent_run_id: str, step_name: str, params: str, round_name: str = "") -> str:
    """
    The id of the run that a calling step starts: base58 of SHA-256 over parent run id, step name and params.

    So a step that is tried again finds the runs of its attempt before. A round of a repeated step calls runs of its own; what
    tells it from all others is its `round_name`, empty for the first.
    """
    parts = [parent_run_id, step_name, params, round_name] if round_name else [parent_run_id, step_name, params]
    digest = sha256(":".join(parts).encode("utf-8", "surrogateescape")).digest()
    return base58.b58encode(digest).decode("ascii")


def check_run_id(run_id: str, where: str = "--run-id") -> str:
    """The id itself if it may name a run, else `InvalidInputError`."""
    if not RUN_ID.fullmatch(run_id) or len(run_id) > MAX_RUN_ID:
        raise InvalidInputError(
            [
                Problem(
                    f"run id {run_id!r} is not allowed", where, "use at most 64 letters, digits, dashes and underscores"
                )
            ]
        )
    return run_id
