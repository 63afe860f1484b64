"""Asks the coordinators where a task is and why, and where others would go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from txdagu.dispatch.whatif import FleetChange, Placed, Wish
from txdagu.model.run import RunRef
from txdagu.peers.coordinators import QUESTION_DEADLINE, Coordinators
from txdagu.peers.discovery import Member
from txdagu.peers.interfaces import IExplainer
from txdagu.peers.told import ClusterWord, Listed, Place, PlanWord, Told, merge_places
from txdagu.peers.toldmessages import places_from_message, plan_to_message, told_from_message
from txdagu.protocol import coordinator_pb2, explain_pb2
from txdagu.protocol.conversion import worker_from_message
from txdagu.protocol.services import EXPLAIN, GET_WORKERS, PLAN
from txdagu.wire.status import RpcError, StatusCode

MOST_BELOW = 20
WISHES_AT_ONCE = 10
Answer = TypeVar("Answer")
_Key = tuple[frozenset[tuple[str, str]], str]


@implementer(IExplainer)
class Explainer:
    """Provides `IExplainer`: every coordinator is asked at once; of those that do not know the question, their workers."""

    def __init__(self, coordinators: Coordinators) -> None:
        self._coordinators = coordinators

    async def explain(self, run: RunRef, root: RunRef) -> ClusterWord:
        """What all coordinators together say of a run."""
        request = explain_pb2.ExplainRequest(root_name=root.name, root_id=root.id, run_id=run.id, most_below=MOST_BELOW)

        async def ask(member: Member) -> Told:
            answer = await self._coordinators.channel(member).unary(EXPLAIN, request, timeout=QUESTION_DEADLINE)
            return told_from_message(answer, str(member))

        told, listed, errors, nobody = await self._ask_all(ask)
        return ClusterWord(tuple(told), tuple(listed), tuple(errors), nobody)

    async def plan(self, wishes: Sequence[Wish], change: FleetChange) -> PlanWord:
        """Where all coordinators together would put tasks. Equal wishes are asked once, and many of them in several questions."""
        distinct = list({_key(wish): wish for wish in wishes}.values())
        places: dict[_Key, Place] = {}
        word = PlanWord()
        for first in range(0, len(distinct), WISHES_AT_ONCE):
            batch = distinct[first : first + WISHES_AT_ONCE]
            word = await self._plan(batch, change)
            places.update(zip(map(_key, batch), word.places, strict=True))
        return replace(word, places=tuple(places[_key(wish)] for wish in wishes))

    async def _plan(self, wishes: Sequence[Wish], change: FleetChange) -> PlanWord:
        request = plan_to_message(wishes, change)

        async def ask(member: Member) -> tuple[Placed, ...]:
            answer = await self._coordinators.channel(member).unary(PLAN, request, timeout=QUESTION_DEADLINE)
            return places_from_message(answer)

        told, listed, errors, nobody = await self._ask_all(ask)
        places = merge_places(wishes, told, listed, change)
        return PlanWord(places, tuple(one.coordinator for one in listed), tuple(errors), nobody)

    async def _ask_all(
        self, ask: Callable[[Member], Awaitable[Answer]]
    ) -> tuple[list[Answer], list[Listed], list[str], str]:
        answers: dict[Member, Answer] = {}
        lists: dict[Member, Listed] = {}
        errors: list[str] = []

        async def one(member: Member) -> None:
            try:
                try:
                    answers[member] = await ask(member)
                except RpcError as error:
                    if error.code is not StatusCode.UNIMPLEMENTED:
                        raise
                    lists[member] = await self._list(member)
            except (RpcError, ValueError) as error:
                errors.append(f"coordinator {member}: {error}")

        members = await self._coordinators.members()
        await gatherResults([Deferred.fromCoroutine(one(member)) for member in members], consumeErrors=True)
        nobody = "" if members else self._coordinators.directory.nobody
        return (
            [answers[member] for member in members if member in answers],
            [lists[member] for member in members if member in lists],
            sorted(errors),
            nobody,
        )

    async def _list(self, member: Member) -> Listed:
        request = coordinator_pb2.GetWorkersRequest()
        answer = await self._coordinators.channel(member).unary(GET_WORKERS, request, timeout=QUESTION_DEADLINE)
        return Listed(str(member), tuple(worker_from_message(worker) for worker in answer.workers))


def _key(wish: Wish) -> _Key:
    return frozenset(wish.selector.items()), wish.needs
