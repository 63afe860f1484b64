"""
The examination of one coordinator, step by step: name, port, protocol, certificates, calls, clock.

Every step is a finding. A step that makes the next ones pointless ends the examination. First a connection that believes
everything shows all that is wrong at once; then the very channel that workers use shows that it works.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError, NoRouteError
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.error import TimeoutError as ConnectTimeoutError

from txdagu.grpc.greeting import Answer, Reply
from txdagu.model.addresses import ip_version, is_loopback, join_host_port
from txdagu.model.errors import DaguError
from txdagu.model.findings import Examination, Finding, failure, ok, warning
from txdagu.peers.diagnosis.conversation import Conversation, no_answer
from txdagu.peers.diagnosis.judgement import judge_clear, judge_tls, milliseconds
from txdagu.peers.diagnosis.own_side import OwnSide
from txdagu.peers.diagnosis.reach import Reach
from txdagu.peers.diagnosis.registered import Target

Tell = Callable[[Finding], None]


class Diagnosis:
    """Examines coordinators for one side, whose settings and certificates are `own`. `tell` hears of each finding at once."""

    def __init__(self, own: OwnSide, reach: Reach, tell: Tell) -> None:
        self._own = own
        self._reach = reach
        self._tell = tell
        self._findings: list[Finding] = []

    async def examine(self, target: Target) -> Examination:
        """All findings about one coordinator."""
        self._findings = []
        await self._steps(target)
        return Examination(f"{target.title} at {target.address}", tuple(self._findings))

    def _add(self, *findings: Finding) -> None:
        for finding in findings:
            self._findings.append(finding)
            self._tell(finding)

    async def _steps(self, target: Target) -> None:
        addresses = await self._resolved(target.host)
        address = await self._reachable(addresses, target) if addresses else ""
        if not address or not await self._speaks(address, target):
            return
        if self._reach.connect is None:
            self._add(
                warning(
                    "calls",
                    "none are made, because our own settings cannot be used",
                    "mend what is said about them above",
                )
            )
            return
        channel = self._reach.connect(target.host, target.port)
        try:
            only_here = all(is_loopback(each) for each in addresses)
            await Conversation(channel, target, self._own, self._reach, self._add, self._advertised, only_here).hold()
        finally:
            await channel.close()

    async def _resolved(self, host: str) -> list[str]:
        if ip_version(host) is not None:
            return [host]
        try:
            addresses = await self._lookup(host)
        except OSError as error:
            self._add(
                failure(
                    "name",
                    f"{host} has no address: {error.strerror or error}",
                    "see how that name is written, and whether this host's name service knows it (getent hosts "
                    f"{host}); coordinator.advertise sets what workers dial",
                )
            )
            return []
        self._add(ok("name", f"{host} is {', '.join(addresses)}"))
        return addresses

    async def _lookup(self, host: str) -> list[str]:
        prober = self._reach.prober
        looking: Deferred[list[str]] = Deferred.fromCoroutine(_awaited(self._reach.resolve(host)))
        looking.addTimeout(prober.timeout, prober.clock)
        try:
            return await looking
        except DeferredTimeoutError:
            raise OSError(0, f"the name service gave no answer within {prober.timeout:g} s") from None

    async def _reachable(self, addresses: list[str], target: Target) -> str:
        """The first address that takes a connection; empty without one."""
        reached: dict[str, float] = {}
        troubles: list[tuple[str, str]] = []
        for address in addresses:
            try:
                reached[address] = await self._reach.prober.tcp(address, target.port)
            except (ConnectError, DeferredTimeoutError, OSError) as error:
                troubles.append((address, self._why(error)))
        for address, seconds in reached.items():
            text = f"{join_host_port(address, target.port)} takes connections, after {milliseconds(seconds)}"
            self._add(ok("tcp", text, seconds=seconds))
        for address, why in troubles:
            where = join_host_port(address, target.port)
            if not reached:
                self._add(failure("tcp", f"{where}: {why}", self._for_unreachable(why, address, target)))
            elif is_loopback(address):
                self._add(ok("tcp", f"{where}: {why}; clients go on to the next address"))
            else:
                advice = "remove that address from the name, or let the coordinator listen there too"
                self._add(warning("tcp", f"{where}: {why}; clients go on to the next address, later", advice))
        return next(iter(reached), "")

    def _why(self, error: BaseException) -> str:
        if isinstance(error, RefusedError):
            return "connection refused"
        if isinstance(error, ConnectTimeoutError | DeferredTimeoutError):
            return f"no answer within {self._reach.prober.timeout:g} s"
        if isinstance(error, NoRouteError):
            return "there is no route to that host"
        return (getattr(error, "strerror", None) or str(error)).rstrip(".")

    def _for_unreachable(self, why: str, address: str, target: Target) -> str:
        gone = (
            " and, if that coordinator is gone for good, remove its file from the registry" if target.registered else ""
        )
        if "refused" in why:
            bound = (
                ""
                if is_loopback(address)
                else "; one whose coordinator.host is 127.0.0.1, the default, is not reachable from elsewhere"
            )
            return f"start it with dagu coordinator or dagu start-all, and compare its port{bound}{gone}"
        if "no answer" in why:
            return f"see whether that host is up, and whether a firewall lets port {target.port} through{gone}"
        return f"see how this host gets to that address{gone}"

    async def _speaks(self, address: str, target: Target) -> bool:
        """Whether it speaks with us as our settings want it. Tells what it speaks, and all about its certificate."""
        own, prober = self._own, self._reach.prober
        if not own.tls:
            reply = await prober.greet(address, target.port)
            other = None
            if reply.limits is None and reply.answer in (Answer.CLOSED, Answer.SILENCE, Answer.OTHER, Answer.TLS):
                other = await prober.greet_tls(address, target.port, target.host, None)
            findings = judge_clear(reply, other, own)
        else:
            reply = await prober.greet_tls(address, target.port, target.host, own.identity)
            in_clear: Reply | None = None
            if reply.tls is None or not reply.tls.complete:
                in_clear = await prober.greet(address, target.port)
            findings = judge_tls(reply, in_clear, target.host, own, self._today())
        self._add(*findings)
        return reply.answer is Answer.HTTP2

    def _today(self) -> datetime:
        return datetime.fromtimestamp(self._reach.unix(), UTC)

    async def _advertised(self, host: str, port: int) -> str:
        """Why workers that dial this address would not succeed; empty if they would."""
        try:
            addresses = [host] if ip_version(host) is not None else await self._lookup(host)
        except OSError as error:
            return f"{host} has no address: {error.strerror or error}"
        if self._reach.connect is None:
            return "our own settings cannot be used"
        channel = self._reach.connect(host, port)
        try:
            return await no_answer(channel, self._reach.prober.timeout)
        except DaguError as error:
            return f"{', '.join(addresses)}: {error}"
        finally:
            await channel.close()


async def _awaited(waiting: Awaitable[list[str]]) -> list[str]:
    return await waiting
