"""Output that passes through this process: read from pipes in a thread, masked, kept, and written to files."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable

from txdagu.execution.evaluation.masking import MaskedStream
from txdagu.execution.interfaces import Tap
from txdagu.system.files import write_all

CHUNK = 64 * 1024
LEFT_IN_PIPE = 1024 * 1024  # what a pipe can hold at most, unless an administrator allows more


class OutputFile:
    """A file that is appended to. After the first failure nothing more is written, and `trouble` says why."""

    def __init__(self, path: str, append: bool = True) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
        self.path = path
        self.trouble = ""
        self._descriptor = os.open(path, flags, 0o600)

    def write(self, data: bytes) -> None:
        """Append, unless that failed before."""
        if not self.trouble:
            try:
                write_all(self._descriptor, data)
            except OSError as error:
                self.trouble = f"cannot write {self.path}: {error.strerror}"

    def close(self) -> None:
        """No more is written."""
        os.close(self._descriptor)


class OutputStream:
    """One stream of a program on its way: kept as it is up to `capture` bytes, masked, written to all `files`."""

    def __init__(self, files: tuple[OutputFile, ...], masked: MaskedStream | None, capture: int = 0) -> None:
        self.captured = bytearray()
        self._files = files
        self._masked = masked
        self._capture = capture

    def feed(self, data: bytes) -> None:
        """Take what was printed."""
        if len(self.captured) < self._capture:
            self.captured += data[: self._capture - len(self.captured)]
        self._write(self._masked.feed(data) if self._masked is not None else data)

    def flush(self) -> None:
        """Write what was held back."""
        if self._masked is not None:
            self._write(self._masked.flush())

    def _write(self, data: bytes) -> None:
        if data:
            for file in self._files:
                file.write(data)


class Streams:
    """
    The streams and files of a step's output: `stdout` and `stderr` are its log files. Raises `OSError` with the name of a file
    that cannot be opened.

    Where one file takes both streams and nothing has to tell them apart, there is one stream, so that their order stays.
    """

    def __init__(self, stdout: str, stderr: str, tap: Tap, *, append: bool = True) -> None:
        self._files: dict[str, OutputFile] = {}
        try:
            out_files = self._open(stdout, tap.stdout_copy, append)
            err_files = self._open(stderr, tap.stderr_copy, append)
        except OSError:
            self.close()
            raise
        masker = tap.masker
        self.stdout = OutputStream(out_files, masker.stream() if masker else None, tap.capture)
        one = stdout == stderr and not tap.separates
        self.stderr = self.stdout if one else OutputStream(err_files, masker.stream() if masker else None)

    def _open(self, log: str, copy: str, append: bool) -> tuple[OutputFile, ...]:
        opened: list[OutputFile] = []
        for path, appends in ((log, append), (copy, True)):
            if path:
                if path not in self._files:
                    self._files[path] = OutputFile(path, appends)
                opened.append(self._files[path])
        return tuple(opened)

    @property
    def trouble(self) -> str:
        """Why a part of the output could not be written; empty if all could."""
        return next((file.trouble for file in self._files.values() if file.trouble), "")

    def flush(self) -> None:
        """Write what was held back."""
        self.stdout.flush()
        if self.stderr is not self.stdout:
            self.stderr.flush()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


class Pump:
    """
    A thread that moves a program's output from its pipes to its `Streams`. Memory stays within a few chunks: a program that
    prints faster than the disk takes it has to wait.

    `stdout` and `stderr` are the ends for the program; the starter closes them when the program has them. `program_ended`
    tells of its end: what it left in the pipes is moved still, then `drained` is called, in the thread, with what was kept of
    standard output and with the trouble that there was. Who else holds a pipe, some process that the program left in the
    background, goes on being heard until it closes it.
    """

    def __init__(self, streams: Streams, drained: Callable[[bytes, str], None]) -> None:
        self.streams = streams
        self._drained = drained
        self._selector = selectors.DefaultSelector()
        self._ended, self._wake = os.pipe2(os.O_CLOEXEC)
        self._selector.register(self._ended, selectors.EVENT_READ)
        self._open: set[int] = set()
        self.stdout = self._pipe(streams.stdout)
        self.stderr = self.stdout if streams.stderr is streams.stdout else self._pipe(streams.stderr)

    def _pipe(self, stream: OutputStream) -> int:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        self._selector.register(reading, selectors.EVENT_READ, stream)
        self._open.add(reading)
        return writing

    def close_writing(self) -> None:
        """Close the ends that the program has now, or will never have."""
        for descriptor in {self.stdout, self.stderr}:
            os.close(descriptor)

    def start(self) -> None:
        """Begin to move output."""
        threading.Thread(target=self._run, name="step output", daemon=True).start()

    def abandon(self) -> None:
        """The program could not be started: close everything but the ends for it."""
        self.program_ended()
        self._close()

    def program_ended(self) -> None:
        """The program has ended; called once."""
        os.close(self._wake)

    def _run(self) -> None:
        drained = False
        while self._open or not drained:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._selector.unregister(self._ended)
                    self._drain()
                    drained = True
                    break
                self._move(key.fd, key.data)
        self.streams.flush()
        self._close()

    def _drain(self) -> None:
        """Move what the program has left, and no more than that: somebody else may go on printing for ever."""
        for reading, stream in [(key.fd, key.data) for key in self._selector.get_map().values()]:
            moved, last = 0, 1
            while last and moved < LEFT_IN_PIPE:
                last = self._move(reading, stream)
                moved += last
        self.streams.flush()
        self._drained(bytes(self.streams.stdout.captured), self.streams.trouble)

    def _move(self, reading: int, stream: OutputStream) -> int:
        """Move one chunk; its length, 0 if there is none now, or none any more."""
        try:
            data = os.read(reading, CHUNK)
        except BlockingIOError:
            return 0
        if data:
            stream.feed(data)
        else:
            self._selector.unregister(reading)
            self._open.discard(reading)
            os.close(reading)
        return len(data)

    def _close(self) -> None:
        self._selector.close()
        os.close(self._ended)
        for reading in self._open:
            os.close(reading)
        self._open.clear()
        self.streams.close()
