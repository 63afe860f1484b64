"""Output of real processes that passes through this one."""

from __future__ import annotations

import resource
from typing import Any

from tests.unit.execution.test_processes import ProcessCase

from txdagu.execution.evaluation.masking import MASK, Masker
from txdagu.execution.interfaces import ExitStatus, Tap
from txdagu.execution.processes import ProcessStartError


class TapTests(ProcessCase):
    async def ended(self, script: str, tap: Tap, **more: Any) -> ExitStatus:
        process = await self.runner.run(self.spec("sh", "-c", script, tap=tap, **more))
        status: ExitStatus = await process.ended
        return status

    async def test_masked(self) -> None:
        """Secrets are hidden wherever the program cuts them; what is kept is as it was printed; all else is byte-exact."""
        script = "printf '\\377\\000se'; printf 'cret\\n'; echo a secret >&2; exit 3"
        status = await self.ended(script, Tap(Masker({"S": "secret"}), capture=100))
        self.assertEqual((status.code, status.captured, status.trouble), (3, b"\xff\x00secret\n", ""))
        self.assertEqual(self.file("out").read_bytes(), b"\xff\x00" + MASK.encode() + b"\n")
        self.assertEqual(self.file("err").read_text(), f"a {MASK}\n")

    async def test_copies(self) -> None:
        """A copy is appended to; the log is complete; both streams may go to one copy."""
        self.file("copy").write_text("before\n")
        copy = str(self.file("copy"))
        await self.ended("echo o; echo e >&2", Tap(stdout_copy=copy, stderr_copy=copy))
        self.assertEqual(self.file("out").read_text(), "o\n")
        self.assertEqual(sorted(self.file("copy").read_text().splitlines()), ["before", "e", "o"])
        self.assertEqual(self.file("copy").stat().st_mode & 0o777, 0o644)

    async def test_merged_keeps_order(self) -> None:
        """Where nothing tells the streams of a merged log apart, lines stand in the order in which they were printed."""
        script = "for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done"
        await self.ended(script, Tap(Masker({"S": "secret"})), stderr=str(self.file("out")))
        lines = [f"{stream}{number}" for number in range(1, 10) for stream in "oe"]
        self.assertEqual(self.file("out").read_text().split(), lines)

    async def test_long_line(self) -> None:
        """A line of 64 MB costs a bounded buffer, and arrives whole."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tap = Tap(Masker({"S": "secret"}), capture=1000)
        status = await self.ended("head -c 64000000 /dev/zero; echo secret", tap)
        self.assertEqual(len(status.captured), 1000)
        self.assertEqual(self.file("out").stat().st_size, 64000000 + len(MASK) + 1)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 30_000)

    async def test_background(self) -> None:
        """Who is left in the background does not hold the step up, and what it prints later is still written, masked."""
        script = "(read line < go; echo a secret; echo done) & echo now"
        self.assertEqual((await self.ended("mkfifo go", Tap())).code, 0)
        status = await self.ended(script, Tap(Masker({"S": "secret"}), capture=100))
        self.assertEqual(status.captured, b"now\n")
        with self.file("go").open("w") as go:
            go.write("x\n")
        await self.output_has("done")
        self.assertEqual(self.file("out").read_text(), f"now\na {MASK}\ndone\n")

    async def test_full_disk(self) -> None:
        """A copy that cannot be written is told, the log is written all the same, and the program runs to its end."""
        status = await self.ended("echo o; exit 0", Tap(stdout_copy="/dev/full"))
        self.assertEqual((status.code, status.trouble), (0, "cannot write /dev/full: No space left on device"))
        self.assertEqual(self.file("out").read_text(), "o\n")

    async def test_start_problems(self) -> None:
        """A missing program or directory is told as without a tap."""
        copy = str(self.file("gone") / "x")
        for argv, tap, phrase in (
            (("no-such-program",), Tap(capture=1), "no such program"),
            (("true",), Tap(stdout_copy=copy), f"failed to setup outputs: cannot write {copy}"),
        ):
            error = await self.assertFailure(self._start(argv, tap), ProcessStartError)
            self.assertIn(phrase, str(error))

    def _start(self, argv: tuple[str, ...], tap: Tap) -> Any:
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(self.runner.run(self.spec(*argv, tap=tap)))
