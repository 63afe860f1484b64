"""What a coordinator answers to calls: its health, what program it is, its workers, its clock, and what it advertises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from txdagu.model.addresses import join_host_port
from txdagu.model.findings import Finding, failure, ok, warning
from txdagu.peers.connecting import Reply, RpcChannel
from txdagu.peers.diagnosis.judgement import milliseconds
from txdagu.peers.diagnosis.own_side import OwnSide
from txdagu.peers.diagnosis.reach import Reach
from txdagu.peers.diagnosis.registered import Target
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import health_pb2 as health
from txdagu.protocol.conversion import worker_from_message
from txdagu.protocol.services import (
    ADVERTISED_HOST,
    ADVERTISED_PORT,
    ANNOUNCEMENT,
    COORDINATOR_SERVICE,
    GET_WORKERS,
    HEALTH_CHECK,
    PROGRAM,
    TIME,
)
from txdagu.wire.metadata import ReceivedMetadata
from txdagu.wire.status import RpcError, StatusCode

# The clock is compared several times; the quickest answer says it best.
_SAMPLES = 3
# Nothing depends on equal clocks, but what people read in logs of two hosts does.
_CLOCK_TOLERANCE = 2.0
_SHOWN_WORKERS = 8
_SERVING = health.HealthCheckResponse.SERVING

NOT_OURS = "it is a coordinator without our extensions, such as Dagu's: it keeps no tasks that no worker can take now"
_STRANGER = "see whether this is a coordinator at all"

Add = Callable[..., None]


@dataclass(frozen=True, slots=True)
class _Sample:
    reply: Reply[pb.GetWorkersResponse]
    sent: float
    round_trip: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """
    Calls the coordinator `target` over a channel as its clients do, and has what comes of it `add`ed.

    `unreachable` says why an advertised address would not be reached by workers, or nothing.
    """

    channel: RpcChannel
    target: Target
    own: OwnSide
    reach: Reach
    add: Add
    unreachable: Callable[[str, int], Awaitable[str]]
    only_here: bool = False
    """Whether the target's address means this host to whoever dials it."""

    async def hold(self) -> None:
        """Health, program, workers, round trip, clock, advertised address; less where calls fail."""
        if not await self._healthy():
            return
        samples = await self._samples()
        if not samples:
            return
        best = min(samples, key=lambda sample: sample.round_trip)
        metadata = best.reply.initial_metadata
        program = f"it is {_text(metadata, PROGRAM) or 'txdagu'}" if ANNOUNCEMENT in metadata else NOT_OURS
        self.add(ok("program", program))
        self.add(_workers(best.reply.message))
        trip = best.round_trip
        self.add(ok("round trip", f"a call takes {milliseconds(trip)}, the best of {len(samples)}", seconds=trip))
        self.add(self._clock(best))
        self.add(await self._advertised(metadata))

    @property
    def _only_here(self) -> str:
        return "; from other hosts that leads nowhere" if self.only_here else ""

    @property
    def _seconds(self) -> float:
        return self.reach.prober.timeout

    async def _healthy(self) -> bool:
        """Whether calls get through at all."""
        for service in ("", COORDINATOR_SERVICE):
            what = service or "the server"
            try:
                request = health.HealthCheckRequest(service=service)
                answer = await self.channel.unary(HEALTH_CHECK, request, timeout=self._seconds)
            except RpcError as error:
                if error.code is StatusCode.UNIMPLEMENTED:
                    self.add(
                        warning(
                            "health",
                            "it has no health service (grpc.health.v1)",
                            _STRANGER,
                        )
                    )
                    return True
                if error.code is StatusCode.NOT_FOUND:
                    self.add(_unknown_service(service))
                    continue
                self.add(failure("calls", f"a call as workers make it fails: {error}", _for_failed_call(error)))
                return False
            if answer.status == _SERVING:
                self.add(ok("health", f"{what} is SERVING"))
            else:
                text = f"{what} is {_status_name(answer.status)}"
                self.add(
                    failure("health", text, "it is stopping or not ready yet: see what its log says, and try again")
                )
        return True

    async def _samples(self) -> list[_Sample]:
        samples: list[_Sample] = []
        try:
            for _ in range(_SAMPLES):
                sent, began = self.reach.unix(), self.reach.prober.now()
                reply = await self.channel.unary_call(GET_WORKERS, pb.GetWorkersRequest(), timeout=self._seconds)
                samples.append(_Sample(reply, sent, self.reach.prober.now() - began))
        except RpcError as error:
            if not samples:
                unknown = error.code is StatusCode.UNIMPLEMENTED
                advice = "this is no coordinator, but some other gRPC server" if unknown else _for_failed_call(error)
                self.add(failure("workers", f"it does not list its workers: {error}", advice))
        return samples

    def _clock(self, sample: _Sample) -> Finding:
        told = _number(sample.reply.initial_metadata, TIME)
        if told is None:
            return ok("clock", "its clock is unknown: only coordinators of ours tell the time")
        ahead = told / 1000 - (sample.sent + sample.round_trip / 2)
        # Its clock was read somewhere within the round trip, and is told in whole milliseconds.
        error = sample.round_trip / 2 + 0.001
        way = "ahead of ours" if ahead > 0 else "behind ours"
        if abs(ahead) <= error:
            return ok("clock", f"its clock is as ours, within {milliseconds(error)}", ahead=ahead)
        text = f"its clock is {milliseconds(abs(ahead))} {way}"
        if abs(ahead) <= _CLOCK_TOLERANCE:
            return ok("clock", f"{text} (± {milliseconds(error)})", ahead=ahead)
        advice = "let both hosts keep time (NTP); schedules, logs and the dates of certificates go by their own clock"
        return warning("clock", text, advice, ahead=ahead)

    async def _advertised(self, metadata: ReceivedMetadata) -> Finding:
        host, port = self.target.host, self.target.port
        told_host, told_port = _text(metadata, ADVERTISED_HOST), _number(metadata, ADVERTISED_PORT)
        if not told_host or told_port is None:
            if self.target.registered:
                where = join_host_port(host, port)
                return ok("advertised", f"workers dial {where}, as its entry in the registry says{self._only_here}")
            return ok("advertised", "it does not tell which address it advertises; that is in the registry")
        address = join_host_port(told_host, told_port)
        if (told_host, told_port) == (host, port):
            return ok("advertised", f"workers dial {address}, as it advertises{self._only_here}")
        problem = await self.unreachable(told_host, told_port)
        if not problem:
            return ok("advertised", f"it advertises {address}, which can be reached from here too")
        advice = "set coordinator.advertise on its host to an address that workers can reach"
        text = f"it advertises {address}, which cannot be reached from here: {problem}"
        if self.own.settings.worker.coordinator_host:
            return warning(
                "advertised",
                text,
                f"{advice}; {self.own.setting('worker.coordinatorHost')}, so workers here do not need it",
            )
        return failure("advertised", text, advice)


async def no_answer(channel: RpcChannel, seconds: float) -> str:
    """Why a coordinator gave no good answer about its health within that time; empty if it did."""
    try:
        answer = await channel.unary(HEALTH_CHECK, health.HealthCheckRequest(), timeout=seconds)
    except RpcError as error:
        return "" if error.code is StatusCode.UNIMPLEMENTED else error.message
    return "" if answer.status == _SERVING else f"its health is {_status_name(answer.status)}"


def _unknown_service(service: str) -> Finding:
    if not service:
        return warning("health", "it knows nothing of its own health", _STRANGER)
    # Dagu 1.30.2 knows only the server as a whole.
    return ok("health", f"it tells nothing about {service} alone")


def _for_failed_call(error: RpcError) -> str:
    if error.code is StatusCode.UNAVAILABLE:
        return "the findings above tell more"
    if error.code is StatusCode.DEADLINE_EXCEEDED:
        return "it is overloaded or stuck: see its log, or give it longer with --timeout"
    return "see its log"


def _workers(message: pb.GetWorkersResponse) -> Finding:
    workers = sorted((worker_from_message(worker) for worker in message.workers), key=lambda worker: worker.id)
    if not workers:
        return ok("workers", "it knows no worker yet", workers=0)
    shown = ", ".join(f"{worker.id} {worker.health.value}" for worker in workers[:_SHOWN_WORKERS])
    more = f" and {len(workers) - _SHOWN_WORKERS} more" if len(workers) > _SHOWN_WORKERS else ""
    count = f"{len(workers)} worker{'' if len(workers) == 1 else 's'}"
    return ok("workers", f"it knows {count}: {shown}{more}", workers=len(workers))


def _status_name(status: health.HealthCheckResponse.ServingStatus) -> str:
    try:
        return health.HealthCheckResponse.ServingStatus.Name(status)
    except ValueError:
        return f"in the unknown state {int(status)}"


def _text(metadata: ReceivedMetadata, key: str) -> str:
    value = metadata.get(key, "")
    return unquote(value) if isinstance(value, str) else ""


def _number(metadata: ReceivedMetadata, key: str) -> int | None:
    text = _text(metadata, key)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
