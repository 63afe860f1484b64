"""The wire: field numbers, methods, conversion."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.health import Health
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.task import Operation, RunningTask, Task, WorkerStatus
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.protocol import explain_pb2, services
from txdagu.protocol.conversion import (
    attempt_key,
    running_task_from_message,
    running_task_to_message,
    task_from_message,
    task_to_message,
    worker_from_message,
    worker_to_message,
)

# Fields in the order of their numbers, from 1; `None` where nothing has that number.
FIELDS = {
    "Task": (
        "root_dag_run_name root_dag_run_id parent_dag_run_name parent_dag_run_id dag_run_id operation target params step "
        "worker_selector definition worker_id previous_status attempt_id attempt_key labels base_config schedule_time "
        "external_step_retry queue_name owner_coordinator_id owner_coordinator_host owner_coordinator_port claim_token "
        "source_file agent_snapshot"
    ),
    "PollRequest": "worker_id poller_id labels",
    "PollResponse": "task",
    "DispatchRequest": "task",
    "GetWorkersResponse": "workers",
    "WorkerInfo": (
        "worker_id poller_id labels connected_at total_pollers busy_pollers running_tasks last_heartbeat_at health_status"
    ),
    "HeartbeatRequest": "worker_id labels stats",
    "HeartbeatResponse": "cancelled_runs",
    "WorkerStats": "total_pollers busy_pollers running_tasks",
    "RunningTask": (
        "dag_run_id dag_name started_at root_dag_run_name root_dag_run_id parent_dag_run_name parent_dag_run_id attempt_key"
    ),
    "CancelledRun": "attempt_key",
    "DAGRunStatusProto": "json_data",
    "AckTaskClaimRequest": "worker_id claim_token",
    "AckTaskClaimResponse": "accepted error",
    "RunHeartbeatRequest": "worker_id owner_coordinator_id running_tasks",
    "RunHeartbeatResponse": "cancelled_runs",
    "ReportStatusRequest": "worker_id status owner_coordinator_id",
    "ReportStatusResponse": "accepted error",
    "LogChunk": (
        "worker_id dag_run_id dag_name step_name stream_type data sequence is_final root_dag_run_name root_dag_run_id "
        "attempt_id owner_coordinator_id"
    ),
    "StreamLogsResponse": "chunks_received bytes_written error",
    "ArtifactChunk": (
        "worker_id dag_run_id dag_name relative_path data sequence is_final root_dag_run_name root_dag_run_id attempt_id "
        "owner_coordinator_id"
    ),
    "StreamArtifactsResponse": "chunks_received bytes_written error",
    "GetDAGRunStatusRequest": "dag_name dag_run_id root_dag_run_name root_dag_run_id",
    "GetDAGRunStatusResponse": "found status error",
    "RequestCancelRequest": "dag_name dag_run_id root_dag_run_name root_dag_run_id",
    "RequestCancelResponse": "accepted error",
}

names = st.text(min_size=1, max_size=20)
refs = st.builds(RunRef, names, names)


class FieldNumberTests(SynchronousTestCase):
    def test_every_message_has_the_published_numbers(self) -> None:
        """A wrong number would make both programs read each other's fields as something else."""
        for message, text in FIELDS.items():
            descriptor = pb.DESCRIPTOR.message_types_by_name[message]
            below = {field.number: field.name for field in descriptor.fields if field.number < 1000}
            self.assertEqual(below, dict(enumerate(text.split(), start=1)), message)

    def test_no_message_is_forgotten(self) -> None:
        """Each message with fields is in the table above."""
        with_fields = {m.name for m in pb.DESCRIPTOR.message_types_by_name.values() if m.fields}
        self.assertEqual(with_fields, set(FIELDS))

    def test_methods_are_those_of_the_proto_file(self) -> None:
        """The method table and the service definition name the same paths and kinds."""
        described = {
            f"/{service.full_name}/{method.name}": (method.client_streaming, method.server_streaming)
            for file in (pb.DESCRIPTOR, explain_pb2.DESCRIPTOR)
            for service in file.services_by_name.values()
            for method in service.methods
        }
        ours = {
            method.path: (method.cardinality.client_streaming, method.cardinality.server_streaming)
            for method in vars(services).values()
            if getattr(method, "service", "") in (services.COORDINATOR_SERVICE, services.EXPLAIN_SERVICE)
        }
        self.assertEqual(ours, described)


class ConversionTests(SynchronousTestCase):
    @given(
        st.builds(
            Task,
            run=refs,
            root=refs,
            operation=st.sampled_from(Operation),
            target=names,
            parent=st.one_of(st.none(), refs),
            params=st.text(),
            step=st.text(),
            selector=st.dictionaries(names, st.text()),
            definition=st.text(),
            trace_parent=st.text(),
            on_worker_lost=st.builds(OnWorkerLost, st.sampled_from(LostWorkerPolicy), st.integers(1, 1000)),
            single_step=st.text(),
            needs=st.text(),
            earlier_attempt=st.none() | st.text(),
        )
    )
    def test_a_task_survives_the_wire(self, task: Task) -> None:
        """Encoding and decoding changes nothing but the run's name, which the wire calls target."""
        message = pb.Task.FromString(task_to_message(task).SerializeToString())
        back = task_from_message(message)
        self.assertEqual(back.run, RunRef(task.target, task.run.id))
        self.assertEqual((back.root, back.parent, back.operation), (task.root, task.parent, task.operation))
        self.assertEqual((back.selector, back.definition), (task.selector, task.definition))
        self.assertEqual((back.params, back.step, back.trace_parent), (task.params, task.step, task.trace_parent))
        self.assertEqual(
            (back.on_worker_lost, back.single_step, back.needs), (task.on_worker_lost, task.single_step, task.needs)
        )
        self.assertEqual(back.earlier_attempt, task.earlier_attempt)

    def test_policies_that_are_not_told(self) -> None:
        """A dispatcher that names no policy, or one that a later version may know, gets the default."""
        for policy in ("", "later"):
            message = pb.Task(dag_run_id="r1", operation=pb.OPERATION_START, on_worker_lost=policy)
            self.assertEqual(task_from_message(message).on_worker_lost, OnWorkerLost())

    def test_a_root_run_of_an_old_peer_is_its_own_root(self) -> None:
        """Fields that old dispatchers leave empty get their meaning."""
        task = task_from_message(pb.Task(dag_run_id="r1", target="quick", operation=pb.OPERATION_RETRY))
        self.assertEqual((task.root, task.parent), (RunRef("quick", "r1"), None))

    def test_operation_must_be_known(self) -> None:
        """A task that says not what to do is refused with the words old peers know."""
        with self.assertRaisesRegex(ValueError, "operation not specified"):
            task_from_message(pb.Task(dag_run_id="r1"))

    @given(
        st.builds(RunningTask, run=refs, root=refs, parent=st.one_of(st.none(), refs), started_at=st.integers(0, 2**40))
    )
    def test_a_running_task_survives_the_wire(self, task: RunningTask) -> None:
        """Heartbeats tell the whole family of a run."""
        self.assertEqual(running_task_from_message(running_task_to_message(task)), task)

    def test_offline_travels_as_unhealthy_with_its_age(self) -> None:
        """Old readers know three words; new ones get the fourth back from the age."""
        worker = WorkerStatus("w", {"gpu": "true"}, Health.OFFLINE, 4, 0, heartbeat_age=31.5, last_heartbeat_at=7)
        message = worker_to_message(worker)
        self.assertEqual(message.health_status, pb.WORKER_HEALTH_STATUS_UNHEALTHY)
        self.assertEqual(worker_from_message(message), worker)

    def test_attempt_key(self) -> None:
        """The key is FNV-1a of 64 bits; the value of the empty family is the algorithm's start folded over three zero bytes."""
        key = attempt_key(RunRef("", ""), RunRef("", ""), "abc123")
        expected = 0xCBF29CE484222325
        for _ in range(3):
            expected = expected * 0x100000001B3 % 2**64
        self.assertEqual(key, f"{expected:016x}:abc123")
