"""One question for many who ask."""

from __future__ import annotations

import gzip
import json
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txdagu.model.errors import UnavailableError
from txdagu.model.health import Health
from txdagu.model.task import WorkerStatus
from txdagu.peers.interfaces import ICoordinators, WorkersView
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.web.census import KEPT_FOR, Census, Snapshot

VIEW = WorkersView((WorkerStatus("</script>&\u2028é", {}, Health.HEALTHY, 1, 0),))


class CensusTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A census whose time stands."""
        self.clock: Any = Clock()
        self.coordinators = ScriptedCoordinators(VIEW)
        self.census = Census(self.coordinators, self.clock, lambda: 1000.0 + self.clock.seconds())

    def test_fake_is_whole(self) -> None:
        """The coordinators of these tests provide the whole interface."""
        verifyObject(ICoordinators, self.coordinators)

    def test_shared_while_asking(self) -> None:
        """Whoever comes while the question is out gets its answer and asks no second one."""
        self.coordinators.slow = True
        answers = [self.census.take() for _ in range(3)]
        self.assertEqual(self.coordinators.looks, 1)
        self.coordinators.pending[0].callback(VIEW)
        self.assertEqual(len({id(self.successResultOf(answer)) for answer in answers}), 1)

    def test_shared_for_a_while(self) -> None:
        """An answer serves for half a second, then a new question goes out."""
        first = self.successResultOf(self.census.take())
        self.clock.advance(KEPT_FOR - 0.01)
        self.assertIs(self.successResultOf(self.census.take()), first)
        self.clock.advance(0.02)
        second = self.successResultOf(self.census.take())
        self.assertIsNot(second, first)
        self.assertEqual((self.coordinators.looks, second.at), (2, 1000.0 + KEPT_FOR + 0.01))

    def test_trouble_is_shared_too(self) -> None:
        """A failing question is not asked again for each browser either, and the next one may succeed."""
        self.coordinators.view = UnavailableError("nobody")
        for _ in range(2):
            self.failureResultOf(self.census.take(), UnavailableError)
        self.assertEqual(self.coordinators.looks, 1)
        self.coordinators.view = VIEW
        self.clock.advance(KEPT_FOR)
        self.assertIs(self.successResultOf(self.census.take()).view, VIEW)

    def test_one_goes_away(self) -> None:
        """A browser that closes its connection does not take the answer away from the others."""
        self.coordinators.slow = True
        gone, stays = self.census.take(), self.census.take()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.coordinators.pending[0].callback(VIEW)
        self.assertIs(self.successResultOf(stays).view, VIEW)

    def test_stop(self) -> None:
        """Stopping ends the question and everybody's waiting."""
        self.coordinators.slow = True
        waiting = self.census.take()
        self.census.stop()
        self.failureResultOf(waiting, CancelledError)
        self.assertTrue(self.coordinators.pending[0].called)


class SnapshotTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Compressed and embedded forms carry the same document."""
        snapshot = Snapshot(VIEW, 1000.0)
        document = json.loads(snapshot.body)
        self.assertEqual(document["workers"][0]["id"], "</script>&\u2028é")
        self.assertEqual(json.loads(gzip.decompress(snapshot.compressed)), document)
        self.assertEqual(json.loads(snapshot.in_html), document)

    def test_nothing_ends_the_element(self) -> None:
        """No character of the embedded form means anything to HTML."""
        self.assertNotRegex(Snapshot(VIEW, 1000.0).in_html, "[<>&\u2028\u2029]")

    def test_sorted_keys(self) -> None:
        """Keys come in alphabetical order, as from Dagu 1.30.2."""
        keys = list(json.loads(Snapshot(VIEW, 1000.0).body)["workers"][0])
        self.assertEqual(keys, sorted(keys))
