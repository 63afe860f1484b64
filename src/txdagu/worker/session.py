"""All that this worker has to do with one coordinator: beats, and calls for work once it answers."""

from __future__ import annotations

from txdagu.peers.discovery import Member
from txdagu.worker.heartbeat import Heartbeat
from txdagu.worker.polling import Accept, Polling
from txdagu.worker.running import TasksInHand
from txdagu.worker.surroundings import Surroundings


class Session:
    """
    Beats at one coordinator, and asks it for work as soon as a beat was answered and while `polling` is wanted.

    The first answer tells whether the coordinator knows our additions, on which it depends how work is asked for.
    """

    def __init__(self, around: Surroundings, member: Member, tasks: TasksInHand, accept: Accept) -> None:
        self._heartbeat = Heartbeat(around, member, tasks, self._answered)
        self._polling = Polling(around, member, accept)
        self._wanted = False

    @property
    def reachable(self) -> bool:
        """Whether the last beat was answered."""
        return self._heartbeat.reachable

    def start(self, polling: bool) -> None:
        """Begin to beat, and to ask for work if `polling`."""
        self._wanted = polling
        self._heartbeat.start()

    async def stop_polling(self) -> None:
        """Take back the calls for work; beats go on."""
        self._wanted = False
        await self._polling.stop()

    async def drain(self, ends_at: float) -> None:
        """Take back the calls for work; beats go on, and say that we end at that time of the worker's clock."""
        await self.stop_polling()
        self._heartbeat.drain(ends_at)

    async def stop(self, leaving: bool) -> None:
        """End everything, with a last beat that says so if `leaving`."""
        await self.stop_polling()
        await self._heartbeat.stop(leaving)

    def _answered(self, announced: bool) -> None:
        if self._wanted:
            self._polling.start(announced)
