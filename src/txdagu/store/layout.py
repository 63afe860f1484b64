"""
Names of everything in the data directory, as Dagu 1.30.2 chooses them. Pure.

Stamps in names of directories, liveness files and queue items are UTC and end in ``Z``; names of log files carry local time.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from txdagu.model.errors import InvalidInputError, Problem

STATUS_FILE = "status.jsonl"
DAG_FILE = "dag.json"
OUTPUTS_FILE = "outputs.json"
CANCEL_FILE = "CANCEL_REQUESTED"
CHILDREN = "children"
MESSAGES = "messages"

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_MAX_PREFIX = 100
_RUN_DIR = re.compile(r"dag-run_(\d{8}_\d{6}Z)_([^/\0]+)")
_ATTEMPT_DIR = re.compile(r"attempt_(\d{8}_\d{6}_\d{3})Z_([^/\0]+)")
_PROC_FILE = re.compile(r"proc_\d{8}_\d{6}Z_(.+)\.proc")
_QUEUE_ITEM = re.compile(r"item_(high|low)_(\d{8}_\d{6})_(\d{9})Z_(.*)\.json")


def utc_stamp(at: datetime) -> str:
    """``20261123_175401Z``."""
    return at.astimezone(UTC).strftime("%Y%m%d_%H%M%SZ")


def local_stamp(at: datetime) -> str:
    """``20261124.025401.961``, in the zone of `at`."""
    return f"{at:%Y%m%d.%H%M%S}.{at.microsecond // 1000:03d}"


def day_path(at: datetime) -> str:
    """The day's directory below a DAG's own: ``2026/11/23``, UTC."""
    return at.astimezone(UTC).strftime("%Y/%m/%d")


def safe_name(name: str) -> str:
    """The name as log directories and log files carry it: every unusual character becomes ``_``."""
    return _UNSAFE.sub("_", name)


def run_prefix(dag_name: str) -> str:
    """
    The directory of a DAG's runs.

    The last path element without ``.yaml`` or ``.yml``, unusual characters replaced, cut at 100; where that changed
    anything, four digits of the SHA-256 of the whole name keep names apart.
    """
    base = dag_name.rsplit("/", 1)[-1]
    for ending in (".yaml", ".yml"):
        base = base.removesuffix(ending)
    safe = _UNSAFE.sub("_", base)[:_MAX_PREFIX]
    if safe == base:
        return safe
    return f"{safe}-{sha256(dag_name.encode()).hexdigest()[:4]}"


def single_name(name: str, what: str) -> str:
    """The name itself if it is one element of a path; `InvalidInputError` for anything that would lead elsewhere."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise InvalidInputError(
            [Problem(f"{what} {name!r} cannot be the name of a directory", "", "leave out slashes")]
        )
    return name


def run_dir_name(at: datetime, run_id: str) -> str:
    """The directory of a root run; also the name of any run's log directory."""
    return f"dag-run_{utc_stamp(at)}_{run_id}"


def parse_run_dir(name: str) -> str | None:
    """The run's id, None if the name is not that of a run's directory."""
    match = _RUN_DIR.fullmatch(name)
    return match[2] if match else None


def child_dir_name(run_id: str) -> str:
    """The directory of a run that another one called, below `CHILDREN` of the root run."""
    return f"child_{run_id}"


@dataclass(frozen=True, slots=True)
class AttemptName:
    """The parts of an attempt's directory name. Later attempts sort after earlier ones."""

    name: str
    stamp: str
    id: str


def parse_attempt_dir(name: str) -> AttemptName | None:
    """The parts, None if readers would not take it for an attempt (hidden ones begin with a dot)."""
    match = _ATTEMPT_DIR.fullmatch(name)
    return AttemptName(name, match[1], match[2]) if match else None


def attempt_dir_name(at: datetime, attempt_id: str, after: str = "") -> str:
    """A name for a new attempt that sorts after the attempt named `after`, even if the clock went back."""
    name = _attempt_name(at, attempt_id)
    last = parse_attempt_dir(after)
    if last is None or name > last.name:
        return name
    try:
        later = datetime.strptime(last.stamp, "%Y%m%d_%H%M%S_%f").replace(tzinfo=UTC) + timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        digits = int(last.stamp.replace("_", "")) + 1  # not a date; the next number still sorts after it
        text = f"{digits:017d}"
        return f"attempt_{text[:8]}_{text[8:14]}_{text[14:]}Z_{attempt_id}"
    return _attempt_name(later, attempt_id)


def _attempt_name(at: datetime, attempt_id: str) -> str:
    utc = at.astimezone(UTC)
    return f"attempt_{utc:%Y%m%d_%H%M%S}_{utc.microsecond // 1000:03d}Z_{attempt_id}"


def run_log_name(at: datetime, run_id: str) -> str:
    """The run's own log file."""
    return f"dag-run_{local_stamp(at)}.{run_id[:8]}.log"


def step_log_dir_name(at: datetime, attempt_id: str) -> str:
    """The directory of an attempt's step logs, beside the run's log."""
    return f"run_{utc_stamp(at)}_{attempt_id}"


def step_log_stem(step_name: str, at: datetime, run_id: str) -> str:
    """What both log files of a step begin with."""
    return f"{safe_name(step_name)}.{local_stamp(at)}.{run_id[:8]}"


def messages_file_name(step_name: str) -> str:
    """The file with a chat step's conversation, in `MESSAGES` of the run; Dagu keeps none of steps with a slash in their name."""
    return f"{single_name(step_name.replace('/', '_'), 'step')}.json"


def proc_file_name(at: datetime, run_id: str) -> str:
    """The liveness file of a root run."""
    return f"proc_{utc_stamp(at)}_{run_id}.proc"


def parse_proc_file(name: str) -> str | None:
    """The run's id, None if the name is not that of a liveness file."""
    match = _PROC_FILE.fullmatch(name)
    return match[1] if match else None


def queue_item_name(at: datetime, run_id: str) -> str:
    """A queue item of low priority, which is the only one that writers use."""
    utc = at.astimezone(UTC)
    return f"item_low_{utc:%Y%m%d_%H%M%S}_{utc.microsecond:06d}000Z_{run_id}.json"


def queue_item_order(name: str) -> tuple[bool, str, str] | None:
    """A key that sorts high priority first, then by age; None if the name is not that of an item."""
    match = _QUEUE_ITEM.fullmatch(name)
    return (match[1] != "high", match[2], match[3]) if match else None


def birthday(run_id: str) -> str:
    """
    The earliest day directory that a run of this id can be in: ids of version 7 carry their time.

    One day earlier, because clocks differ; empty for other ids.
    """
    try:
        value = uuid.UUID(run_id)
    except ValueError:
        return ""
    if value.version != 7 or str(value) != run_id:
        return ""
    try:
        return day_path(datetime.fromtimestamp((value.int >> 80) / 1000, UTC) - timedelta(days=1))
    except (ValueError, OverflowError):
        return ""
