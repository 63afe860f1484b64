"""All that this worker has to do with one coordinator: beats, and calls for work once it answers."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IReactorTime

from txdagu.peers.discovery import CoordinatorDirectory, Member
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.worker.heartbeat import Heartbeat
from txdagu.worker.identity import Identity
from txdagu.worker.polling import Polling
from txdagu.worker.running import TasksInHand
from txdagu.worker.slots import Slots

Accept = Callable[[Member, bool, pb.Task], None]


class Session:
    """
    Beats at one coordinator, and asks it for work as soon as a beat was answered and while `polling` is wanted.

    The first answer tells whether the coordinator knows our additions, on which it depends how work is asked for.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        directory: CoordinatorDirectory,
        member: Member,
        identity: Identity,
        slots: Slots,
        tasks: TasksInHand,
        accept: Accept,
        random: Random,
        now: Callable[[], float],
        lease_ttl: float,
    ) -> None:
        self.member = member
        self._heartbeat = Heartbeat(reactor, directory, member, identity, slots, tasks, now, lease_ttl, self._answered)
        self._polling = Polling(reactor, directory, member, identity, slots, accept, random, now)
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

    async def stop(self, leaving: bool) -> None:
        """End everything, with a last beat that says so if `leaving`."""
        await self.stop_polling()
        await self._heartbeat.stop(leaving)

    def _answered(self, announced: bool) -> None:
        if self._wanted:
            self._polling.start(announced)
