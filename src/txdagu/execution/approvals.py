"""Decisions of people on steps that wait for them: written down, and whether the run can go on then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from txdagu.execution.plan.approval import NotWaitingError, Wait, approved, rejected, waits_of
from txdagu.model.errors import NotFoundError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.store.interfaces import IRunStore


@dataclass(frozen=True, slots=True)
class Decided:
    """
    What came of a decision: the run of the step, its root run, and which steps of all those runs wait still.

    The root run `goes_on` when nothing waits any more and it was not the one that was rejected: then somebody has to ask
    `IRunStore.requeue` for that, and to execute it.
    """

    status: RunStatus
    root: RunStatus
    waits: tuple[Wait, ...]

    @property
    def goes_on(self) -> bool:
        """Whether the root run can go on now."""
        return self.root.state is RunState.WAITING and not self.waits


class Approvals:
    """Approves and rejects; `now` tells the time with its zone. Runs are named together with their root run."""

    def __init__(self, store: IRunStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def approve(self, run: RunRef, root: RunRef, step: str, inputs: Mapping[str, str], by: str = "") -> Decided:
        """
        Approve a step, with the values it asks for.

        Raises `NotFoundError`, `NotWaitingError`, `InvalidInputError` with all that is wrong about the inputs, and
        `ConflictError` while the run is being executed. Of several decisions on one step the first stands.
        """
        at = self._now()
        return await self._decide(run, root, lambda status: approved(status, step, inputs, by, at))

    async def reject(self, run: RunRef, root: RunRef, step: str, reason: str, by: str = "") -> Decided:
        """Reject a step, which ends its run. Raises what `approve` does, but for inputs."""
        at = self._now()
        return await self._decide(run, root, lambda status: rejected(status, step, reason, by, at))

    async def waits(self, root: RunRef) -> tuple[RunStatus, tuple[Wait, ...]]:
        """A root run, and all steps of it and below that wait for a person. Raises `NotFoundError`."""
        status: RunStatus | None = await self._store.read_status(root, root)
        if status is None:
            raise NotFoundError(f"dag-run ID {root.id} not found for DAG {root.name}")
        below: dict[str, RunStatus] = {}
        await self._collect(status, root, below)
        return status, tuple(waits_of(status, below))

    async def find_child(self, root: RunRef, run_id: str) -> RunRef:
        """The run of that id which the root run, or one below it, has called. Raises `NotFoundError`."""
        below: dict[str, RunStatus] = {}
        status: RunStatus | None = await self._store.read_status(root, root)
        if status is None:
            raise NotFoundError(f"dag-run ID {root.id} not found for DAG {root.name}")
        await self._collect(status, root, below)
        if run_id not in below:
            raise NotFoundError(f"sub DAG-run ID {run_id} not found")
        return below[run_id].run

    async def _decide(self, run: RunRef, root: RunRef, change: Callable[[RunStatus], RunStatus]) -> Decided:
        """The root run is looked at first: a step below it is decided on when it rests, and so goes on with it."""
        top: RunStatus | None = await self._store.read_status(root, root)
        if top is None:
            raise NotFoundError(f"dag-run ID {root.id} not found for DAG {root.name}")
        if run != root and top.state is not RunState.WAITING:
            raise NotWaitingError(f"run {root}, for which {run} was called, is {top.state.label} and does not wait")
        status = await self._store.amend(run, root, change)
        top, waits = await self.waits(root)
        return Decided(status, top, waits)

    async def _collect(self, status: RunStatus, root: RunRef, below: dict[str, RunStatus]) -> None:
        """Read all runs that were called, and theirs."""
        pending = [status]
        while pending:
            for node in pending.pop().nodes:
                if node.step.child is None:
                    continue
                for child in node.children:
                    found: RunStatus | None = await self._store.read_status(
                        RunRef(node.step.child.name, child.run_id), root
                    )
                    if found is not None and child.run_id not in below:
                        below[child.run_id] = found
                        pending.append(found)
