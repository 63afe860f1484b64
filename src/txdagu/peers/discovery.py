"""Where the coordinators are, and one channel to each."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txdagu.config.settings import Settings
from txdagu.model.addresses import join_host_port
from txdagu.peers.connecting import Connect, RpcChannel, connector
from txdagu.registry.entries import Kind, ServiceEntry
from txdagu.registry.views import MembershipView

# A coordinator whose registry file went stale, but which answered within this many seconds, is still one.
ANSWER_COUNTS_FOR = 10.0


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A coordinator: its id and the address at which it is dialled. One that was configured has its address for an id."""

    id: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """``host:port``, IPv6 addresses in brackets."""
        return join_host_port(self.host, self.port)

    def __str__(self) -> str:
        """For logs and errors: the id, and the address where the id does not say it."""
        return self.address if self.id == self.address else f"{self.id} at {self.address}"


class CoordinatorDirectory(Service):
    """
    Knows the coordinators: the one of ``worker.coordinator-host`` if that is set, else those alive in the registry.

    There is one channel for each (id, host, port), made at first use and closed when the member vanishes or moves. While the
    service runs it follows the registry and tells subscribers; without that, each `members` looks once. A member that
    went stale in the registry (a disk that became read-only stops everybody's beats) stays one as long as it answers.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        now: Callable[[], float],
        connect: Connect | None = None,
    ) -> None:
        self._now = now
        self._connect = connect or connector(settings, reactor)
        self._static: Member | None = None
        self._view: MembershipView | None = None
        self._channels: dict[Member, RpcChannel] = {}
        self._answered: dict[Member, float] = {}
        self._members: tuple[Member, ...] = ()
        self._listeners: list[Callable[[], None]] = []
        worker = settings.worker
        if worker.coordinator_host:
            member = Member("", worker.coordinator_host, worker.coordinator_port)
            self._static = Member(member.address, member.host, member.port)
            self._members = (self._static,)
        else:
            self._view = MembershipView(
                reactor, settings.paths.service_registry_dir, Kind.COORDINATOR, now, socket.gethostname()
            )
            self._view.subscribe(self.review)

    @property
    def nobody(self) -> str:
        """The sentence for when there is no member: where was searched, and what to do."""
        if self._view is None:
            return "no coordinator is configured"
        trouble = f" ({self._view.problem})" if self._view.problem else ""
        return (
            f"no coordinator is registered in {self._view.directory}{trouble}: start one with `dagu coordinator`, "
            "or set worker.coordinator-host"
        )

    def known(self) -> tuple[Member, ...]:
        """The members as last seen."""
        return self._members

    async def members(self) -> tuple[Member, ...]:
        """The members now: as last seen while the service follows the registry, else after a look into it."""
        if self._view is not None and not (self.running and self._view.seen):
            await self._view.refresh()
            self.review()
        return self._members

    def channel(self, member: Member) -> RpcChannel:
        """The channel to that member, the same one for every caller."""
        channel = self._channels.get(member)
        if channel is None:
            channel = self._channels[member] = self._connect(member.host, member.port)
        return channel

    def redial(self, member: Member) -> None:
        """Close the channel, whose connection seems dead; the next call opens another one."""
        self._close(member)

    def answered(self, member: Member) -> None:
        """Somebody got an answer from that member just now."""
        self._answered[member] = self._now()

    def review(self) -> None:
        """Look again who is a member, by the registry as last seen and by who answered; tell subscribers of a change."""
        if self._view is None:
            return
        members = {_member(entry) for entry in self._view.members()}
        ids = {member.id for member in members}
        since = self._now() - ANSWER_COUNTS_FOR
        for stale in self._view.stale():
            member = _member(stale.entry)
            if member.id not in ids and self._answered.get(member, since) > since:
                members.add(member)
        before, self._members = self._members, tuple(sorted(members))
        for member in [member for member in self._channels if member not in members]:
            self._close(member)
        for member in [member for member in self._answered if member not in members]:
            del self._answered[member]
        if before != self._members:
            for listener in list(self._listeners):
                listener()

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` when the members became others; returns how to end that."""
        self._listeners.append(changed)
        return lambda: self._listeners.remove(changed)

    def startService(self) -> None:
        """Follow the registry."""
        Service.startService(self)
        if self._view is not None:
            self._view.startService()

    async def shut_down(self) -> None:
        """Stop following, and close all channels."""
        Service.stopService(self)
        if self._view is not None and self._view.running:
            stopped = self._view.stopService()
            if stopped is not None:
                await stopped
        channels, self._channels = self._channels, {}
        for member, channel in channels.items():
            await self._closed(member, channel)

    def stopService(self) -> Deferred[None]:
        """Stop following, and close all channels; fires when they are closed."""
        return Deferred.fromCoroutine(self.shut_down())

    def _close(self, member: Member) -> None:
        channel = self._channels.pop(member, None)
        if channel is not None:
            Deferred.fromCoroutine(self._closed(member, channel))

    async def _closed(self, member: Member, channel: RpcChannel) -> None:
        try:
            await channel.close()
        except Exception:  # noqa: BLE001 - a channel that cannot be closed must not keep the others open
            self.log.failure("closing the channel to coordinator {member} failed", member=str(member))


def _member(entry: ServiceEntry) -> Member:
    return Member(entry.id, entry.host, entry.port)
