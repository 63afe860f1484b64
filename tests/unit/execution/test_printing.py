"""What steps print that are no programs."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.evaluation.masking import MASK, Masker
from txdagu.execution.files import StepFileError
from txdagu.execution.interfaces import Tap
from txdagu.execution.steps.printing import StepPrinter, step_tap
from txdagu.model.dag import Output, Step
from txdagu.store.interfaces import StepLogs


class PrinterTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        self.out, self.err, self.copy = (str(Path(directory, name)) for name in ("out", "err", "copy"))
        self.logs = StepLogs(self.out, self.err)

    def print(self, printer: StepPrinter, *pieces: bytes) -> None:
        for piece in pieces:
            self.successResultOf(Deferred.fromCoroutine(printer.write(piece)))

    def test_pieces(self) -> None:
        """A secret is hidden however it is cut, in log and copy; the tap keeps what was printed."""
        printer = StepPrinter(
            self.logs, Tap(Masker({"S": "secret"}), stdout_copy=self.copy, capture=100), maybeDeferred
        )
        self.print(printer, b"a sec", b"ret\xff se")
        self.successResultOf(Deferred.fromCoroutine(printer.write(b"err secret", error=True)))
        self.successResultOf(Deferred.fromCoroutine(printer.close()))
        for path in (self.out, self.copy):
            self.assertEqual(Path(path).read_bytes(), f"a {MASK}".encode() + b"\xff se")
        self.assertEqual(Path(self.err).read_text(), f"err {MASK}")
        self.assertEqual(printer.captured, b"a secret\xff se")

    def test_nothing(self) -> None:
        """Nothing printed, nothing opened."""
        printer = StepPrinter(self.logs, None, maybeDeferred)
        self.successResultOf(Deferred.fromCoroutine(printer.close()))
        self.assertFalse(Path(self.out).exists())

    def test_trouble(self) -> None:
        """A file that cannot be opened or written is told by its name."""
        for tap, phrase in (
            (Tap(stdout_copy="/dev/full"), "cannot write /dev/full: No space"),
            (Tap(stdout_copy="/dev/null/x"), "failed to setup outputs: cannot write /dev/null/x"),
        ):
            writing = Deferred.fromCoroutine(StepPrinter(self.logs, tap, maybeDeferred).write(b"x"))
            self.assertIn(phrase, str(self.failureResultOf(writing, StepFileError).value))

    def test_when_tapped(self) -> None:
        """Output passes through us only for secrets, copies, and outputs captured from a merged log."""
        none, secret = Masker({}), Masker({"S": "s"})
        merged = StepLogs(self.out, self.out)
        captured = Step("a", output=Output("O"))
        for step, logs, masker, tap in (
            (Step("a"), self.logs, none, None),
            (captured, self.logs, none, None),
            (Step("a"), merged, none, None),
            (captured, merged, none, Tap(capture=11)),
            (captured, self.logs, secret, Tap(secret, capture=11)),
            (Step("a"), self.logs, secret, Tap(secret)),
            (Step("a", stderr="/e"), self.logs, none, Tap(stderr_copy="/e")),
        ):
            self.assertEqual(step_tap(step, logs, masker, 10), tap)
