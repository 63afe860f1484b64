"""One attempt's writer in the reactor's thread: takes states and lines at any rate, and lets a thread write them in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from txdagu.model.chat import ChatMessage
from txdagu.model.errors import UnavailableError
from txdagu.model.run import RunStatus
from txdagu.store.attempt import Attempt
from txdagu.store.interfaces import IRunSink, StepLogs
from txdagu.store.layout import CANCEL_FILE
from txdagu.system.notices import Notices
from txdagu.system.places import Place
from txdagu.system.rounds import Rounds
from txdagu.system.threads import InThread

# A run of a thousand steps has lines of hundreds of kilobytes. Each holds the whole state, so leaving some out loses nothing, and
# the status file grows by what a disk takes easily, not with the square of the steps.
STATUS_BYTES_PER_SECOND = 8_000_000
_SHORTEST_PAUSE = 0.002
_RETRY_SECONDS = 1.0


@implementer(IRunSink)
class SharedDiskSink:
    """
    The sink of one attempt on a shared disk.

    `beats` and `looks` are rounds for the liveness file and the cancel flag; `closed` is called when the attempt has ended.
    """

    _logger = Logger()

    def __init__(
        self,
        attempt: Attempt,
        clock: IReactorTime,
        in_thread: InThread,
        notices: Notices,
        beats: Rounds,
        looks: Rounds,
    ) -> None:
        self._attempt = attempt
        self._clock = clock
        self._in_thread = in_thread
        self._notices = notices
        self._looks = looks
        self._status: RunStatus | None = None
        self._lines: list[str] = []
        self._writing = DeferredLock()
        self._draining = False
        self._pause: Deferred[None] | None = None
        self._closed = False
        self._complained = False
        self._ends: list[Callable[[], None]] = []
        if attempt.liveness:
            self._ends.append(beats.add(attempt.liveness.beat, _nothing))

    @property
    def attempt_id(self) -> str:
        """The attempt's id."""
        return self._attempt.place.id

    @property
    def attempt_name(self) -> str:
        """The attempt's directory name."""
        return self._attempt.place.directory.name

    @property
    def log(self) -> str:
        """Absolute path of the run's own log file."""
        return str(self._attempt.place.log)

    async def step_logs(self, step_name: str, at: datetime, merged: bool = False) -> StepLogs:
        """See `IRunSink`."""
        return await self._in_thread(lambda: self._attempt.step_logs(step_name, at, merged))

    async def write_messages(self, step_name: str, messages: Sequence[ChatMessage]) -> None:
        """See `IRunSink`. `UnavailableError` if the disk does not take them."""
        try:
            await self._in_thread(lambda: self._attempt.write_messages(step_name, messages))
        except OSError as error:
            raise UnavailableError(
                f"the conversation cannot be written to {error.filename}: {error.strerror}; make room or bring the disk back"
            ) from error

    async def read_messages(self, step_name: str) -> tuple[ChatMessage, ...]:
        """See `IRunSink`."""
        return await self._in_thread(lambda: self._attempt.read_messages(step_name))

    def write_log(self, line: str) -> None:
        """See `IRunSink`. After the end of the attempt, lines are dropped with a warning."""
        if self._closed:
            self._logger.warn("run {run}: log line after the attempt's end: {line}", run=self._attempt.run, line=line)
            return
        self._lines.append(line)
        self._drain_soon()

    def write_status(self, status: RunStatus) -> None:
        """See `IRunSink`. After the end of the attempt, states are dropped with a warning."""
        if self._closed:
            self._logger.warn(
                "run {run}: state {state} after the attempt's end", run=self._attempt.run, state=status.state.label
            )
            return
        self._status = status
        self._drain_soon()

    async def close(self, status: RunStatus) -> None:
        """
        See `IRunSink`.

        `UnavailableError` if the disk does not take the final state; closing may then be tried again. The liveness file is
        released in any case.
        """
        if self._closed:
            raise RuntimeError(f"the attempt of run {self._attempt.run} is closed already")
        self._closed = True
        for end in self._ends:
            end()
        self._ends.clear()
        self._wake()
        await self._writing.acquire()
        lines, self._lines, self._status = self._lines, [], None
        try:
            await self._in_thread(lambda: self._attempt.close(status, lines))
        except OSError as error:
            self._closed = False
            self._lines = lines
            raise UnavailableError(
                f"the final state of run {self._attempt.run} cannot be written to {self._attempt.place.directory}: "
                f"{error.strerror}; make room or bring the disk back"
            ) from error
        finally:
            self._writing.release()

    async def abandon(self) -> None:
        """See `IRunSink`."""
        self._closed = True
        for end in self._ends:
            end()
        self._ends.clear()
        self._lines, self._status = [], None
        self._wake()
        await self._writing.acquire()
        try:
            await self._in_thread(self._attempt.release)
        finally:
            self._writing.release()

    def watch_cancel(self, requested: Callable[[], None]) -> None:
        """See `IRunSink`."""
        if self._closed:
            return
        place = Place(str(self._attempt.place.directory), CANCEL_FILE)
        ends: list[Callable[[], None]] = []

        def found() -> None:
            if ends and not self._closed:
                self._ends.remove(stop)
                stop()
                requested()

        def told(_place: Place) -> None:
            found()

        def stop() -> None:
            for end in ends:
                end()
            ends.clear()

        self._notices.add(place, told)
        ends.append(lambda: self._notices.remove(place, told))
        ends.append(self._looks.add(self._attempt.cancel_requested, found))
        self._ends.append(stop)
        self._in_thread(self._attempt.cancel_requested).addCallback(
            lambda there: found() if there else None
        ).addErrback(lambda failure: self._logger.failure("run {run}: cancel flag", failure, run=self._attempt.run))

    def _drain_soon(self) -> None:
        if not self._draining:
            self._draining = True
            Deferred.fromCoroutine(self._drain()).addErrback(
                lambda failure: self._logger.failure("run {run}: writing its state", failure, run=self._attempt.run)
            )

    async def _drain(self) -> None:
        try:
            while not self._closed and (self._status or self._lines):
                await self._writing.acquire()
                try:
                    seconds = await self._write_once()
                finally:
                    self._writing.release()
                if seconds >= _SHORTEST_PAUSE:
                    await self._rest(seconds)
        finally:
            self._draining = False

    async def _write_once(self) -> float:
        """Write what there is; how many seconds to pause then."""
        status, lines = self._status, self._lines
        self._status, self._lines = None, []
        if not status and not lines:
            return 0.0
        try:
            size = await self._in_thread(lambda: self._attempt.append(status, lines))
        except OSError as error:
            self._status = self._status or status
            self._lines = lines + self._lines
            if not self._complained:
                self._complained = True
                self._logger.error(
                    "run {run}: its state cannot be written to {directory}: {reason}; trying again each second",
                    run=self._attempt.run,
                    directory=self._attempt.place.directory,
                    reason=error.strerror,
                )
            return _RETRY_SECONDS
        if self._complained:
            self._complained = False
            self._logger.info("run {run}: its state can be written again", run=self._attempt.run)
        return size / STATUS_BYTES_PER_SECOND

    async def _rest(self, seconds: float) -> None:
        if self._closed:
            return
        self._pause = Deferred()
        call: IDelayedCall = self._clock.callLater(seconds, self._wake)
        try:
            await self._pause
        finally:
            self._pause = None
            if call.active():
                call.cancel()

    def _wake(self) -> None:
        if self._pause and not self._pause.called:
            self._pause.callback(None)


def _nothing() -> None:
    """A beat concerns nobody."""
