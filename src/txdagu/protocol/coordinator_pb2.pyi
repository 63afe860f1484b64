from txdagu.protocol import runs_pb2 as _runs_pb2
from txdagu.protocol import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Operation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_UNSPECIFIED: _ClassVar[Operation]
    OPERATION_START: _ClassVar[Operation]
    OPERATION_RETRY: _ClassVar[Operation]

class WorkerHealthStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKER_HEALTH_STATUS_UNSPECIFIED: _ClassVar[WorkerHealthStatus]
    WORKER_HEALTH_STATUS_HEALTHY: _ClassVar[WorkerHealthStatus]
    WORKER_HEALTH_STATUS_WARNING: _ClassVar[WorkerHealthStatus]
    WORKER_HEALTH_STATUS_UNHEALTHY: _ClassVar[WorkerHealthStatus]

class LogStreamType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_STREAM_TYPE_UNSPECIFIED: _ClassVar[LogStreamType]
    LOG_STREAM_TYPE_STDOUT: _ClassVar[LogStreamType]
    LOG_STREAM_TYPE_STDERR: _ClassVar[LogStreamType]
    LOG_STREAM_TYPE_SCHEDULER: _ClassVar[LogStreamType]
OPERATION_UNSPECIFIED: Operation
OPERATION_START: Operation
OPERATION_RETRY: Operation
WORKER_HEALTH_STATUS_UNSPECIFIED: WorkerHealthStatus
WORKER_HEALTH_STATUS_HEALTHY: WorkerHealthStatus
WORKER_HEALTH_STATUS_WARNING: WorkerHealthStatus
WORKER_HEALTH_STATUS_UNHEALTHY: WorkerHealthStatus
LOG_STREAM_TYPE_UNSPECIFIED: LogStreamType
LOG_STREAM_TYPE_STDOUT: LogStreamType
LOG_STREAM_TYPE_STDERR: LogStreamType
LOG_STREAM_TYPE_SCHEDULER: LogStreamType

class Task(_message.Message):
    __slots__ = ("root_dag_run_name", "root_dag_run_id", "parent_dag_run_name", "parent_dag_run_id", "dag_run_id", "operation", "target", "params", "step", "worker_selector", "definition", "worker_id", "previous_status", "attempt_id", "attempt_key", "labels", "base_config", "schedule_time", "external_step_retry", "queue_name", "owner_coordinator_id", "owner_coordinator_host", "owner_coordinator_port", "claim_token", "source_file", "agent_snapshot", "epoch", "attempt_name", "on_worker_lost", "lost_limit", "single_step", "needs", "trace_parent", "earlier_attempt")
    class WorkerSelectorEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROOT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    WORKER_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATUS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_KEY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BASE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_STEP_RETRY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_NAME_FIELD_NUMBER: _ClassVar[int]
    OWNER_COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_COORDINATOR_HOST_FIELD_NUMBER: _ClassVar[int]
    OWNER_COORDINATOR_PORT_FIELD_NUMBER: _ClassVar[int]
    CLAIM_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FILE_FIELD_NUMBER: _ClassVar[int]
    AGENT_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    ON_WORKER_LOST_FIELD_NUMBER: _ClassVar[int]
    LOST_LIMIT_FIELD_NUMBER: _ClassVar[int]
    SINGLE_STEP_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    TRACE_PARENT_FIELD_NUMBER: _ClassVar[int]
    EARLIER_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    root_dag_run_name: str
    root_dag_run_id: str
    parent_dag_run_name: str
    parent_dag_run_id: str
    dag_run_id: str
    operation: Operation
    target: str
    params: str
    step: str
    worker_selector: _containers.ScalarMap[str, str]
    definition: str
    worker_id: str
    previous_status: DAGRunStatusProto
    attempt_id: str
    attempt_key: str
    labels: str
    base_config: str
    schedule_time: str
    external_step_retry: bool
    queue_name: str
    owner_coordinator_id: str
    owner_coordinator_host: str
    owner_coordinator_port: int
    claim_token: str
    source_file: str
    agent_snapshot: bytes
    epoch: int
    attempt_name: str
    on_worker_lost: str
    lost_limit: int
    single_step: str
    needs: str
    trace_parent: str
    earlier_attempt: str
    def __init__(self, root_dag_run_name: _Optional[str] = ..., root_dag_run_id: _Optional[str] = ..., parent_dag_run_name: _Optional[str] = ..., parent_dag_run_id: _Optional[str] = ..., dag_run_id: _Optional[str] = ..., operation: _Optional[_Union[Operation, str]] = ..., target: _Optional[str] = ..., params: _Optional[str] = ..., step: _Optional[str] = ..., worker_selector: _Optional[_Mapping[str, str]] = ..., definition: _Optional[str] = ..., worker_id: _Optional[str] = ..., previous_status: _Optional[_Union[DAGRunStatusProto, _Mapping]] = ..., attempt_id: _Optional[str] = ..., attempt_key: _Optional[str] = ..., labels: _Optional[str] = ..., base_config: _Optional[str] = ..., schedule_time: _Optional[str] = ..., external_step_retry: _Optional[bool] = ..., queue_name: _Optional[str] = ..., owner_coordinator_id: _Optional[str] = ..., owner_coordinator_host: _Optional[str] = ..., owner_coordinator_port: _Optional[int] = ..., claim_token: _Optional[str] = ..., source_file: _Optional[str] = ..., agent_snapshot: _Optional[bytes] = ..., epoch: _Optional[int] = ..., attempt_name: _Optional[str] = ..., on_worker_lost: _Optional[str] = ..., lost_limit: _Optional[int] = ..., single_step: _Optional[str] = ..., needs: _Optional[str] = ..., trace_parent: _Optional[str] = ..., earlier_attempt: _Optional[str] = ...) -> None: ...

class PollRequest(_message.Message):
    __slots__ = ("worker_id", "poller_id", "labels", "incarnation", "free_slots", "shared_nothing")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    POLLER_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    SHARED_NOTHING_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    poller_id: str
    labels: _containers.ScalarMap[str, str]
    incarnation: str
    free_slots: int
    shared_nothing: bool
    def __init__(self, worker_id: _Optional[str] = ..., poller_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., incarnation: _Optional[str] = ..., free_slots: _Optional[int] = ..., shared_nothing: _Optional[bool] = ...) -> None: ...

class PollResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: Task
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ...) -> None: ...

class DispatchRequest(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: Task
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ...) -> None: ...

class DispatchResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetWorkersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetWorkersResponse(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[WorkerInfo]
    def __init__(self, workers: _Optional[_Iterable[_Union[WorkerInfo, _Mapping]]] = ...) -> None: ...

class WorkerInfo(_message.Message):
    __slots__ = ("worker_id", "poller_id", "labels", "connected_at", "total_pollers", "busy_pollers", "running_tasks", "last_heartbeat_at", "health_status", "heartbeat_age_ms", "confirms", "standing")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    POLLER_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_AT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_POLLERS_FIELD_NUMBER: _ClassVar[int]
    BUSY_POLLERS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TASKS_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_AT_FIELD_NUMBER: _ClassVar[int]
    HEALTH_STATUS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIRMS_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    poller_id: str
    labels: _containers.ScalarMap[str, str]
    connected_at: int
    total_pollers: int
    busy_pollers: int
    running_tasks: _containers.RepeatedCompositeFieldContainer[RunningTask]
    last_heartbeat_at: int
    health_status: WorkerHealthStatus
    heartbeat_age_ms: int
    confirms: bool
    standing: _worker_pb2.Standing
    def __init__(self, worker_id: _Optional[str] = ..., poller_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., connected_at: _Optional[int] = ..., total_pollers: _Optional[int] = ..., busy_pollers: _Optional[int] = ..., running_tasks: _Optional[_Iterable[_Union[RunningTask, _Mapping]]] = ..., last_heartbeat_at: _Optional[int] = ..., health_status: _Optional[_Union[WorkerHealthStatus, str]] = ..., heartbeat_age_ms: _Optional[int] = ..., confirms: _Optional[bool] = ..., standing: _Optional[_Union[_worker_pb2.Standing, _Mapping]] = ...) -> None: ...

class RunningTask(_message.Message):
    __slots__ = ("dag_run_id", "dag_name", "started_at", "root_dag_run_name", "root_dag_run_id", "parent_dag_run_name", "parent_dag_run_id", "attempt_key", "epoch")
    DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DAG_NAME_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_KEY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    dag_run_id: str
    dag_name: str
    started_at: int
    root_dag_run_name: str
    root_dag_run_id: str
    parent_dag_run_name: str
    parent_dag_run_id: str
    attempt_key: str
    epoch: int
    def __init__(self, dag_run_id: _Optional[str] = ..., dag_name: _Optional[str] = ..., started_at: _Optional[int] = ..., root_dag_run_name: _Optional[str] = ..., root_dag_run_id: _Optional[str] = ..., parent_dag_run_name: _Optional[str] = ..., parent_dag_run_id: _Optional[str] = ..., attempt_key: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class WorkerStats(_message.Message):
    __slots__ = ("total_pollers", "busy_pollers", "running_tasks")
    TOTAL_POLLERS_FIELD_NUMBER: _ClassVar[int]
    BUSY_POLLERS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TASKS_FIELD_NUMBER: _ClassVar[int]
    total_pollers: int
    busy_pollers: int
    running_tasks: _containers.RepeatedCompositeFieldContainer[RunningTask]
    def __init__(self, total_pollers: _Optional[int] = ..., busy_pollers: _Optional[int] = ..., running_tasks: _Optional[_Iterable[_Union[RunningTask, _Mapping]]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("worker_id", "labels", "stats", "incarnation", "leaving", "draining", "drain_left_ms", "gone_incarnations")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    DRAIN_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    GONE_INCARNATIONS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    labels: _containers.ScalarMap[str, str]
    stats: WorkerStats
    incarnation: str
    leaving: bool
    draining: bool
    drain_left_ms: int
    gone_incarnations: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, worker_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., stats: _Optional[_Union[WorkerStats, _Mapping]] = ..., incarnation: _Optional[str] = ..., leaving: _Optional[bool] = ..., draining: _Optional[bool] = ..., drain_left_ms: _Optional[int] = ..., gone_incarnations: _Optional[_Iterable[str]] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("cancelled_runs",)
    CANCELLED_RUNS_FIELD_NUMBER: _ClassVar[int]
    cancelled_runs: _containers.RepeatedCompositeFieldContainer[CancelledRun]
    def __init__(self, cancelled_runs: _Optional[_Iterable[_Union[CancelledRun, _Mapping]]] = ...) -> None: ...

class CancelledRun(_message.Message):
    __slots__ = ("attempt_key", "reason", "lost", "hand_back")
    ATTEMPT_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    HAND_BACK_FIELD_NUMBER: _ClassVar[int]
    attempt_key: str
    reason: str
    lost: bool
    hand_back: bool
    def __init__(self, attempt_key: _Optional[str] = ..., reason: _Optional[str] = ..., lost: _Optional[bool] = ..., hand_back: _Optional[bool] = ...) -> None: ...

class DAGRunStatusProto(_message.Message):
    __slots__ = ("json_data",)
    JSON_DATA_FIELD_NUMBER: _ClassVar[int]
    json_data: str
    def __init__(self, json_data: _Optional[str] = ...) -> None: ...

class AckTaskClaimRequest(_message.Message):
    __slots__ = ("worker_id", "claim_token")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    CLAIM_TOKEN_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    claim_token: str
    def __init__(self, worker_id: _Optional[str] = ..., claim_token: _Optional[str] = ...) -> None: ...

class AckTaskClaimResponse(_message.Message):
    __slots__ = ("accepted", "error", "lease_seconds")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    error: str
    lease_seconds: float
    def __init__(self, accepted: _Optional[bool] = ..., error: _Optional[str] = ..., lease_seconds: _Optional[float] = ...) -> None: ...

class RunHeartbeatRequest(_message.Message):
    __slots__ = ("worker_id", "owner_coordinator_id", "running_tasks", "incarnation")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TASKS_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    owner_coordinator_id: str
    running_tasks: _containers.RepeatedCompositeFieldContainer[RunningTask]
    incarnation: str
    def __init__(self, worker_id: _Optional[str] = ..., owner_coordinator_id: _Optional[str] = ..., running_tasks: _Optional[_Iterable[_Union[RunningTask, _Mapping]]] = ..., incarnation: _Optional[str] = ...) -> None: ...

class RunHeartbeatResponse(_message.Message):
    __slots__ = ("cancelled_runs",)
    CANCELLED_RUNS_FIELD_NUMBER: _ClassVar[int]
    cancelled_runs: _containers.RepeatedCompositeFieldContainer[CancelledRun]
    def __init__(self, cancelled_runs: _Optional[_Iterable[_Union[CancelledRun, _Mapping]]] = ...) -> None: ...

class ReportStatusRequest(_message.Message):
    __slots__ = ("worker_id", "status", "owner_coordinator_id", "attempt_key", "epoch", "handed_back", "attempt_name", "closes_attempt", "fence")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OWNER_COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_KEY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HANDED_BACK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    CLOSES_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    status: DAGRunStatusProto
    owner_coordinator_id: str
    attempt_key: str
    epoch: int
    handed_back: bool
    attempt_name: str
    closes_attempt: bool
    fence: _runs_pb2.Fence
    def __init__(self, worker_id: _Optional[str] = ..., status: _Optional[_Union[DAGRunStatusProto, _Mapping]] = ..., owner_coordinator_id: _Optional[str] = ..., attempt_key: _Optional[str] = ..., epoch: _Optional[int] = ..., handed_back: _Optional[bool] = ..., attempt_name: _Optional[str] = ..., closes_attempt: _Optional[bool] = ..., fence: _Optional[_Union[_runs_pb2.Fence, _Mapping]] = ...) -> None: ...

class ReportStatusResponse(_message.Message):
    __slots__ = ("accepted", "error", "cancel_requested", "lost")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    error: str
    cancel_requested: bool
    lost: bool
    def __init__(self, accepted: _Optional[bool] = ..., error: _Optional[str] = ..., cancel_requested: _Optional[bool] = ..., lost: _Optional[bool] = ...) -> None: ...

class LogChunk(_message.Message):
    __slots__ = ("worker_id", "dag_run_id", "dag_name", "step_name", "stream_type", "data", "sequence", "is_final", "root_dag_run_name", "root_dag_run_id", "attempt_id", "owner_coordinator_id", "fence", "attempt_name", "file_name", "offset")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DAG_NAME_FIELD_NUMBER: _ClassVar[int]
    STEP_NAME_FIELD_NUMBER: _ClassVar[int]
    STREAM_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    dag_run_id: str
    dag_name: str
    step_name: str
    stream_type: LogStreamType
    data: bytes
    sequence: int
    is_final: bool
    root_dag_run_name: str
    root_dag_run_id: str
    attempt_id: str
    owner_coordinator_id: str
    fence: _runs_pb2.Fence
    attempt_name: str
    file_name: str
    offset: int
    def __init__(self, worker_id: _Optional[str] = ..., dag_run_id: _Optional[str] = ..., dag_name: _Optional[str] = ..., step_name: _Optional[str] = ..., stream_type: _Optional[_Union[LogStreamType, str]] = ..., data: _Optional[bytes] = ..., sequence: _Optional[int] = ..., is_final: _Optional[bool] = ..., root_dag_run_name: _Optional[str] = ..., root_dag_run_id: _Optional[str] = ..., attempt_id: _Optional[str] = ..., owner_coordinator_id: _Optional[str] = ..., fence: _Optional[_Union[_runs_pb2.Fence, _Mapping]] = ..., attempt_name: _Optional[str] = ..., file_name: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class StreamLogsResponse(_message.Message):
    __slots__ = ("chunks_received", "bytes_written", "error", "sizes", "lost")
    class SizesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CHUNKS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    chunks_received: int
    bytes_written: int
    error: str
    sizes: _containers.ScalarMap[str, int]
    lost: bool
    def __init__(self, chunks_received: _Optional[int] = ..., bytes_written: _Optional[int] = ..., error: _Optional[str] = ..., sizes: _Optional[_Mapping[str, int]] = ..., lost: _Optional[bool] = ...) -> None: ...

class ArtifactChunk(_message.Message):
    __slots__ = ("worker_id", "dag_run_id", "dag_name", "relative_path", "data", "sequence", "is_final", "root_dag_run_name", "root_dag_run_id", "attempt_id", "owner_coordinator_id", "fence", "attempt_name", "offset", "mode")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DAG_NAME_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_PATH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_COORDINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    dag_run_id: str
    dag_name: str
    relative_path: str
    data: bytes
    sequence: int
    is_final: bool
    root_dag_run_name: str
    root_dag_run_id: str
    attempt_id: str
    owner_coordinator_id: str
    fence: _runs_pb2.Fence
    attempt_name: str
    offset: int
    mode: int
    def __init__(self, worker_id: _Optional[str] = ..., dag_run_id: _Optional[str] = ..., dag_name: _Optional[str] = ..., relative_path: _Optional[str] = ..., data: _Optional[bytes] = ..., sequence: _Optional[int] = ..., is_final: _Optional[bool] = ..., root_dag_run_name: _Optional[str] = ..., root_dag_run_id: _Optional[str] = ..., attempt_id: _Optional[str] = ..., owner_coordinator_id: _Optional[str] = ..., fence: _Optional[_Union[_runs_pb2.Fence, _Mapping]] = ..., attempt_name: _Optional[str] = ..., offset: _Optional[int] = ..., mode: _Optional[int] = ...) -> None: ...

class StreamArtifactsResponse(_message.Message):
    __slots__ = ("chunks_received", "bytes_written", "error", "sizes", "lost")
    class SizesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CHUNKS_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    chunks_received: int
    bytes_written: int
    error: str
    sizes: _containers.ScalarMap[str, int]
    lost: bool
    def __init__(self, chunks_received: _Optional[int] = ..., bytes_written: _Optional[int] = ..., error: _Optional[str] = ..., sizes: _Optional[_Mapping[str, int]] = ..., lost: _Optional[bool] = ...) -> None: ...

class GetDAGRunStatusRequest(_message.Message):
    __slots__ = ("dag_name", "dag_run_id", "root_dag_run_name", "root_dag_run_id")
    DAG_NAME_FIELD_NUMBER: _ClassVar[int]
    DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    dag_name: str
    dag_run_id: str
    root_dag_run_name: str
    root_dag_run_id: str
    def __init__(self, dag_name: _Optional[str] = ..., dag_run_id: _Optional[str] = ..., root_dag_run_name: _Optional[str] = ..., root_dag_run_id: _Optional[str] = ...) -> None: ...

class GetDAGRunStatusResponse(_message.Message):
    __slots__ = ("found", "status", "error")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    found: bool
    status: DAGRunStatusProto
    error: str
    def __init__(self, found: _Optional[bool] = ..., status: _Optional[_Union[DAGRunStatusProto, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class RequestCancelRequest(_message.Message):
    __slots__ = ("dag_name", "dag_run_id", "root_dag_run_name", "root_dag_run_id")
    DAG_NAME_FIELD_NUMBER: _ClassVar[int]
    DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_DAG_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    dag_name: str
    dag_run_id: str
    root_dag_run_name: str
    root_dag_run_id: str
    def __init__(self, dag_name: _Optional[str] = ..., dag_run_id: _Optional[str] = ..., root_dag_run_name: _Optional[str] = ..., root_dag_run_id: _Optional[str] = ...) -> None: ...

class RequestCancelResponse(_message.Message):
    __slots__ = ("accepted", "error")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    accepted: bool
    error: str
    def __init__(self, accepted: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...
