"""One entry of the registry, as a file's bytes and name, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from hashlib import sha256
from typing import Any

from txdagu.model.addresses import join_host_port

SUFFIX = ".json"
MAX_SAFE_ID = 100
MAX_WORKER_STEM = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_UNSAFE_IN_WORKER_NAME = re.compile(r"[^A-Za-z0-9_.@-]")


class Kind(Enum):
    """What is registered. The value is the name of the sub-directory."""

    COORDINATOR = "coordinator"
    SCHEDULER = "scheduler"
    WORKER = "worker"
    SERVER = "server"


class Activity(IntEnum):
    """The number in ``status``. A scheduler is inactive until it holds the lock; a coordinator is always active."""

    UNKNOWN = 0
    ACTIVE = 1
    INACTIVE = 2


@dataclass(frozen=True, slots=True)
class Beat:
    """
    What a worker's file says anew at every beat.

    `timestamp` is for people, RFC 3339 in the worker's own clock; `sequence` grows with every beat and is what readers
    go by; `health` is a word or a sentence of the worker about itself.
    """

    timestamp: str
    sequence: int
    health: str = "healthy"
    active_tasks: int = 0


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """
    One registered process.

    `host` and `port` are what others dial (a worker listens on nothing and says 0). `started_at` is RFC 3339 text, for people.
    `machine` names the kernel and process namespace in which `pid` means something, empty where the writer did not say; only
    workers' files carry it, and only they carry a `beat`.
    """

    id: str
    host: str
    port: int
    pid: int
    status: int = Activity.ACTIVE
    started_at: str = ""
    machine: str = ""
    beat: Beat | None = None

    @property
    def address(self) -> str:
        """``host:port`` as people write it, IPv6 addresses in brackets."""
        return join_host_port(self.host, self.port)


def entry_to_json(entry: ServiceEntry) -> bytes:
    """
    The content of the entry's file: keys in the order of Dagu 1.30.2, two spaces of indent, no newline at the end.

    A worker's beat and machine follow after the common keys, which readers that do not know them skip.
    """
    document: dict[str, object] = {
        "id": entry.id,
        "host": entry.host,
        "port": entry.port,
        "pid": entry.pid,
        "status": int(entry.status),
        "startedAt": entry.started_at,
    }
    if entry.machine:
        document["machine"] = entry.machine
    if entry.beat is not None:
        document["timestamp"] = entry.beat.timestamp
        document["sequence"] = entry.beat.sequence
        document["health"] = entry.beat.health
        document["activeTasks"] = entry.beat.active_tasks
    return json.dumps(document, indent=2, ensure_ascii=False).encode()


def entry_from_json(data: bytes) -> ServiceEntry:
    """
    Read an entry leniently: unknown keys are skipped, missing ones other than ``id`` and ``host`` get harmless values.

    Raises `ValueError` with the reason for anything that is not an entry, a half-written file for instance.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("too deeply nested JSON") from None
    except ValueError as error:
        raise ValueError(f"not readable as JSON, {error}") from None
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    beat = None
    if "sequence" in document:
        beat = Beat(
            timestamp=_text(document, "timestamp"),
            sequence=_number(document, "sequence"),
            health=_text(document, "health"),
            active_tasks=_number(document, "activeTasks"),
        )
    entry = ServiceEntry(
        id=_text(document, "id"),
        host=_text(document, "host"),
        port=_number(document, "port"),
        pid=_number(document, "pid"),
        status=_number(document, "status"),
        started_at=_text(document, "startedAt"),
        machine=_text(document, "machine"),
        beat=beat,
    )
    if not entry.id or not entry.host:
        raise ValueError("id or host is missing")
    if not 0 <= entry.port <= 65535:
        raise ValueError(f"port {entry.port} is not between 0 and 65535")
    return entry


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} is not a text")
    return value


def _number(document: Mapping[str, Any], key: str) -> int:
    value = document.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} is not a whole number")
    return value


def service_file_name(service_id: str) -> str:
    """
    The file of a coordinator or scheduler: ``host1@50055`` becomes ``host1_50055.json``.

    Every character other than letters, digits, underscores and dashes becomes an underscore, and the name is cut at 100
    characters (Dagu 1.30.2 ``internal/persistence/fileserviceregistry``; a process of either program that takes over an id must
    meet the former file, so no other rule will do).
    """
    return _UNSAFE.sub("_", service_id)[:MAX_SAFE_ID] + SUFFIX


def worker_file_name(worker_id: str, host: str, pid: int) -> str:
    """
    The file of a worker: ``<worker id>-<host>-<pid>.json``.

    Characters that may mean something to a file system become underscores and a long name is cut; a name changed so ends with
    a piece of the hash of what it was, so that different workers keep different files.
    """
    wanted = f"{worker_id}-{host}-{pid}"
    stem = _UNSAFE_IN_WORKER_NAME.sub("_", wanted)
    if stem.startswith("."):
        stem = "_" + stem[1:]
    stem = stem[:MAX_WORKER_STEM]
    if stem != wanted:
        # Lone surrogates may come from an undecodable environment; they must not make the hash fail.
        stem = f"{stem}-{sha256(wanted.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    return stem + SUFFIX
