"""A worker's slot, given back while a run only waits for children elsewhere; without that nested runs would deadlock."""

from __future__ import annotations

from twisted.internet.defer import DeferredLock

from txdagu.execution.interfaces import ISlot


class SharedSlot:
    """
    One slot, used by a run and by its children in the same process.

    Each step has a `SlotUse`: it works, it waits for a child elsewhere, or neither. The slot is given back while there is
    waiting and no work.
    """

    def __init__(self, slot: ISlot | None) -> None:
        self._slot = slot
        self._held = True
        self._working = 0
        self._waiting = 0
        self._acquiring = DeferredLock()

    def use(self) -> SlotUse:
        """For one step."""
        return SlotUse(self)

    async def begin_work(self) -> None:
        """Count work; waits for a slot if ours was given back."""
        self._working += 1
        if self._held:
            return
        try:
            await self._take_again()
        except BaseException:
            self._working -= 1
            raise

    def pin(self) -> None:
        """Keep the slot, if we have it, until `end_work`: more work may begin at once."""
        self._working += 1

    def end_work(self) -> None:
        """Count less work."""
        self._working -= 1
        self._consider()

    def begin_wait(self) -> None:
        """Count one who waits for a child elsewhere."""
        self._waiting += 1
        self._consider()

    def end_wait(self) -> None:
        """Count one less."""
        self._waiting -= 1

    def _consider(self) -> None:
        if self._slot is not None and self._held and self._waiting and not self._working:
            self._held = False
            self._slot.release()

    async def _take_again(self) -> None:
        await self._acquiring.acquire()
        try:
            if not self._held and self._slot is not None:
                await self._slot.acquire()
                self._held = True
        finally:
            self._acquiring.release()


class SlotUse:
    """What one step does with the slot. Moving to where one already is does nothing."""

    def __init__(self, slot: SharedSlot) -> None:
        self.shared = slot
        self._working = False
        self._waiting = False

    async def work(self) -> None:
        """From now on the step works; waits for a slot where there is none."""
        if not self._working:
            await self.shared.begin_work()
            self._working = True

    def wait(self) -> None:
        """From now on the step only waits for a child elsewhere."""
        if not self._waiting:
            self._waiting = True
            self.shared.begin_wait()
        self._end_work()

    def leave(self) -> None:
        """The step needs nothing any more, or somebody else works for it in the same slot."""
        if self._waiting:
            self._waiting = False
            self.shared.end_wait()
        self._end_work()

    def _end_work(self) -> None:
        if self._working:
            self._working = False
            self.shared.end_work()
