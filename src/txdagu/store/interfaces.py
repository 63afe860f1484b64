"""How runs are kept: one interface to write them, one to read them, whatever lies behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from zope.interface import Attribute, Interface

from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Dag
from txdagu.model.run import RunRef, RunStatus


@dataclass(frozen=True, slots=True)
class StepLogs:
    """The files that take what a step prints; absolute paths, created empty with mode 0600; the same one twice where merged."""

    stdout: str
    stderr: str


class IRunSink(Interface):
    """Takes everything that one attempt of one run writes. One writer per attempt."""

    attempt_id = Attribute("The attempt's id, six hexadecimal digits where we chose it.")
    attempt_name = Attribute("The attempt's directory name.")
    log = Attribute("Absolute path of the run's own log file.")

    def step_logs(step_name: str, at: datetime, merged: bool = False) -> Awaitable[StepLogs]:
        """Create the two log files of a step that starts `at` that time, or the one file of a `merged` one."""

    def write_log(line: str) -> None:
        """Append one line, without its end, to the run's log."""

    def write_status(status: RunStatus) -> None:
        """
        Keep this state. Returns at once; writes happen in a thread, in order; states that a newer one overtakes before
        they were written may be left out.
        """

    def write_messages(step_name: str, messages: Sequence[ChatMessage]) -> Awaitable[None]:
        """Keep the conversation of a chat step, in place of an earlier one. All attempts of a run share them."""

    def read_messages(step_name: str) -> Awaitable[tuple[ChatMessage, ...]]:
        """The conversation of a chat step, of this attempt or an earlier one; empty if there is none that can be read."""

    def close(status: RunStatus) -> Awaitable[None]:
        """
        Keep the final state and end the attempt: outputs file, last status line, compaction, release of the liveness file.

        When it fires, everything is on disk. Calling it twice is an error.
        """

    def abandon() -> Awaitable[None]:
        """End the attempt without another word: it is somebody else's run now. Only the liveness file is given back."""

    def watch_cancel(requested: Callable[[], None]) -> None:
        """Call `requested` once, as soon as somebody asks for this attempt's end. Stops when the attempt is closed."""


class IRunStore(Interface):
    """Where runs live: begins attempts, and answers questions about runs, whoever wrote them."""

    def open_attempt(
        dag: Dag, run: RunRef, root: RunRef, attempt_name: str = "", new: bool = False
    ) -> Awaitable[IRunSink]:
        """
        Begin an attempt: run directory (made if missing), attempt directory, snapshot of the DAG, run log, and for a root
        run its liveness file, kept fresh until the attempt is closed.

        `attempt_name` is the directory name that a coordinator chose; empty: one is made. Raises `ConflictError` if `new` and the
        run exists already, or if the run is alive elsewhere.
        """

    def read_status(run: RunRef, root: RunRef) -> Awaitable[RunStatus | None]:
        """The latest state of a run, None if it has none yet. A running root run whose process is gone is told as failed."""

    def read_dag(run: RunRef, root: RunRef) -> Awaitable[Dag | None]:
        """The snapshot that the run's latest attempt took of its DAG."""

    def read_messages(run: RunRef, root: RunRef, step_name: str) -> Awaitable[tuple[ChatMessage, ...]]:
        """The conversation of a run's chat step; empty if there is none that can be read."""

    def latest_run(dag_name: str) -> Awaitable[RunRef | None]:
        """The newest run of that DAG."""

    def watch(run: RunRef, root: RunRef, changed: Callable[[], None]) -> Callable[[], None]:
        """
        Call `changed` soon after the run's state may have changed, at least once a second, until the returned function is
        called. Works for a run that has no files yet.
        """

    def request_cancel(run: RunRef, root: RunRef) -> Awaitable[bool]:
        """Ask whoever executes the run's latest attempt to end it; False if there is no attempt to ask."""

    def enqueue(dag: Dag, status: RunStatus, queue: str) -> Awaitable[None]:
        """
        Write a queued attempt with its snapshot, then its queue item; an empty `queue` writes no item, for a run that is
        dispatched at once. Nodes and time of queueing are filled in where `status` has none. `ConflictError` if the run exists.
        """

    def amend(run: RunRef, root: RunRef, change: Callable[[RunStatus], RunStatus]) -> Awaitable[RunStatus]:
        """
        Put what `change` makes of the latest state in its place; the new state. Nobody else changes the run meanwhile.

        What `change` raises leaves the run as it was. Raises `NotFoundError`, and `ConflictError` while anybody executes the
        run or its root.
        """

    def requeue(run: RunRef, queued: bool = True) -> Awaitable[RunStatus]:
        """
        Let a root run that waits for a person go on: writes a queued attempt with the snapshot and the nodes it has, and with
        `queued` its queue item; the queued state. Of several who ask one succeeds. Raises `ConflictError` for the others, and
        `NotFoundError`.
        """

    def withdraw(run: RunRef) -> Awaitable[bool]:
        """Take away a queued run that nobody has begun, as if it had never been; False if it is none."""


class IRunQueue(Interface):
    """The queue directories that `IRunStore.enqueue` fills and the scheduler empties."""

    def items() -> Awaitable[list[tuple[str, RunRef]]]:
        """All waiting runs as (queue, run): high priority first, then oldest first within each queue."""

    def remove(queue: str, run: RunRef) -> Awaitable[None]:
        """Take all items of that run out of the queue; none there is fine."""

    def running(queue: str) -> Awaitable[int]:
        """How many runs of that queue are alive now, by their liveness files."""

    def watch(changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` soon after items may have come or gone, until the returned function is called."""
