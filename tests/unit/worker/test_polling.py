"""Calls for work."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, Settings, WorkerSettings
from txdagu.peers.discovery import CoordinatorDirectory, Member
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.system.clock import local_now
from txdagu.testing.scripted import ScriptedChannel
from txdagu.wire.status import RpcError, StatusCode
from txdagu.worker.identity import Identity
from txdagu.worker.leases import WorkerLeases
from txdagu.worker.polling import Polling
from txdagu.worker.slots import Hold, Slots
from txdagu.worker.surroundings import Surroundings

OFFER = pb.PollResponse(task=pb.Task(dag_run_id="r", target="etl", operation=pb.OPERATION_START))


class PollingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """One scripted coordinator and three slots."""
        self.reactor = MemoryReactorClock()
        self.channel = ScriptedChannel(self.reactor)
        paths = PathSettings(*[str(Path("/x"))] * 10)
        settings = Settings(paths, worker=WorkerSettings(coordinator_host="c"))
        directory = CoordinatorDirectory(settings, self.reactor, self.reactor.seconds, lambda *_: self.channel)
        self.slots = Slots(3)
        self.offers: list[Any] = []
        self.holds: list[Hold] = []
        around = Surroundings(
            self.reactor,
            directory,
            Identity("w", {"gpu": "true"}, "life-1"),
            self.slots,
            Random(3),
            self.reactor.seconds,
            local_now,
            WorkerLeases(30.0, 900.0, lambda line: None),
        )
        self.polling = Polling(around, directory.known()[0], self._accept)

    def _accept(self, member: Member, announced: bool, task: pb.Task) -> None:
        self.offers.append((announced, task))
        self.holds.append(self.slots.ask(lambda: None))

    @property
    def _parked(self) -> list[Deferred[Any]]:
        return self.channel.parked["Poll"]

    def test_one_call_for_all_slots(self) -> None:
        """A coordinator of ours gets one call that tells all free slots, and a new one right after each offer."""
        self.polling.start(announced=True)
        (request,) = self.channel.requests("Poll")
        self.assertEqual((request.worker_id, request.incarnation, request.free_slots), ("w", "life-1", 3))
        self.assertEqual(dict(request.labels), {"gpu": "true"})
        self._parked[0].callback(OFFER)
        self.assertEqual(len(self._parked), 1)
        self.assertEqual(self.channel.requests("Poll")[1].free_slots, 2)
        self.assertNotEqual(request.poller_id, self.channel.requests("Poll")[1].poller_id)

    def test_full_worker_asks_nobody(self) -> None:
        """Without a free slot no call is parked; with the first free one a call is."""
        self.polling.start(announced=True)
        for _ in range(3):
            self._parked[0].callback(OFFER)
        self.assertEqual(len(self._parked), 0)
        self.holds[1].give_back()
        self.assertEqual(len(self._parked), 1)
        self.assertEqual(self.channel.requests("Poll")[-1].free_slots, 1)

    def test_call_is_taken_back(self) -> None:
        """Slots that others filled take our call back: an offer would come in vain."""
        self.polling.start(announced=True)
        for _ in range(3):
            self.slots.ask(lambda: None)
        self.assertEqual(len(self._parked), 0)

    def test_old_coordinator(self) -> None:
        """One of 1.30.2 gets a call per free slot, and none is ever taken back while we stay."""
        self.polling.start(announced=False)
        self.assertEqual(len(self._parked), 3)
        self._parked[0].callback(OFFER)
        self.assertEqual(len(self._parked), 2)
        self.slots.ask(lambda: None)
        self.assertEqual(len(self._parked), 2)
        self.assertEqual(self.offers[0][0], False)

    def test_errors_back_off(self) -> None:
        """Errors never make a busy loop, for any number of slots: in an hour some hundred calls, not thousands."""
        self.channel.answers["Poll"] = RpcError(StatusCode.UNAVAILABLE, "connection refused")
        self.polling.start(announced=False)
        self.reactor.pump([0.5] * 7200)
        self.assertLess(len(self.channel.calls), 500)
        self.assertGreater(len(self.channel.calls), 30)

    def test_empty_answers_back_off(self) -> None:
        """A coordinator that answers at once and with nothing is not asked at once again."""
        self.channel.answers["Poll"] = pb.PollResponse()
        self.polling.start(announced=True)
        self.reactor.pump([0.5] * 1200)
        self.assertLess(len(self.channel.calls), 100)

    def test_long_poll_goes_on(self) -> None:
        """An empty answer after a while is normal: the next call follows at once."""
        self.polling.start(announced=True)
        self.reactor.advance(30)
        self._parked[0].callback(pb.PollResponse())
        self.assertEqual(len(self._parked), 1)

    def test_recovers(self) -> None:
        """After errors the calls come back by themselves."""
        self.channel.answers["Poll"] = RpcError(StatusCode.UNAVAILABLE, "down")
        self.polling.start(announced=True)
        self.reactor.advance(5)
        del self.channel.answers["Poll"]
        self.reactor.advance(60)
        self.assertEqual(len(self._parked), 1)

    def test_stop(self) -> None:
        """Stopping takes every call back and parks no more, also not out of a pause."""
        self.polling.start(announced=False)
        self.successResultOf(Deferred.fromCoroutine(self.polling.stop()))
        self.assertEqual(len(self._parked), 0)
        self.slots.ask(lambda: None).give_back()
        self.reactor.advance(100)
        self.assertEqual((len(self._parked), len(self.channel.calls)), (0, 3))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
