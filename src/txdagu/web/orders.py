"""Orders for workers through the API: bodies read, coordinators told."""

from __future__ import annotations

import msgspec
from twisted.web.server import Request

from txdagu.model.errors import InvalidInputError, NotFoundError, Problem
from txdagu.model.standing import Action, WorkerOrder
from txdagu.web.census import Census
from txdagu.web.decisions import read_body
from txdagu.web.documents import Document


class _Order(msgspec.Struct, rename="camel"):
    reason: str = ""
    deadline_seconds: float | None = None


_order = msgspec.json.Decoder(_Order)


async def order_worker(census: Census, worker_id: str, word: str, request: Request) -> Document:
    """
    ``POST …/workers/{id}/cordon``, ``drain`` or ``resume``.

    The body may have a ``reason``, and for a drain ``deadlineSeconds``. Raises `NotFoundError` if nobody knows the worker.
    """
    body = read_body(request, _order)
    if body.deadline_seconds is not None and (
        word != Action.DRAIN.value or not 0 <= body.deadline_seconds < float("inf")
    ):
        raise InvalidInputError([Problem("deadlineSeconds is for drain, and not below 0", "deadlineSeconds")])
    order = WorkerOrder(
        Action(word),
        (worker_id,),
        reason=body.reason,
        by=f"web page, {request.getClientAddress().host}",
        patience=body.deadline_seconds,
    )
    done = await census.order(order)
    if not done.workers:
        raise NotFoundError("; ".join([f"no coordinator knows a worker {worker_id}", *done.errors]))
    return {"workers": list(done.workers), "errors": list(done.errors)}
