"""Those who hand in tasks, follow them, cancel some, and look at the workers: the outside view that must be true."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.standing import WorkerOrder
from txdagu.model.task import Operation, Task
from txdagu.peers.discovery import Member
from txdagu.peers.statuses import status_from_message
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol.conversion import order_to_message, run_names, task_to_message
from txdagu.protocol.services import DISPATCH, GET_DAG_RUN_STATUS, GET_WORKERS, ORDER_WORKERS, REQUEST_CANCEL
from txdagu.testing.simulation.network import Network
from txdagu.testing.simulation.workers import Directory
from txdagu.testing.simulation.world import Process
from txdagu.wire.status import RpcError, StatusCode

DEADLINE = 4.0
LOOK_EVERY = 3.0

_HEAD = "workingDir: /\nmaxCleanUpTimeSec: 2\n"
_STEP = "  - name: {name}\n    command: 'true'\n"
_A, _B, _C = (_STEP.format(name=name) for name in "abc")
_GRAPH = f"type: graph\nsteps:\n{_A}{_B}{_C}    depends: [a, b]\n    retryPolicy: {{limit: 1, intervalSec: 1}}\n"
_SHAPES = (
    f"steps:\n{_A}",
    f"steps:\n{_A}{_B}{_C}",
    f"{_GRAPH}handlerOn:\n  exit: {{command: 'true'}}\n",
)
POLICIES = (
    LostWorkerPolicy.REDISTRIBUTE,
    LostWorkerPolicy.REDISTRIBUTE,
    LostWorkerPolicy.REDISTRIBUTE,
    LostWorkerPolicy.FAIL,
    LostWorkerPolicy.WAIT,
)
SELECTORS: tuple[dict[str, str], ...] = ({}, {}, {"zone": "a"}, {"zone": "b"}, {"zone": "nowhere"})


@dataclass(eq=False)
class Order:
    """One run that somebody wants: which task, at which coordinator, from when on; cancelled at a time, or never."""

    task: Task
    member: Member
    at: float
    cancel_at: float = float("inf")
    accepted: bool = False
    ended: bool = False
    again: bool = False


def orders(random: Random, members: tuple[Member, ...], count: int, until: float) -> list[Order]:
    """Orders of all kinds, the first ones at once; some are called by others."""
    made: list[Order] = []
    for number in range(count):
        run = RunRef("job", f"run-{number}")
        parents = [order for order in made if order.task.parent is None]
        parent = random.choice(parents) if parents and random.random() < 0.2 else None
        root = parent.task.run if parent else run
        task = Task(
            run=run,
            root=root,
            parent=parent.task.run if parent else None,
            operation=Operation.START,
            target="job",
            selector=dict(random.choice(SELECTORS)),
            definition=_HEAD + random.choice(_SHAPES),
            on_worker_lost=OnWorkerLost(random.choice(POLICIES), random.choice((2, 3, 5))),
            needs="onWorkerLost" if random.random() < 0.3 else "",
        )
        at = random.uniform(0.0, until) if number > 2 else 0.0
        order = Order(task, parent.member if parent else random.choice(members), max(at, parent.at if parent else 0.0))
        if random.random() < 0.25 or (task.selector.get("zone") == "nowhere" and random.random() < 0.5):
            order.cancel_at = order.at + random.uniform(0.0, 20.0)
        order.again = random.random() < 0.2
        made.append(order)
    return made


class Dispatcher:
    """One process on a host that never fails, though the network to it does. It never gives up."""

    def __init__(
        self,
        process: Process,
        network: Network,
        members: tuple[Member, ...],
        wanted: list[Order],
        broken: Callable[[str, Failure], None],
    ) -> None:
        self._broken = broken
        self.host = "dispatcher"
        self.orders = wanted
        self._process = process
        self._members = members
        self._directory = Directory(network, process, self.host, members)

    def start(self) -> None:
        """Begin."""
        for order in self.orders:
            self._forever(self._follow(order))
            if order.cancel_at != float("inf"):
                self._forever(self._cancel(order))
        for member in self._members:
            self._forever(self._look(member))

    def _forever(self, work: Any) -> None:
        going = Deferred.fromCoroutine(work)
        going.addErrback(lambda failure: self._broken(self.host, failure))
        self._process.world.remains.append(going)

    async def _until(self, at: float) -> None:
        await self._pause(at - self._process.world.now)

    async def _pause(self, seconds: float) -> None:
        tick: Deferred[None] = Deferred()
        self._process.callLater(max(seconds, 0.0), tick.callback, None)
        await tick

    async def _follow(self, order: Order) -> None:
        await self._until(order.at)
        await self._hand_in(order, order.task)
        await self._see_the_end(order, order.task)
        if order.again:
            await self._hand_in(order, order.task)
            await self._see_the_end(order, order.task)
        order.ended = True

    async def _hand_in(self, order: Order, task: Task) -> None:
        channel = self._directory.channel
        while True:
            try:
                await channel(order.member).unary(
                    DISPATCH, pb.DispatchRequest(task=task_to_message(task)), timeout=DEADLINE
                )
            except RpcError as error:
                if error.code is StatusCode.ALREADY_EXISTS:
                    return
                await self._pause(self._process.random.uniform(0.1, 1.5))
            else:
                order.accepted = True
                return

    async def _see_the_end(self, order: Order, task: Task) -> None:
        request = pb.GetDAGRunStatusRequest(**run_names(task.run, task.root))
        while True:
            await self._pause(LOOK_EVERY)
            try:
                answer = await self._directory.channel(order.member).unary(
                    GET_DAG_RUN_STATUS, request, timeout=DEADLINE
                )
            except RpcError:
                continue
            if not answer.found:
                await self._hand_in(order, task)  # its coordinator has lost its journal
            elif not answer.status.json_data or status_from_message(answer.status).state.at_rest:
                return

    async def _cancel(self, order: Order) -> None:
        await self._until(order.cancel_at)
        task = order.task
        request = pb.RequestCancelRequest(**run_names(task.run, task.root))
        while True:
            try:
                await self._directory.channel(order.member).unary(REQUEST_CANCEL, request, timeout=DEADLINE)
            except RpcError:
                await self._pause(1.0)
            else:
                return

    def keep_in_order(self, member: Member, given: Iterable[WorkerOrder]) -> None:
        """Give these orders for workers to a coordinator, each as soon as the one before is carried out."""
        self._forever(self._give(member, given))

    async def _give(self, member: Member, given: Iterable[WorkerOrder]) -> None:
        for order in given:
            while True:
                await self._pause(self._process.random.uniform(0.5, 4.0))
                try:
                    await self._directory.channel(member).unary(
                        ORDER_WORKERS, order_to_message(order), timeout=DEADLINE
                    )
                except RpcError:
                    continue
                break

    async def _look(self, member: Member) -> None:
        while True:
            await self._pause(LOOK_EVERY)
            try:
                await self._directory.channel(member).unary(GET_WORKERS, pb.GetWorkersRequest(), timeout=DEADLINE)
            except RpcError:
                continue
