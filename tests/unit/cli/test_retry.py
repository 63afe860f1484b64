"""What `dagu retry` asks for, and which runs it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.retry import retry, retry_request
from txdagu.execution.engine import RunRequest
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import ConflictError, InvalidInputError, NotFoundError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.testing.store import MemoryStore

RUN = RunRef("d", "r1")
DAG = Dag("d", (Step("a"), Step("b")))


class RequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A store with one run of ours."""
        self.store = MemoryStore(Clock(), lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def ended(self, state: RunState | None) -> None:
        sink = self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(DAG, RUN, RUN)))
        if state is None:
            sink.write_status(RunStatus(RUN, RUN, RunState.RUNNING))
        else:
            self.successResultOf(Deferred.fromCoroutine(sink.close(RunStatus(RUN, RUN, state))))

    def asked(self, run: RunRef = RUN, step: str = "") -> Deferred[RunRequest]:
        return Deferred.fromCoroutine(retry_request(self.store, run, step))

    def test_request(self) -> None:
        """The run's own snapshot and last state, under the same id."""
        self.ended(RunState.FAILED)
        request = self.successResultOf(self.asked(step="b"))
        self.assertEqual((request.dag, request.run, request.step, request.new), (DAG, RUN, "b", False))
        assert request.previous is not None
        self.assertIs(request.previous.state, RunState.FAILED)

    def test_unknown_run(self) -> None:
        """One sentence with the id, the DAG, and how to find another."""
        error = self.failureResultOf(self.asked(RunRef("d", "other")), NotFoundError).value
        self.assertEqual(str(error), 'there is no run other of "d"; dagu status d shows the newest')

    def test_running(self) -> None:
        """A run that somebody executes is left alone."""
        self.ended(None)
        self.assertIn("d:r1 is running", str(self.failureResultOf(self.asked(), ConflictError).value))

    def test_unknown_step(self) -> None:
        """Refused before anything is written."""
        self.ended(RunState.FAILED)
        self.assertIn('no step "c"', str(self.failureResultOf(self.asked(step="c"), InvalidInputError).value))

    def test_options(self) -> None:
        """Without a run id, with a bad one, without a DAG: each says what is missing."""
        for arguments, phrase in (
            (["d"], "--run-id"),
            (["d", "--run-id=a b"], "a b"),
            (["--run-id=r1"], "exactly one DAG"),
        ):
            self.assertIn(phrase, str(self.assertRaises(InvalidInputError, retry, arguments)))
