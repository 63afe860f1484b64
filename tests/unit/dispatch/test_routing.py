"""The routing rule, as a table."""

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.routing import Place, needs_census, route
from txdagu.model.labels import WorkerSelector

NONE = WorkerSelector()
GPU = WorkerSelector({"gpu": "true"})
LOCAL = WorkerSelector(local=True)


class RouteTests(SynchronousTestCase):
    def test_table(self) -> None:
        """What is written decides first, then the mode, then whether any worker is healthy."""
        for selector, mode, healthy, place in (
            (LOCAL, "distributed", 3, Place.HERE),
            (GPU, "local", 0, Place.WORKER),
            (GPU, "auto", 0, Place.WORKER),
            (NONE, "auto", 1, Place.WORKER),
            (NONE, "auto", 0, Place.HERE),
            (NONE, "local", 3, Place.HERE),
            (NONE, "distributed", 0, Place.WORKER),
        ):
            self.assertIs(route(selector, mode, healthy).place, place, (selector, mode, healthy))

    def test_nobody_is_asked_in_vain(self) -> None:
        """Workers are counted only where the count decides."""
        self.assertTrue(needs_census(NONE, "auto"))
        for selector, mode in ((LOCAL, "auto"), (GPU, "auto"), (NONE, "local"), (NONE, "distributed")):
            self.assertFalse(needs_census(selector, mode))
