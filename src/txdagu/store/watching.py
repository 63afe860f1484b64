"""Watching something whose places change: a run that begins, gets directories, gets new attempts; a queue directory."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.system.notices import Notices
from txdagu.system.places import Place, Places
from txdagu.system.rounds import Rounds
from txdagu.system.threads import InThread


class Watch:
    """
    Calls `changed` soon after a change, and in every round, until `stop`.

    `find` tells, in a thread, where changes can be seen now. Several changes at once are told once.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: InThread,
        notices: Notices,
        rounds: Rounds,
        find: Callable[[], Places],
        changed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._notices = notices
        self._find = find
        self._changed = changed
        self._places = Places()
        self._stopped = False
        self._looking = False
        self._look_again = False
        self._pending: IDelayedCall | None = None
        self._end_rounds = rounds.add(lambda: True, self._round)
        self._look()

    def stop(self) -> None:
        """Call `changed` no more. Calling it again does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._end_rounds()
        self._move(Places())
        if self._pending:
            self._pending.cancel()

    def _round(self) -> None:
        self._notices.arm()
        if self._places.complete:
            self._tell()
        else:
            self._look()  # which tells in the end

    def _told(self, place: Place) -> None:
        if place.structure:
            self._look()
        else:
            self._tell_soon()

    def _look(self) -> None:
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        self._in_thread(self._find).addCallbacks(self._found, self._not_found).addErrback(
            lambda failure: self.log.failure("while watching the run store", failure)
        )

    def _found(self, places: Places) -> None:
        self._looking = False
        if self._stopped:
            return
        # What happened between the look and the arming went unseen, so after new places were armed one looks once more.
        again = self._look_again or bool(places.places - self._places.places)
        self._look_again = False
        self._move(places)
        self._notices.arm()  # a place that was found before its directory was made, and is found again, is no new one
        if again:
            self._look()
        self._tell_soon()

    def _not_found(self, failure: Failure) -> None:
        self._looking = self._look_again = False
        self.log.warn("cannot look where a run lies: {reason}; trying again", reason=failure.getErrorMessage())
        self._tell()

    def _move(self, places: Places) -> None:
        for place in places.places - self._places.places:
            self._notices.add(place, self._told)
        for place in self._places.places - places.places:
            self._notices.remove(place, self._told)
        self._places = places

    def _tell_soon(self) -> None:
        if self._pending is None:
            self._pending = self._clock.callLater(0, self._tell_now)

    def _tell_now(self) -> None:
        self._pending = None
        self._tell()

    def _tell(self) -> None:
        if self._stopped:
            return
        try:
            self._changed()
        except Exception:  # noqa: BLE001 (the next change must be told all the same)
            self.log.failure("while telling of a change in the run store")
