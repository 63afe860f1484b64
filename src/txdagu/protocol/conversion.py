"""Messages to values of `txdagu.model`, and back."""

from __future__ import annotations

from txdagu.model.health import Health, health_of_age
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.standing import Action, Mode, Standing, WorkerOrder
from txdagu.model.task import Operation, RunningTask, Task, WorkerStatus
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import worker_pb2 as worker_pb

_OPERATIONS = {
    Operation.START: pb.OPERATION_START,
    Operation.RETRY: pb.OPERATION_RETRY,
}
_OPERATIONS_BACK = {number: operation for operation, number in _OPERATIONS.items()}

# The wire knows three words; a worker that is offline is told as unhealthy, and its age says the rest.
_HEALTH = {
    Health.HEALTHY: pb.WORKER_HEALTH_STATUS_HEALTHY,
    Health.WARNING: pb.WORKER_HEALTH_STATUS_WARNING,
    Health.UNHEALTHY: pb.WORKER_HEALTH_STATUS_UNHEALTHY,
    Health.OFFLINE: pb.WORKER_HEALTH_STATUS_UNHEALTHY,
}
_HEALTH_BACK = {
    pb.WORKER_HEALTH_STATUS_HEALTHY: Health.HEALTHY,
    pb.WORKER_HEALTH_STATUS_WARNING: Health.WARNING,
    pb.WORKER_HEALTH_STATUS_UNHEALTHY: Health.UNHEALTHY,
}


def _ref(name: str, run_id: str) -> RunRef | None:
    return RunRef(name, run_id) if run_id else None


def run_names(run: RunRef, root: RunRef) -> dict[str, str]:
    """The fields by which requests about a run name it and its root run."""
    return {
        "dag_name": run.name,
        "dag_run_id": run.id,
        "root_dag_run_name": root.name,
        "root_dag_run_id": root.id,
    }


def task_to_message(task: Task) -> pb.Task:
    """The task as `Dispatch` sends it; fields that a coordinator fills in are left empty."""
    return pb.Task(
        root_dag_run_name=task.root.name,
        root_dag_run_id=task.root.id,
        parent_dag_run_name=task.parent.name if task.parent else "",
        parent_dag_run_id=task.parent.id if task.parent else "",
        dag_run_id=task.run.id,
        operation=_OPERATIONS[task.operation],
        target=task.target,
        params=task.params,
        step=task.step,
        worker_selector=dict(task.selector),
        definition=task.definition,
        trace_parent=task.trace_parent,
        on_worker_lost=task.on_worker_lost.policy.value,
        lost_limit=task.on_worker_lost.limit,
        single_step=task.single_step,
        needs=task.needs,
        earlier_attempt=task.earlier_attempt,
    )


def task_from_message(message: pb.Task) -> Task:
    """
    The task in a message of any generation.

    Peers of 1.30.2 may leave the root empty for a root run, which then is its own root. Raises `ValueError` for an operation
    that is not known and for a task without a run id.
    """
    if message.operation not in _OPERATIONS_BACK:
        raise ValueError(
            "operation not specified" if not message.operation else f"unknown operation: {message.operation}"
        )
    if not message.dag_run_id:
        raise ValueError("dag_run_id is required")
    run = RunRef(message.target, message.dag_run_id)
    return Task(
        run=run,
        root=_ref(message.root_dag_run_name, message.root_dag_run_id) or run,
        parent=_ref(message.parent_dag_run_name, message.parent_dag_run_id),
        operation=_OPERATIONS_BACK[message.operation],
        target=message.target,
        params=message.params,
        step=message.step,
        selector=dict(message.worker_selector),
        definition=message.definition,
        trace_parent=message.trace_parent,
        on_worker_lost=_on_worker_lost(message),
        single_step=message.single_step,
        needs=message.needs,
        earlier_attempt=message.earlier_attempt if message.HasField("earlier_attempt") else None,
    )


def _on_worker_lost(message: pb.Task) -> OnWorkerLost:
    """The policy; that of a dispatcher which names none, or one that is not known here, is our default."""
    default = OnWorkerLost()
    known = {policy.value: policy for policy in LostWorkerPolicy}
    return OnWorkerLost(known.get(message.on_worker_lost, default.policy), message.lost_limit or default.limit)


def running_task_to_message(task: RunningTask) -> pb.RunningTask:
    """A running task as heartbeats carry it."""
    return pb.RunningTask(
        dag_run_id=task.run.id,
        dag_name=task.run.name,
        started_at=task.started_at,
        root_dag_run_name=task.root.name,
        root_dag_run_id=task.root.id,
        parent_dag_run_name=task.parent.name if task.parent else "",
        parent_dag_run_id=task.parent.id if task.parent else "",
        attempt_key=task.attempt_key,
        epoch=task.epoch,
    )


def running_task_from_message(message: pb.RunningTask) -> RunningTask:
    """A running task out of a heartbeat; a run without a root is its own root."""
    run = RunRef(message.dag_name, message.dag_run_id)
    return RunningTask(
        run=run,
        root=_ref(message.root_dag_run_name, message.root_dag_run_id) or run,
        parent=_ref(message.parent_dag_run_name, message.parent_dag_run_id),
        started_at=message.started_at,
        attempt_key=message.attempt_key,
        epoch=message.epoch,
    )


def worker_to_message(worker: WorkerStatus) -> pb.WorkerInfo:
    """A worker as `GetWorkers` lists it."""
    return pb.WorkerInfo(
        worker_id=worker.id,
        labels=dict(worker.labels),
        total_pollers=worker.slots,
        busy_pollers=worker.busy,
        running_tasks=[running_task_to_message(task) for task in worker.running],
        last_heartbeat_at=worker.last_heartbeat_at,
        health_status=_HEALTH[worker.health],
        heartbeat_age_ms=round(worker.heartbeat_age * 1000),
        confirms=worker.confirms,
        standing=None if worker.standing is None else _standing_to_message(worker.standing),
    )


def worker_from_message(message: pb.WorkerInfo) -> WorkerStatus:
    """A worker out of `GetWorkers`. Peers that send no age are believed in their word of health."""
    health = _HEALTH_BACK.get(message.health_status, Health.UNHEALTHY)
    age = message.heartbeat_age_ms / 1000
    if health is Health.UNHEALTHY and age:
        health = health_of_age(age)
    return WorkerStatus(
        id=message.worker_id,
        labels=dict(message.labels),
        health=health,
        slots=message.total_pollers,
        busy=message.busy_pollers,
        running=tuple(running_task_from_message(task) for task in message.running_tasks),
        heartbeat_age=age,
        last_heartbeat_at=message.last_heartbeat_at,
        confirms=message.confirms,
        standing=_standing_from_message(message.standing) if message.HasField("standing") else None,
    )


def _standing_to_message(standing: Standing) -> worker_pb.Standing:
    return worker_pb.Standing(
        mode=standing.mode.value,
        since_ms=round(standing.since * 1000),
        until_ms=0 if standing.until is None else round(standing.until * 1000),
        reason=standing.reason,
        by=standing.by,
    )


def _standing_from_message(message: worker_pb.Standing) -> Standing:
    """A mode that is not known here keeps tasks away as well."""
    return Standing(
        mode=Mode.DRAINING if message.mode == Mode.DRAINING.value else Mode.CORDONED,
        since=message.since_ms / 1000,
        until=message.until_ms / 1000 if message.until_ms else None,
        reason=message.reason,
        by=message.by,
    )


_ACTIONS = {
    Action.CORDON: worker_pb.WORKER_ACTION_CORDON,
    Action.DRAIN: worker_pb.WORKER_ACTION_DRAIN,
    Action.RESUME: worker_pb.WORKER_ACTION_RESUME,
}
_ACTIONS_BACK = {number: action for action, number in _ACTIONS.items()}


def order_to_message(order: WorkerOrder) -> worker_pb.OrderRequest:
    """An order for workers."""
    return worker_pb.OrderRequest(
        action=_ACTIONS[order.action],
        worker_ids=order.ids,
        selector=dict(order.selector),
        reason=order.reason,
        by=order.by,
        patience_ms=None if order.patience is None else round(order.patience * 1000),
    )


def order_from_message(message: worker_pb.OrderRequest, caller: str) -> WorkerOrder:
    """The order in a message, the `caller`'s if it names nobody. Raises `ValueError` if it says not what to do, or to whom."""
    if message.action not in _ACTIONS_BACK:
        raise ValueError("the action is missing: cordon, drain or resume")
    if not message.worker_ids and not message.selector:
        raise ValueError("no worker is named: worker_ids or selector are required")
    return WorkerOrder(
        action=_ACTIONS_BACK[message.action],
        ids=tuple(message.worker_ids),
        selector=dict(message.selector),
        reason=message.reason,
        by=message.by or caller,
        patience=message.patience_ms / 1000 if message.HasField("patience_ms") else None,
    )


def attempt_key(root: RunRef, run: RunRef, attempt_id: str) -> str:
    """
    The key under which 2.x workers know an attempt.

    Hexadecimal FNV-1a of 64 bits over root name, root id, DAG name and run id, joined by NUL, then ``:`` and the attempt id.
    """
    value = 0xCBF29CE484222325
    for byte in f"{root.name}\0{root.id}\0{run.name}\0{run.id}".encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}:{attempt_id}"
