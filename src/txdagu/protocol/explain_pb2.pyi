from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("root_name", "root_id", "run_id", "most_below")
    ROOT_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MOST_BELOW_FIELD_NUMBER: _ClassVar[int]
    root_name: str
    root_id: str
    run_id: str
    most_below: int
    def __init__(self, root_name: _Optional[str] = ..., root_id: _Optional[str] = ..., run_id: _Optional[str] = ..., most_below: _Optional[int] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("task", "history", "below", "below_count", "told_at_ms")
    TASK_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    BELOW_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOLD_AT_MS_FIELD_NUMBER: _ClassVar[int]
    task: TaskExplanation
    history: _containers.RepeatedCompositeFieldContainer[TaskTransition]
    below: _containers.RepeatedCompositeFieldContainer[TaskExplanation]
    below_count: int
    told_at_ms: int
    def __init__(self, task: _Optional[_Union[TaskExplanation, _Mapping]] = ..., history: _Optional[_Iterable[_Union[TaskTransition, _Mapping]]] = ..., below: _Optional[_Iterable[_Union[TaskExplanation, _Mapping]]] = ..., below_count: _Optional[int] = ..., told_at_ms: _Optional[int] = ...) -> None: ...

class TaskExplanation(_message.Message):
    __slots__ = ("root_name", "root_id", "name", "run_id", "parent_name", "parent_id", "selector", "needs", "on_worker_lost", "lost_limit", "state", "age_ms", "worker_id", "epoch", "attempt_name", "confirms", "heard_age_ms", "lease_left_ms", "silent", "adopted", "lost_workers", "cancel_reason", "ahead", "verdicts", "outcome")
    class SelectorEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROOT_NAME_FIELD_NUMBER: _ClassVar[int]
    ROOT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    ON_WORKER_LOST_FIELD_NUMBER: _ClassVar[int]
    LOST_LIMIT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIRMS_FIELD_NUMBER: _ClassVar[int]
    HEARD_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    LEASE_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    LOST_WORKERS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REASON_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    root_name: str
    root_id: str
    name: str
    run_id: str
    parent_name: str
    parent_id: str
    selector: _containers.ScalarMap[str, str]
    needs: str
    on_worker_lost: str
    lost_limit: int
    state: str
    age_ms: int
    worker_id: str
    epoch: int
    attempt_name: str
    confirms: bool
    heard_age_ms: int
    lease_left_ms: int
    silent: bool
    adopted: bool
    lost_workers: _containers.RepeatedScalarFieldContainer[str]
    cancel_reason: str
    ahead: int
    verdicts: _containers.RepeatedCompositeFieldContainer[WorkerVerdict]
    outcome: TaskOutcome
    def __init__(self, root_name: _Optional[str] = ..., root_id: _Optional[str] = ..., name: _Optional[str] = ..., run_id: _Optional[str] = ..., parent_name: _Optional[str] = ..., parent_id: _Optional[str] = ..., selector: _Optional[_Mapping[str, str]] = ..., needs: _Optional[str] = ..., on_worker_lost: _Optional[str] = ..., lost_limit: _Optional[int] = ..., state: _Optional[str] = ..., age_ms: _Optional[int] = ..., worker_id: _Optional[str] = ..., epoch: _Optional[int] = ..., attempt_name: _Optional[str] = ..., confirms: _Optional[bool] = ..., heard_age_ms: _Optional[int] = ..., lease_left_ms: _Optional[int] = ..., silent: _Optional[bool] = ..., adopted: _Optional[bool] = ..., lost_workers: _Optional[_Iterable[str]] = ..., cancel_reason: _Optional[str] = ..., ahead: _Optional[int] = ..., verdicts: _Optional[_Iterable[_Union[WorkerVerdict, _Mapping]]] = ..., outcome: _Optional[_Union[TaskOutcome, _Mapping]] = ...) -> None: ...

class WorkerVerdict(_message.Message):
    __slots__ = ("worker_id", "fit", "reason", "misses")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    fit: str
    reason: str
    misses: int
    def __init__(self, worker_id: _Optional[str] = ..., fit: _Optional[str] = ..., reason: _Optional[str] = ..., misses: _Optional[int] = ...) -> None: ...

class TaskOutcome(_message.Message):
    __slots__ = ("state", "reason")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    state: int
    reason: str
    def __init__(self, state: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class TaskTransition(_message.Message):
    __slots__ = ("at_ms", "state", "worker_id", "epoch", "reason")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    state: str
    worker_id: str
    epoch: int
    reason: str
    def __init__(self, at_ms: _Optional[int] = ..., state: _Optional[str] = ..., worker_id: _Optional[str] = ..., epoch: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("wishes", "without", "added")
    WISHES_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    wishes: _containers.RepeatedCompositeFieldContainer[TaskWish]
    without: _containers.RepeatedScalarFieldContainer[str]
    added: _containers.RepeatedCompositeFieldContainer[PlannedWorker]
    def __init__(self, wishes: _Optional[_Iterable[_Union[TaskWish, _Mapping]]] = ..., without: _Optional[_Iterable[str]] = ..., added: _Optional[_Iterable[_Union[PlannedWorker, _Mapping]]] = ...) -> None: ...

class TaskWish(_message.Message):
    __slots__ = ("selector", "needs")
    class SelectorEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    selector: _containers.ScalarMap[str, str]
    needs: str
    def __init__(self, selector: _Optional[_Mapping[str, str]] = ..., needs: _Optional[str] = ...) -> None: ...

class PlannedWorker(_message.Message):
    __slots__ = ("id", "labels", "slots")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    labels: _containers.ScalarMap[str, str]
    slots: int
    def __init__(self, id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., slots: _Optional[int] = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("places",)
    PLACES_FIELD_NUMBER: _ClassVar[int]
    places: _containers.RepeatedCompositeFieldContainer[TaskPlace]
    def __init__(self, places: _Optional[_Iterable[_Union[TaskPlace, _Mapping]]] = ...) -> None: ...

class TaskPlace(_message.Message):
    __slots__ = ("worker_id", "verdicts")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    verdicts: _containers.RepeatedCompositeFieldContainer[WorkerVerdict]
    def __init__(self, worker_id: _Optional[str] = ..., verdicts: _Optional[_Iterable[_Union[WorkerVerdict, _Mapping]]] = ...) -> None: ...
