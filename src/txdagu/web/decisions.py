"""Approving and rejecting steps through the API: bodies read, decisions made, runs put into their queue to go on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from twisted.web.server import Request

from txdagu.execution.approvals import Approvals, Decided
from txdagu.execution.plan.approval import NotWaitingError
from txdagu.model.errors import ConflictError, InvalidInputError, Problem, UnavailableError
from txdagu.model.run import RunRef
from txdagu.store.interfaces import IRunStore
from txdagu.web.documents import Document

LARGEST_BODY = 1 << 20
T = TypeVar("T")


class _Approval(msgspec.Struct):
    inputs: dict[str, str] | None = None


class _Rejection(msgspec.Struct):
    reason: str | None = None


_approval = msgspec.json.Decoder(_Approval)
_rejection = msgspec.json.Decoder(_Rejection)


class Decisions:
    """
    Decides on steps, and leaves the rest of a run to whoever empties the queues.

    Without `queues_enabled` nobody does, so that nothing is approved here. `child` names the run below `root` that the step
    belongs to; empty for the root run itself.
    """

    def __init__(self, approvals: Approvals, store: IRunStore, *, queues_enabled: bool) -> None:
        self._approvals = approvals
        self._store = store
        self._queues_enabled = queues_enabled

    async def approve(self, root: RunRef, child: str, step: str, request: Request) -> Document:
        """``POST …/steps/{step}/approve``; `resumed` tells whether the run goes on with that."""
        inputs = read_body(request, _approval).inputs or {}
        run = await self._run(root, child)
        try:
            decided = await self._approvals.approve(run, root, step, inputs)
        except ConflictError as error:
            raise NotWaitingError(str(error)) from error
        return {"dagRunId": run.id, "stepName": step, "resumed": await self._go_on(root, decided)}

    async def reject(self, root: RunRef, child: str, step: str, request: Request) -> Document:
        """``POST …/steps/{step}/reject``."""
        reason = read_body(request, _rejection).reason or ""
        run = await self._run(root, child)
        try:
            decided = await self._approvals.reject(run, root, step, reason)
        except ConflictError as error:
            raise NotWaitingError(str(error)) from error
        await self._go_on(root, decided)
        return {"dagRunId": run.id, "stepName": step}

    async def _run(self, root: RunRef, child: str) -> RunRef:
        if not self._queues_enabled:
            raise UnavailableError(
                "queues are disabled in the configuration (queues.enabled), so that nothing here would go on with the run: "
                f"use dagu approve {root.name} --run-id {root.id}"
            )
        return await self._approvals.find_child(root, child) if child else root

    async def _go_on(self, root: RunRef, decided: Decided) -> bool:
        if not decided.goes_on:
            return False
        with suppress(ConflictError):  # somebody who decided at the same moment was faster
            await self._store.requeue(root)
        return True


def read_body(request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    """
    The JSON document in a request's body; none is an empty one. Raises `InvalidInputError`.

    The media type has to be said: pages of other sites can make a browser send anything else without asking us.
    """
    media_type = (request.getHeader("Content-Type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidInputError([Problem("the body must be JSON", "Content-Type", "send application/json")])
    content: Any = request.content
    data: bytes = content.read(LARGEST_BODY + 1)
    if len(data) > LARGEST_BODY:
        raise InvalidInputError([Problem(f"the body is larger than {LARGEST_BODY} bytes")])
    try:
        return decoder.decode(data if data.strip() else b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError([Problem(f"the body cannot be read: {error}")]) from None
