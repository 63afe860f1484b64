"""The methods of our services, each with its messages, for servers and clients alike."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from txdagu.protocol import coordinator_pb2 as coordinator
from txdagu.protocol import explain_pb2 as explain
from txdagu.protocol import health_pb2 as health
from txdagu.protocol import reflection_pb2 as reflection
from txdagu.protocol import reflection_v1alpha_pb2 as reflection_v1alpha
from txdagu.protocol import runs_pb2 as runs
from txdagu.protocol import worker_pb2 as worker
from txdagu.wire.method import Cardinality, RpcMethod

COORDINATOR_SERVICE = "coordinator.v1.CoordinatorService"
EXPLAIN_SERVICE = "txdagu.v1.ExplainService"
RUN_SERVICE = "txdagu.v1.RunService"
WORKER_SERVICE = "txdagu.v1.WorkerService"
HEALTH_SERVICE = "grpc.health.v1.Health"
REFLECTION_SERVICE = "grpc.reflection.v1.ServerReflection"
REFLECTION_V1ALPHA_SERVICE = "grpc.reflection.v1alpha.ServerReflection"

# A coordinator of ours says with this key in the initial metadata of every response that it knows our additions.
ANNOUNCEMENT = "txdagu-protocol"

# With its list of workers it also tells, for those who look for what is wrong: the program and its version, its time when it
# answered (Unix milliseconds), and the address that it advertises. Texts are percent-encoded.
PROGRAM = "txdagu-program"
TIME = "txdagu-time"
ADVERTISED_HOST = "txdagu-advertised-host"
ADVERTISED_PORT = "txdagu-advertised-port"

# It tells the random id of its data directory with `Poll` and `Heartbeat`: a worker that finds the same in its own sees the
# same disk.
DATA_DIRECTORY = "txdagu-data-directory"

# With UNAVAILABLE it tells in trailing metadata that it gives no task away meanwhile, whatever becomes of leases.
LEASES = "txdagu-leases"
LEASES_STAND = "stand"

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


def message_method(
    service: str,
    name: str,
    request: type[RequestT],
    response: type[ResponseT],
    cardinality: Cardinality = Cardinality.UNARY_UNARY,
) -> RpcMethod[RequestT, ResponseT]:
    """A method whose messages are generated classes."""
    return RpcMethod(
        service,
        name,
        cardinality,
        encode_request=request.SerializeToString,
        decode_request=request.FromString,
        encode_response=response.SerializeToString,
        decode_response=response.FromString,
    )


POLL = message_method(COORDINATOR_SERVICE, "Poll", coordinator.PollRequest, coordinator.PollResponse)
DISPATCH = message_method(COORDINATOR_SERVICE, "Dispatch", coordinator.DispatchRequest, coordinator.DispatchResponse)
GET_WORKERS = message_method(
    COORDINATOR_SERVICE, "GetWorkers", coordinator.GetWorkersRequest, coordinator.GetWorkersResponse
)
HEARTBEAT = message_method(
    COORDINATOR_SERVICE, "Heartbeat", coordinator.HeartbeatRequest, coordinator.HeartbeatResponse
)
ACK_TASK_CLAIM = message_method(
    COORDINATOR_SERVICE, "AckTaskClaim", coordinator.AckTaskClaimRequest, coordinator.AckTaskClaimResponse
)
RUN_HEARTBEAT = message_method(
    COORDINATOR_SERVICE, "RunHeartbeat", coordinator.RunHeartbeatRequest, coordinator.RunHeartbeatResponse
)
REPORT_STATUS = message_method(
    COORDINATOR_SERVICE, "ReportStatus", coordinator.ReportStatusRequest, coordinator.ReportStatusResponse
)
STREAM_LOGS = message_method(
    COORDINATOR_SERVICE, "StreamLogs", coordinator.LogChunk, coordinator.StreamLogsResponse, Cardinality.STREAM_UNARY
)
STREAM_ARTIFACTS = message_method(
    COORDINATOR_SERVICE,
    "StreamArtifacts",
    coordinator.ArtifactChunk,
    coordinator.StreamArtifactsResponse,
    Cardinality.STREAM_UNARY,
)
GET_DAG_RUN_STATUS = message_method(
    COORDINATOR_SERVICE, "GetDAGRunStatus", coordinator.GetDAGRunStatusRequest, coordinator.GetDAGRunStatusResponse
)
REQUEST_CANCEL = message_method(
    COORDINATOR_SERVICE, "RequestCancel", coordinator.RequestCancelRequest, coordinator.RequestCancelResponse
)

EXPLAIN = message_method(EXPLAIN_SERVICE, "Explain", explain.ExplainRequest, explain.ExplainResponse)
PLAN = message_method(EXPLAIN_SERVICE, "Plan", explain.PlanRequest, explain.PlanResponse)
ORDER_WORKERS = message_method(WORKER_SERVICE, "Order", worker.OrderRequest, worker.OrderResponse)

OPEN_ATTEMPT = message_method(RUN_SERVICE, "OpenAttempt", runs.OpenAttemptRequest, runs.OpenAttemptResponse)
READ_RUN = message_method(RUN_SERVICE, "ReadRun", runs.ReadRunRequest, runs.ReadRunResponse)
WATCH_RUN = message_method(RUN_SERVICE, "WatchRun", runs.WatchRunRequest, runs.RunChanged, Cardinality.UNARY_STREAM)
READ_MESSAGES = message_method(RUN_SERVICE, "ReadMessages", runs.ReadMessagesRequest, runs.ReadMessagesResponse)
WRITE_MESSAGES = message_method(RUN_SERVICE, "WriteMessages", runs.WriteMessagesRequest, runs.WriteMessagesResponse)
FIND_DEFINITION = message_method(RUN_SERVICE, "FindDefinition", runs.FindDefinitionRequest, runs.FindDefinitionResponse)

HEALTH_CHECK = message_method(HEALTH_SERVICE, "Check", health.HealthCheckRequest, health.HealthCheckResponse)
HEALTH_WATCH = message_method(
    HEALTH_SERVICE, "Watch", health.HealthCheckRequest, health.HealthCheckResponse, Cardinality.UNARY_STREAM
)
HEALTH_LIST = message_method(HEALTH_SERVICE, "List", health.HealthListRequest, health.HealthListResponse)

REFLECTION_INFO = message_method(
    REFLECTION_SERVICE,
    "ServerReflectionInfo",
    reflection.ServerReflectionRequest,
    reflection.ServerReflectionResponse,
    Cardinality.STREAM_STREAM,
)
REFLECTION_V1ALPHA_INFO = message_method(
    REFLECTION_V1ALPHA_SERVICE,
    "ServerReflectionInfo",
    reflection_v1alpha.ServerReflectionRequest,
    reflection_v1alpha.ServerReflectionResponse,
    Cardinality.STREAM_STREAM,
)
