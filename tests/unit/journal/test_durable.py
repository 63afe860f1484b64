"""The journal on disk: groups, full and failing disks, damage, the hold on its directory, migrations, retention."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.records import Entry, StandingEntry
from txdagu.journal import dialect
from txdagu.journal.database import JournalDatabase, Retention
from txdagu.journal.durable import DurableJournal, Place
from txdagu.journal.schema import MIGRATIONS
from txdagu.model.errors import DaguError, UnavailableError
from txdagu.model.run import RunRef
from txdagu.model.standing import Mode, Standing
from txdagu.system.threads import NoThread
from txdagu.testing.journal import UNIX_START, Lives, WatchedDisk, failing, journal_in


class JournalTestCase(SynchronousTestCase):
    """A directory, a watched disk, and journals on a clock."""

    def setUp(self) -> None:
        """An open journal."""
        self.directory = Path(self.mktemp())
        self.file = self.directory / "journal.sqlite"
        self.clock = Clock()
        self.disk = WatchedDisk()
        self.lives = Lives()
        self.opened: list[DurableJournal] = []
        self.addCleanup(self.close_all)
        self.journal = self.open()

    def open(self, **place: Any) -> DurableJournal:
        """Another journal in the same directory."""
        journal = journal_in(self.directory, self.clock, self.disk, **place)
        self.done(journal.open())
        self.opened.append(journal)
        return journal

    def close_all(self) -> None:
        """Nothing stays open, whatever failed."""
        self.disk.before = self.disk.after = lambda _: None
        for journal in self.opened:
            self.done(journal.close())

    def reopen(self, **place: Any) -> DurableJournal:
        """What the next process has."""
        self.close_all()
        self.opened.clear()
        return self.open(**place)

    def done(self, awaitable: Any) -> Any:
        """Its result, at once."""
        return self.successResultOf(Deferred.fromCoroutine(awaitable))

    def refusal(self, awaitable: Any) -> str:
        """The sentence with which it is refused."""
        return str(self.failureResultOf(Deferred.fromCoroutine(awaitable), DaguError).value)

    def commit(self, *turns: Sequence[Entry]) -> None:
        """Each in a commit of its own."""
        for turn in turns:
            self.done(self.journal.commit(turn))

    def runs(self) -> list[str]:
        """The ids of the open runs that are kept."""
        return [entry.task.run.id for entry in self.done(self.journal.load()).open]

    def tamper(self, statement: str, *values: object) -> None:
        """Change the file behind the journal's back."""
        with sqlite3.connect(self.file) as connection:
            connection.execute(statement, values)
        connection.close()


class ThreadOnRequest:
    """A thread that works when it is told to."""

    def __init__(self) -> None:
        self.work: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def start(self) -> Any:
        """The way in."""

        def in_thread(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            self.work.append((done, work))
            return done

        return in_thread

    def stop(self) -> None:
        """Nothing to end."""

    def go_on(self) -> None:
        """Do the next piece."""
        done, work = self.work.pop(0)
        try:
            result = succeed(work())
        except Exception as error:  # noqa: BLE001 - handed on as a thread does
            result = fail(error)
        result.chainDeferred(done)


class GroupTests(JournalTestCase):
    """One wait for the disk for many commits."""

    def setUp(self) -> None:
        """A journal whose thread works when it is told to."""
        super().setUp()
        self.done(self.journal.close())
        self.opened.clear()
        self.thread = ThreadOnRequest()
        place = Place(self.directory, "me", connect=self.disk.connect)
        self.journal = DurableJournal(place, self.thread, self.clock.seconds, lambda: UNIX_START)
        opening = Deferred.fromCoroutine(self.journal.open())
        self.thread.go_on()
        self.successResultOf(opening)
        self.disk.statements.clear()

    def begin(self, turn: Sequence[Entry]) -> Deferred[None]:
        """A commit that waits for the thread."""
        return Deferred.fromCoroutine(self.journal.commit(turn))

    def test_later_commits_gather(self) -> None:
        """While the first is written the others gather, and go to the disk together; nobody is told before."""
        commits = [self.begin(self.lives.submit(f"r{number}")) for number in range(200)]
        self.thread.go_on()
        self.successResultOf(commits[0])
        self.assertNoResult(commits[1])
        self.assertEqual(1, self.disk.statements.count("COMMIT"))
        self.thread.go_on()
        for commit in commits[1:]:
            self.successResultOf(commit)
        self.assertEqual(2, self.disk.statements.count("COMMIT"))
        self.assertLess(len(self.disk.statements), 20)
        closing = Deferred.fromCoroutine(self.journal.close())
        self.thread.go_on()
        self.successResultOf(closing)

    def test_failure_reaches_all_that_follow(self) -> None:
        """What was decided on top of a commit that failed is not kept either, until what is kept was loaded."""
        first, second = self.begin(self.lives.submit("r1")), self.begin(self.lives.submit("r2"))
        self.disk.before = failing("COMMIT")
        self.thread.go_on()
        self.assertEqual(f"{self.file}: disk I/O error", str(self.failureResultOf(first, UnavailableError).value))
        self.failureResultOf(second, UnavailableError)
        self.failureResultOf(self.begin(self.lives.submit("r3")), UnavailableError)
        loading = Deferred.fromCoroutine(self.journal.load())
        self.thread.go_on()
        self.assertEqual((), self.successResultOf(loading).open)
        last = self.begin(Lives().submit("r4"))
        self.thread.go_on()
        self.successResultOf(last)
        closing = Deferred.fromCoroutine(self.journal.close())
        self.thread.go_on()
        self.successResultOf(closing)

    def test_close_waits_for_commits(self) -> None:
        """What was committed before the end is kept."""
        commit = self.begin(self.lives.submit("r1"))
        also = self.begin(self.lives.submit("r2"))
        closing = Deferred.fromCoroutine(self.journal.close())
        for _ in range(3):
            self.assertNoResult(closing)
            self.thread.go_on()
        for each in (commit, also, closing):
            self.successResultOf(each)
        self.journal = self.open()
        self.assertEqual(["r1", "r2"], self.runs())


class DiskTests(JournalTestCase):
    """Disks that fail."""

    def test_full_disk(self) -> None:
        """A full disk refuses with its reason and keeps what was there; with space again all goes on."""
        self.commit(self.lives.submit("r1"))
        self.disk.pages = 1
        refused = []
        for number in range(200):
            later = Deferred.fromCoroutine(self.journal.commit(self.lives.submit(f"more{number}")))
            if later.result is not None:
                refused.append(str(self.failureResultOf(later, UnavailableError).value))
                break
        self.assertEqual([f"{self.file}: database or disk is full"], refused)
        kept = 1 + number
        self.disk.pages = 0
        self.assertEqual(kept, len(self.runs()))
        self.lives = Lives()
        for number in range(kept):
            self.lives.submit(f"known{number}")
        self.commit(self.lives.submit("r2"))
        self.assertEqual([*self.runs()][-1], "r2")

    def test_load_tries_to_write(self) -> None:
        """A journal that can be read but not written is not loaded: the coordinator would accept in vain."""
        self.disk.before = failing("UPDATE loads", message="attempt to write a readonly database")
        self.assertIn("readonly", self.refusal(self.journal.load()))
        self.assertEqual([], self.runs())

    def test_half_a_group_is_nothing(self) -> None:
        """A group that fails in its middle leaves no trace."""
        turns = self.lives.whole("r1")
        self.commit(*turns[:2])
        self.disk.before = failing("INSERT INTO transitions")
        self.refusal(self.journal.commit([*turns[2], *turns[3]]))
        (entry,) = self.done(self.journal.load()).open
        self.assertEqual((2, "offered"), (entry.sequence, entry.transition.state.value))
        self.commit([*turns[2], *turns[3]])
        self.assertEqual(4, len(self.done(self.journal.timeline(RunRef("job", "r1"), "r1"))))

    def test_somebody_else_has_written(self) -> None:
        """A task that is not in the epoch or state in which the core left it is not overwritten."""
        turns = self.lives.whole("r1")
        self.commit(*turns[:2])
        self.tamper("UPDATE tasks SET epoch = 9")
        self.assertIn("somebody else has changed tasks", self.refusal(self.journal.commit(turns[2])))


class DamageTests(JournalTestCase):
    """T35: records and files that are not what was written."""

    def test_damaged_record_is_set_aside(self) -> None:
        """One record that cannot be read is kept apart and told; all others go on, and its number is not given again."""
        self.commit(*(self.lives.submit(f"r{number}") for number in range(5)))
        self.tamper("UPDATE tasks SET facts = replace(facts, 'waits', 'flies') WHERE number = 2")
        self.tamper("UPDATE tasks SET task = CAST(x'ff7b' AS TEXT) WHERE number = 3")
        self.tamper("UPDATE tasks SET state = 'quened' WHERE number = 5")
        self.journal = self.reopen()
        with capturedLogs() as logged:
            kept = self.done(self.journal.load())
        self.assertEqual(["r0", "r3"], [entry.task.run.id for entry in kept.open])
        self.assertEqual(5, kept.last_number)
        told = [formatEvent(event) for event in logged if event["log_level"].name == "error"]
        self.assertEqual(3, len(told), told)
        self.assertIn("record 2 of the journal is damaged and was set aside: the checksum of the task's state", told[0])
        connection = dialect.open_to_read(self.file)
        self.assertEqual([2, 3, 5], [one.number for one in JournalDatabase(connection).set_aside()])
        content = connection.execute("SELECT content FROM set_aside WHERE number = 2").fetchone()[0]
        connection.close()
        self.assertIn("flies", content)
        self.assertEqual(["r0", "r3"], self.runs())

    def test_damaged_file_is_refused(self) -> None:
        """A file that is no database is not started with, and the sentence says what to do."""
        self.commit(*(self.lives.submit(f"r{number}") for number in range(50)))
        self.close_all()
        self.opened.clear()
        torn = bytearray(self.file.read_bytes())
        torn[8192:12288] = b"\xff" * 4096
        for damage in (bytes(torn), b"no database" * 1000):
            self.file.write_bytes(damage)
            told = self.refusal(journal_in(self.directory, self.clock).open())
            self.assertIn(f"the journal {self.file} is damaged: ", told)
            self.assertIn("coordinator.onDamagedJournal: set-aside", told)

    def test_damaged_file_is_set_aside_if_wanted(self) -> None:
        """Told so, it keeps the damaged file under another name and begins anew."""
        self.close_all()
        self.opened.clear()
        self.file.write_bytes(b"no database" * 1000)
        with capturedLogs() as logged:
            self.journal = self.open(set_damaged_aside=True)
        self.assertIn("a new one is begun", formatEvent(logged[-1]))
        self.assertEqual([], self.runs())
        self.commit(self.lives.submit("r1"))
        (aside,) = self.directory.glob("journal.sqlite.damaged-*")
        self.assertEqual(b"no database" * 1000, aside.read_bytes())


class PlaceTests(JournalTestCase):
    """Where the journal is."""

    def test_one_coordinator(self) -> None:
        """A second one in the same directory is refused with the first one's name; after its end it is welcome."""
        told = self.refusal(journal_in(self.directory, self.clock).open())
        self.assertEqual(
            f"another coordinator (process 1 on host1) keeps its journal in {self.directory}; end that one, or give this one a "
            "directory of its own with coordinator.stateDir",
            told,
        )
        self.reopen()

    def test_not_for_others(self) -> None:
        """Definitions and parameters may hold secrets, so nobody else may read them."""
        self.commit(self.lives.submit("r1"))
        for file in self.directory.iterdir():
            self.assertEqual(0, file.stat().st_mode & 0o077, file)

    def test_network_file_system(self) -> None:
        """On a network file system it says so, does without shared memory, and works."""
        self.close_all()
        self.opened.clear()
        mounts = f"36 35 98:0 / {self.directory.parent.resolve()} rw - nfs4 host:/srv rw\n"
        with capturedLogs() as logged:
            self.journal = self.open(mounts=lambda: mounts)
        self.assertIn("the journal is on a network file system (nfs4:", formatEvent(logged[0]))
        self.commit(self.lives.submit("r1"))
        self.assertFalse(self.file.with_name("journal.sqlite-shm").exists())
        self.journal = self.reopen(mounts=lambda: mounts)
        self.assertEqual(["r1"], self.runs())

    def test_place_that_cannot_be(self) -> None:
        """A directory that cannot be made fails with its name and the reason."""
        Path(self.directory, "file").write_text("")
        journal = DurableJournal(Place(self.directory / "file" / "below", "me"), NoThread(), self.clock.seconds, float)
        self.assertEqual(f"{self.directory}/file/below: Not a directory", self.refusal(journal.open()))


class MigrationTests(JournalTestCase):
    """Older and newer tables."""

    def test_newer_tables(self) -> None:
        """Tables of a newer program are left alone, with a sentence that says so."""
        self.tamper("INSERT INTO schema_version (version) VALUES (99)")
        self.close_all()
        self.opened.clear()
        told = self.refusal(journal_in(self.directory, self.clock).open())
        self.assertIn(
            f"written by a newer version of this program (tables of version 99, known here: {len(MIGRATIONS)})", told
        )

    def test_interrupted_migration(self) -> None:
        """A migration that breaks off in its middle leaves nothing, and is done whole the next time."""
        self.close_all()
        self.opened.clear()
        for file in self.directory.iterdir():
            file.unlink()
        self.disk.before = failing("CREATE INDEX tasks_by_run")
        self.refusal(journal_in(self.directory, self.clock, self.disk).open())
        self.journal = self.open()
        self.commit(self.lives.submit("r1"))
        self.assertEqual(["r1"], self.runs())

    def test_tables_of_the_version_before(self) -> None:
        """A journal of the first version gets the table of workers that it lacks, and keeps its tasks."""
        self.commit(self.lives.submit("r1"))
        self.tamper("DROP TABLE standings")
        self.tamper("DELETE FROM schema_version WHERE version = 2")
        self.journal = self.reopen()
        self.commit_standing(StandingEntry("w1", Standing(Mode.CORDONED, 1.0)))
        self.journal = self.reopen()
        kept = self.done(self.journal.load())
        self.assertEqual((1, ["w1"]), (len(kept.open), [entry.worker_id for entry in kept.standings]))

    def test_damaged_standing(self) -> None:
        """An order whose record was damaged keeps tasks from its worker all the same, and says so."""
        self.commit_standing(StandingEntry("w1", Standing(Mode.DRAINING, 1.0, 2.0, "disk swap")))
        self.tamper("UPDATE standings SET until = until + 1000, reason = 'other'")
        self.journal = self.reopen()
        (entry,) = self.done(self.journal.load()).standings
        assert entry.standing is not None
        self.assertEqual((Mode.CORDONED, None), (entry.standing.mode, entry.standing.until))
        self.assertIn("dagu worker resume", entry.standing.reason)

    def commit_standing(self, entry: StandingEntry) -> None:
        """Keep what was ordered for a worker."""
        self.done(self.journal.commit((), [entry]))


class RetentionTests(JournalTestCase):
    """What is kept of the past is bounded."""

    def test_ended_tasks(self) -> None:
        """Ended tasks that are too many or too old go, with their transitions; open ones stay, however old."""
        self.commit(
            self.lives.submit("open"), *(turn for number in range(6) for turn in self.lives.whole(f"r{number}"))
        )
        connection = dialect.open_file(self.file, dialect.connect, shared=False)
        database = JournalDatabase(connection, Retention(tasks=4, seconds=100.0))
        self.assertEqual(2, database.prune(UNIX_START + 30, 10))
        self.assertEqual({"ended": 4, "queued": 1}, database.counts())
        self.assertEqual(1, database.prune(UNIX_START + 110 + 5, 10))
        self.assertEqual(3, database.prune(UNIX_START + 1000, 10))
        lines = connection.execute("SELECT COUNT(*) FROM transitions").fetchone()[0]
        self.assertEqual(({"queued": 1}, 1), (database.counts(), lines))
        database.close()

    def test_transitions_of_one_task(self) -> None:
        """A task that goes round for ever keeps its latest transitions only."""
        self.journal = self.reopen(retention=Retention(transitions=100))
        turn = self.lives.submit("r1")
        self.commit(turn)
        record = self.lives.core._tasks.open_task(turn[0].task.root, "r1")
        assert record is not None
        for _ in range(3):
            self.commit([record.note(record.timeline[-1]) for _ in range(100 - record.sequence % 100)])
        self.assertEqual(100, len(self.done(self.journal.timeline(turn[0].task.root, "r1"))))

    def test_pruned_while_running(self) -> None:
        """The past is pruned as tasks end, without anybody asking."""
        self.journal = self.reopen(retention=Retention(tasks=10))
        entries = [entry for number in range(600) for turn in self.lives.whole(f"r{number}") for entry in turn]
        self.commit(entries)
        self.assertEqual(10, len(self.done(self.journal.load()).ended))
