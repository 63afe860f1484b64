"""How many tasks may run at once, and who holds a slot. A core: no clock, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum


class _State(Enum):
    WAITING = "waiting"
    HELD = "held"
    GIVEN_BACK = "given back"


class Hold:
    """One task's claim to a slot, made by `Slots.ask`."""

    def __init__(self, slots: Slots, granted: Callable[[], None]) -> None:
        self._slots = slots
        self._granted = granted
        self._state = _State.WAITING

    @property
    def held(self) -> bool:
        """Whether the slot is ours now."""
        return self._state is _State.HELD

    def give_back(self) -> None:
        """Let the slot go, or stop waiting for it. Doing so twice changes nothing."""
        state, self._state = self._state, _State.GIVEN_BACK
        if state is not _State.GIVEN_BACK:
            self._slots._freed(self, state is _State.HELD)  # noqa: SLF001 - the two are one

    def _grant(self) -> None:
        self._state = _State.HELD
        self._granted()


class Slots:
    """
    Counts slots. Those who wait are served before anybody is asked for new work: first runs that come back from waiting
    for their children, then tasks that arrived when all slots were taken.

    `total` is the number of runs at once; zero makes a worker that only beats.
    """

    def __init__(self, total: int) -> None:
        self.total = max(total, 0)
        self._held = 0
        self._returning: deque[Hold] = deque()
        self._arrived: deque[Hold] = deque()
        self._listeners: list[Callable[[], None]] = []

    @property
    def busy(self) -> int:
        """Slots held now."""
        return self._held

    @property
    def free(self) -> int:
        """How many new tasks can be asked for."""
        return max(self.total - self._held - len(self._returning) - len(self._arrived), 0)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever `free` may have become another number."""
        self._listeners.append(changed)

    def unsubscribe(self, changed: Callable[[], None]) -> None:
        """End what `subscribe` began."""
        self._listeners.remove(changed)

    def ask(self, granted: Callable[[], None], returning: bool = False) -> Hold:
        """
        Ask for a slot; `granted` is called when it is there, at once if one is free.

        `returning` asks for a run that had one before and goes on.
        """
        hold = Hold(self, granted)
        (self._returning if returning else self._arrived).append(hold)
        self._serve()
        self._tell()
        return hold

    def _freed(self, hold: Hold, was_held: bool) -> None:
        if was_held:
            self._held -= 1
            self._serve()
        else:
            for queue in (self._returning, self._arrived):
                if hold in queue:
                    queue.remove(hold)
        self._tell()

    def _serve(self) -> None:
        while self._held < self.total and (self._returning or self._arrived):
            hold = self._returning.popleft() if self._returning else self._arrived.popleft()
            self._held += 1
            hold._grant()  # noqa: SLF001

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()
