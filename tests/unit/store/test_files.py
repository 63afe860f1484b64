"""The small file formats: status file, lock, liveness file, outputs, queue items."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import TestCase
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from txdagu.model.dag import Output, Step
from txdagu.model.errors import ConflictError, InvalidInputError, UnavailableError
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.dirlock import DirectoryLocks
from txdagu.store.errors import CorruptRecordError
from txdagu.store.liveness import ProcFiles, is_alive
from txdagu.store.outputsjson import camel_case, encode_outputs
from txdagu.store.queuefiles import QueueFiles
from txdagu.store.statusfile import StatusFile, read_last
from txdagu.system.files import names_in

NOW = datetime(2026, 11, 23, 17, 54, 29, tzinfo=UTC)


class InDirectory(TestCase):
    """A directory for each test."""

    def setUp(self) -> None:
        """What each test needs."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.home = Path(holder.name)
        self.at = NOW

    def now(self) -> datetime:
        """The time that the test has set."""
        return self.at


def number(line: bytes) -> int:
    """A record of these tests."""
    return int(line)


class StatusFileTests(InDirectory):
    """Lines of a status file."""

    def setUp(self) -> None:
        """What each test needs."""
        super().setUp()
        self.path = self.home / "status.jsonl"

    def test_last_line_holds(self) -> None:
        """Each record replaces the one before; the file is its owner's only."""
        file = StatusFile(self.path)
        for line in (b"1\n", b"2\n"):
            file.append(line)
        self.assertEqual(read_last(self.path, number), 2)
        self.assertEqual(self.path.read_bytes(), b"1\n2\n")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_what_counts_as_a_line(self) -> None:
        """Lines without an end, empty and unreadable ones are passed over; a carriage return does no harm."""
        for content, expected in (
            (b"1\n2", 1),
            (b"x\n1\n\n  \n", 1),
            (b"1\r\n", 1),
            (b"1\nx\ny\n", 1),
            (b"1\n2\n3" + b" " * 70_000 + b"\n", 3),
            (b"1\n" + b"x" * 200_000 + b"\n", 1),
            (b"1\n" + b"x" * 200_000, 1),
            (b" " * 70_000 + b"7\n", 7),
        ):
            self.path.write_bytes(content)
            self.assertEqual(read_last(self.path, number), expected)

    def test_corrupt(self) -> None:
        """A file without any record is an error that names it and says why; a missing one is a missing one."""
        for content, reason in (
            (b"", "empty"),
            (b"1", "complete"),
            (b"x\n", "invalid literal"),
            (b"\n\n", "complete"),
        ):
            self.path.write_bytes(content)
            with self.assertRaisesRegex(CorruptRecordError, f"{self.path}.*({reason})"):
                read_last(self.path, number)
        self.path.unlink()
        with self.assertRaises(FileNotFoundError):
            read_last(self.path, number)

    @given(st.lists(st.integers(0, 10**30), min_size=1), st.integers(0, 40), st.integers(1, 9))
    def test_cut_off_anywhere(self, numbers: list[int], cut: int, block: int) -> None:
        """However much of the end is lost, the last whole record is found, whatever the size of blocks."""
        content = b"".join(b"%d\n" % value for value in numbers)
        content = content[: max(len(content) - cut, content.index(b"\n") + 1)]
        self.path.write_bytes(content)
        with patch("txdagu.store.statusfile._BLOCK", block):
            self.assertEqual(read_last(self.path, number), int(content[: content.rindex(b"\n")].split(b"\n")[-1]))

    def test_heals_the_tail(self) -> None:
        """A record appended after a line that was cut off is not glued to it."""
        self.path.write_bytes(b"1\n2")
        StatusFile(self.path).append(b"3\n")
        self.assertEqual(read_last(self.path, number), 3)
        self.assertEqual(self.path.read_bytes(), b"1\n2\n3\n")

    def test_heals_what_a_full_disk_cut_off(self) -> None:
        """After a write that came to nothing in the middle, the next record is a line of its own."""
        file = StatusFile(self.path)
        file.append(b"1\n")
        real, cuts = os.write, [1]

        def full(descriptor: int, data: bytes) -> int:
            if cuts:
                return real(descriptor, bytes(data)[: cuts.pop()])
            raise OSError(28, "No space left on device")

        with patch("os.write", full), self.assertRaises(OSError):
            file.append(b"23\n")
        file.append(b"4\n")
        self.assertEqual(self.path.read_bytes(), b"1\n2\n4\n")

    def test_finish(self) -> None:
        """In the end a large file holds one record, of another size than before, and a small one some lines."""
        large = b" " * 70_000
        for first, last, expected in (
            (b"1\n", b"2\n", b"1\n2\n"),
            (large + b"1\n", b"2\n", b"2\n"),
            (large + b"1\n", large + b"2\n", large + b"2 \n"),
        ):
            self.path.unlink(missing_ok=True)
            file = StatusFile(self.path)
            file.append(first)
            file.finish(last, "t")
            self.assertEqual(self.path.read_bytes(), expected)
            self.assertEqual(names_in(self.home), ["status.jsonl"])
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_finish_that_fails(self) -> None:
        """If the last record cannot be written, the one before stays and no temporary file does."""
        file = StatusFile(self.path)
        file.append(b"1" + b" " * 70_000 + b"\n")
        with patch("os.write", side_effect=OSError(28, "No space left on device")), self.assertRaises(OSError):
            file.finish(b"2\n", "t")
        self.assertEqual(read_last(self.path, number), 1)
        self.assertEqual(names_in(self.home), ["status.jsonl"])

    def test_while_dagu_compacts(self) -> None:
        """Between Dagu's removal of the file and its rename, the compacted file is read."""
        (self.home / "compact_123.tmp").write_bytes(b"5\n")
        self.assertEqual(read_last(self.path, number), 5)


class DirectoryLockTests(InDirectory):
    """Locks between programs."""

    def setUp(self) -> None:
        """What each test needs."""
        super().setUp()
        self.waits: list[float] = []
        self.locks = DirectoryLocks(self.now, self.waits.append)
        self.lock = self.home / "locked" / ".dagu_lock"

    def test_held_and_released(self) -> None:
        """The lock is a directory that is there exactly while it is held, also when the work fails."""
        with self.assertRaises(KeyError), self.locks.hold(self.lock.parent, 30):
            self.assertTrue(self.lock.is_dir())
            self.assertEqual(self.lock.stat().st_mode & 0o777, 0o700)
            raise KeyError
        self.assertFalse(self.lock.exists())

    def test_held_by_another_program(self) -> None:
        """One waits 50 ms at a time, and gives up after 10 s with the lock's name."""
        self.lock.mkdir(parents=True)
        self.at = datetime.fromtimestamp(self.lock.stat().st_mtime + 29, UTC)
        with self.assertRaisesRegex(UnavailableError, str(self.lock)), self.locks.hold(self.lock.parent, 30):
            self.fail("the lock was held")
        self.assertAlmostEqual(sum(self.waits), 10, places=0)
        self.assertEqual(set(self.waits), {0.05})
        self.assertTrue(self.lock.exists())

    def test_stale(self) -> None:
        """A lock older than its threshold is taken over."""
        self.lock.mkdir(parents=True)
        self.at = datetime.fromtimestamp(self.lock.stat().st_mtime + 31, UTC)
        with self.locks.hold(self.lock.parent, 30):
            self.assertTrue(self.lock.exists())
        self.assertEqual(self.waits, [])

    def test_released_by_the_other(self) -> None:
        """The lock is had as soon as the other lets go."""
        self.lock.mkdir(parents=True)
        self.at = datetime.fromtimestamp(self.lock.stat().st_mtime, UTC)
        locks = DirectoryLocks(self.now, lambda _seconds: self.lock.rmdir())
        with locks.hold(self.lock.parent, 30):
            self.assertTrue(self.lock.exists())

    def test_threads_take_turns(self) -> None:
        """Threads of one process hold the lock one after the other, without waiting rounds of 50 ms."""
        inside: list[int] = []
        most: list[int] = []

        def work() -> None:
            for _ in range(50):
                with self.locks.hold(self.lock.parent, 30):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((max(most), len(most), self.waits), (1, 200, []))


class LivenessTests(InDirectory):
    """Liveness files."""

    def setUp(self) -> None:
        """What each test needs."""
        super().setUp()
        self.files = ProcFiles(self.home / "proc", self.now, DirectoryLocks(self.now))

    def age(self, path: Path, seconds: float) -> None:
        """Make the file so old, as its own time says."""
        at = self.at.timestamp() - seconds
        os.utime(path, (at, at))

    def test_table(self) -> None:
        """A fresh file or a fresh time in it is enough; short contents and times far ahead are not believed."""
        now = NOW.timestamp()

        def stamp(age: float) -> bytes:
            return int(now - age).to_bytes(8, "big")

        for content, modified, alive in (
            (stamp(0), 0, True),
            (stamp(0), 100, True),
            (stamp(100), 0, True),
            (stamp(100), 100, False),
            (b"\0\0\0", 100, False),
            (b"", 0, True),
            (stamp(-3600), 100, False),
            (stamp(-200), 100, True),
            (stamp(44), 100, True),
            (stamp(45), 100, False),
            (stamp(100), 44, True),
            (stamp(100), 45, False),
        ):
            self.assertEqual(is_alive(content, now - modified, now), alive, (content, modified))

    def test_file(self) -> None:
        """Eight bytes of Unix seconds, big-endian, where Dagu looks for them; gone with its directory after release."""
        held = self.files.acquire("shared-q", "slow", "slow-1", take_over=False)
        path = self.home / "proc" / "shared-q" / "slow" / "proc_20261123_175429Z_slow-1.proc"
        self.assertEqual(held.path, path)
        self.assertEqual(path.read_bytes(), int(NOW.timestamp()).to_bytes(8, "big"))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.at += timedelta(seconds=15)
        held.beat()
        self.assertEqual(path.read_bytes(), int(self.at.timestamp()).to_bytes(8, "big"))
        held.release()
        held.release()
        held.beat()
        self.assertEqual(names_in(self.home / "proc" / "shared-q"), [])

    def test_made_again(self) -> None:
        """A file that a reader deleted comes back at the next beat."""
        held = self.files.acquire("q", "d", "r", take_over=False)
        held.path.unlink()
        held.path.parent.rmdir()
        self.assertFalse(self.files.is_alive("q", "d", "r"))
        held.beat()
        self.assertTrue(self.files.is_alive("q", "d", "r"))

    def test_readers_delete_nothing(self) -> None:
        """A dead run's file is told as dead and left where it is."""
        held = self.files.acquire("q", "d", "r", take_over=False)
        self.at += timedelta(seconds=100)
        self.age(held.path, 100)
        self.assertFalse(self.files.is_alive("q", "d", "r"))
        self.assertEqual(self.files.running("q"), 0)
        self.assertTrue(held.path.exists())

    def test_one_holder(self) -> None:
        """Only one process may hold a living run; a dead one's place, or one taken over, is free."""
        held = self.files.acquire("q", "d", "r", take_over=False)
        with self.assertRaisesRegex(ConflictError, "d:r"):
            self.files.acquire("q", "d", "r", take_over=False)
        self.files.acquire("q", "d", "other-r", take_over=False)
        self.assertEqual(self.files.running("q"), 2)
        self.at += timedelta(seconds=100)
        self.age(held.path, 100)
        again = self.files.acquire("q", "d", "r", take_over=False)
        taken = self.files.acquire("q", "d", "r", take_over=True)
        self.assertEqual(self.files.running("q"), 2)
        again.release()
        self.assertTrue(taken.path.exists())
        self.assertEqual(self.files.running("q"), 2)

    def test_paths_cannot_lead_elsewhere(self) -> None:
        """Names of queues are taken as they are, but only if they are single names."""
        for queue in ("..", "a/b", ""):
            with self.assertRaises(InvalidInputError):
                self.files.running(queue)
        self.assertEqual(self.files.running("dotted.v1 with blanks"), 0)


class OutputsTests(TestCase):
    """The outputs file."""

    def test_camel_case(self) -> None:
        """Variables are renamed as Dagu 1.30.2 does it."""
        for variable, expected in (
            ("ONE_OUT", "oneOut"),
            ("Result", "result"),
            ("my_var", "myVar"),
            ("_X", "x"),
            ("A__B", "aB"),
            ("X1_Y2_", "x1Y2"),
            ("fooBar", "foobar"),
            ("FOOBar_baZ", "foobarBaz"),
        ):
            self.assertEqual(camel_case(variable), expected)

    def test_file(self) -> None:
        """A real file, byte for byte, with keys sorted, those given used and those left out left out."""
        run = RunRef("basic", "run-A_1")

        def node(name: str, value: str, key: str = "", omit: bool = False) -> NodeStatus:
            return NodeStatus(Step(name, output=Output(name, key, omit)), outputs={name: value})

        status = RunStatus(
            run,
            run,
            RunState.SUCCEEDED,
            attempt_id="c5c766",
            finished_at=NOW,
            params=("FOO=bar", "NUM=2"),
            nodes=(
                node("TWO_OUT", "1", "twoKey"),
                node("ONE_OUT", "old"),
                node("SECRET", "x", omit=True),
                node("ONE_OUT", "new"),
            ),
        )
        self.assertEqual(
            (encode_outputs(status) or b"").decode(),
            "{\n"
            '  "metadata": {\n'
            '    "dagName": "basic",\n'
            '    "dagRunId": "run-A_1",\n'
            '    "attemptId": "c5c766",\n'
            '    "status": "succeeded",\n'
            '    "completedAt": "2026-11-23T17:54:29Z",\n'
            '    "params": "[\\"FOO=bar\\",\\"NUM=2\\"]"\n'
            "  },\n"
            '  "outputs": {\n'
            '    "oneOut": "new",\n'
            '    "twoKey": "1"\n'
            "  }\n"
            "}",
        )

    def test_no_outputs_no_file(self) -> None:
        """A run without outputs has no outputs file."""
        run = RunRef("d", "r")
        self.assertIsNone(encode_outputs(RunStatus(run, run, nodes=(NodeStatus(Step("a", output=Output("A"))),))))


class QueueFilesTests(InDirectory):
    """Queue items."""

    def setUp(self) -> None:
        """What each test needs."""
        super().setUp()
        self.warnings: list[str] = []
        self.queue = QueueFiles(self.home / "queue", self.now, lambda error: self.warnings.append(error.path))

    def test_item(self) -> None:
        """An item is the real one, and nothing else is left in the directory."""
        self.at = NOW.replace(microsecond=86424)
        self.queue.add("shared-q", RunRef("q1", "qa"), "t")
        name = "item_low_20261123_175429_086424000Z_qa.json"
        self.assertEqual(names_in(self.home / "queue" / "shared-q"), [name])
        path = self.home / "queue" / "shared-q" / name
        self.assertEqual(
            json.loads(path.read_bytes()),
            {"fileName": name, "dagRun": {"name": "q1", "id": "qa"}, "queuedAt": "2026-11-23T17:54:29.086424000Z"},
        )
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_what_another_program_writes(self) -> None:
        """High priority goes first; the run in the file counts, not its name; what is no item is passed over with a warning."""
        directory = self.home / "queue" / "q"
        directory.mkdir(parents=True)
        (self.home / "queue" / "empty").mkdir()
        for name, run in (("low_20261123_175633_086424841", "a"), ("high_20261124_000000_000000000", "b")):
            (directory / f"item_{name}Z_x.json").write_text(json.dumps({"dagRun": {"name": "d", "id": run}}))
        (directory / "queue_12345").write_text("{}")
        bad = directory / "item_low_20261123_175633_000000000Z_c.json"
        bad.write_text('{"dagRun": 7}')
        expected = [("q", RunRef("d", "b")), ("q", RunRef("d", "a"))]
        self.assertEqual(self.queue.items(), expected)
        self.assertEqual(self.queue.items(), expected)
        self.assertEqual(self.warnings, [str(bad)])

    def test_removed(self) -> None:
        """All items of a run go, whether or not they were listed before; items that are gone already are fine."""
        for second in range(2):
            self.at = NOW + timedelta(seconds=second)
            self.queue.add("q", RunRef("d", "r"), "t")
        self.queue.add("q", RunRef("d", "other"), "t")
        self.queue.remove("q", RunRef("d", "r"))
        self.assertEqual(self.queue.items(), [("q", RunRef("d", "other"))])
        (next((self.home / "queue" / "q").iterdir())).unlink()
        self.queue.remove("q", RunRef("d", "other"))
        self.queue.remove("none", RunRef("d", "r"))
        self.assertEqual(self.queue.items(), [])

    def test_items_are_read_once(self) -> None:
        """A queue that is looked at often is listed each time, but no item is read twice."""
        self.queue.add("q", RunRef("d", "r"), "t")
        self.assertEqual(len(self.queue.items()), 1)
        with patch.object(Path, "read_bytes", side_effect=AssertionError("read again")):
            self.assertEqual(len(self.queue.items()), 1)
