"""What a step prints that is no program: into its logs, masked, copied and kept as a program's output would be."""

from __future__ import annotations

from functools import partial

from txdagu.execution.evaluation.masking import Masker
from txdagu.execution.files import StepFileError
from txdagu.execution.interfaces import Tap
from txdagu.execution.streams import Streams
from txdagu.model.dag import Step
from txdagu.store.interfaces import StepLogs
from txdagu.system.threads import InThread


def step_tap(step: Step, logs: StepLogs, masker: Masker, max_output_size: int) -> Tap | None:
    """
    What the output of a step's programs goes through; None where they write its logs themselves.

    The output has to be kept on its way where the log does not show it as it was: secrets are masked there, and a merged log
    has standard error in it.
    """
    keeps = step.output is not None and (bool(masker) or logs.stdout == logs.stderr)
    if not (masker or step.stdout or step.stderr or keeps):
        return None
    return Tap(masker or None, step.stdout, step.stderr, max_output_size + 1 if keeps else 0)


class StepPrinter:
    """
    Writes pieces in the order in which they come, one at a time; `close` ends it. Nothing is opened before the first piece.

    A secret is hidden however it is cut into pieces, so what could be the beginning of one waits for the next piece or the end.
    """

    def __init__(self, logs: StepLogs, tap: Tap | None, in_thread: InThread) -> None:
        self._logs = logs
        self._tap = tap or Tap()
        self._in_thread = in_thread
        self._streams: Streams | None = None
        self._of_programs = bytearray()

    @property
    def captured(self) -> bytes:
        """What the tap keeps of the standard output of the step's programs, then of what it printed itself."""
        return bytes(self._of_programs) + (bytes(self._streams.stdout.captured) if self._streams is not None else b"")

    def keep(self, captured: bytes) -> None:
        """Remember what the tap kept of a program's output, as far as that can still be asked for."""
        self._of_programs += captured[: max(0, self._tap.capture - len(self._of_programs))]

    async def write(self, data: bytes, *, error: bool = False) -> None:
        """Print to standard output, or to standard `error`. Raises `StepFileError` if that cannot be written."""
        if self._streams is None:
            self._streams = await self._in_thread(self._open)
        stream = self._streams.stderr if error else self._streams.stdout
        await self._in_thread(partial(stream.feed, data))
        self._check(self._streams)

    async def close(self) -> None:
        """Write what waits, and close the files. What was captured stays known. Raises `StepFileError` like `write`."""
        if self._streams is not None:
            await self._in_thread(self._streams.flush)
            await self._in_thread(self._streams.close)
            self._check(self._streams)

    def _open(self) -> Streams:
        try:
            return Streams(self._logs.stdout, self._logs.stderr, self._tap)
        except OSError as error:
            raise StepFileError(f"failed to setup outputs: cannot write {error.filename}: {error.strerror}") from error

    @staticmethod
    def _check(streams: Streams) -> None:
        if streams.trouble:
            raise StepFileError(streams.trouble)
