from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunNames(_message.Message):
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

class Fence(_message.Message):
    __slots__ = ("worker_id", "task", "epoch")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    task: RunNames
    epoch: int
    def __init__(self, worker_id: _Optional[str] = ..., task: _Optional[_Union[RunNames, _Mapping]] = ..., epoch: _Optional[int] = ...) -> None: ...

class OpenAttemptRequest(_message.Message):
    __slots__ = ("fence", "run", "dag_json", "attempt_name", "must_be_new")
    FENCE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    DAG_JSON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    MUST_BE_NEW_FIELD_NUMBER: _ClassVar[int]
    fence: Fence
    run: RunNames
    dag_json: bytes
    attempt_name: str
    must_be_new: bool
    def __init__(self, fence: _Optional[_Union[Fence, _Mapping]] = ..., run: _Optional[_Union[RunNames, _Mapping]] = ..., dag_json: _Optional[bytes] = ..., attempt_name: _Optional[str] = ..., must_be_new: _Optional[bool] = ...) -> None: ...

class OpenAttemptResponse(_message.Message):
    __slots__ = ("attempt_id", "attempt_name", "log", "step_logs", "artifacts")
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    STEP_LOGS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    attempt_id: str
    attempt_name: str
    log: str
    step_logs: str
    artifacts: str
    def __init__(self, attempt_id: _Optional[str] = ..., attempt_name: _Optional[str] = ..., log: _Optional[str] = ..., step_logs: _Optional[str] = ..., artifacts: _Optional[str] = ...) -> None: ...

class ReadRunRequest(_message.Message):
    __slots__ = ("run", "with_dag")
    RUN_FIELD_NUMBER: _ClassVar[int]
    WITH_DAG_FIELD_NUMBER: _ClassVar[int]
    run: RunNames
    with_dag: bool
    def __init__(self, run: _Optional[_Union[RunNames, _Mapping]] = ..., with_dag: _Optional[bool] = ...) -> None: ...

class ReadRunResponse(_message.Message):
    __slots__ = ("found", "status_json", "dag_json")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    STATUS_JSON_FIELD_NUMBER: _ClassVar[int]
    DAG_JSON_FIELD_NUMBER: _ClassVar[int]
    found: bool
    status_json: str
    dag_json: bytes
    def __init__(self, found: _Optional[bool] = ..., status_json: _Optional[str] = ..., dag_json: _Optional[bytes] = ...) -> None: ...

class WatchRunRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: RunNames
    def __init__(self, run: _Optional[_Union[RunNames, _Mapping]] = ...) -> None: ...

class RunChanged(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadMessagesRequest(_message.Message):
    __slots__ = ("run", "step_name")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_NAME_FIELD_NUMBER: _ClassVar[int]
    run: RunNames
    step_name: str
    def __init__(self, run: _Optional[_Union[RunNames, _Mapping]] = ..., step_name: _Optional[str] = ...) -> None: ...

class ReadMessagesResponse(_message.Message):
    __slots__ = ("messages_json",)
    MESSAGES_JSON_FIELD_NUMBER: _ClassVar[int]
    messages_json: bytes
    def __init__(self, messages_json: _Optional[bytes] = ...) -> None: ...

class WriteMessagesRequest(_message.Message):
    __slots__ = ("fence", "run", "step_name", "messages_json")
    FENCE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_NAME_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_JSON_FIELD_NUMBER: _ClassVar[int]
    fence: Fence
    run: RunNames
    step_name: str
    messages_json: bytes
    def __init__(self, fence: _Optional[_Union[Fence, _Mapping]] = ..., run: _Optional[_Union[RunNames, _Mapping]] = ..., step_name: _Optional[str] = ..., messages_json: _Optional[bytes] = ...) -> None: ...

class WriteMessagesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FindDefinitionRequest(_message.Message):
    __slots__ = ("fence", "dag_name", "directory")
    FENCE_FIELD_NUMBER: _ClassVar[int]
    DAG_NAME_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    fence: Fence
    dag_name: str
    directory: str
    def __init__(self, fence: _Optional[_Union[Fence, _Mapping]] = ..., dag_name: _Optional[str] = ..., directory: _Optional[str] = ...) -> None: ...

class FindDefinitionResponse(_message.Message):
    __slots__ = ("definition", "path", "base_config")
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BASE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    definition: str
    path: str
    base_config: str
    def __init__(self, definition: _Optional[str] = ..., path: _Optional[str] = ..., base_config: _Optional[str] = ...) -> None: ...
