from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkerAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKER_ACTION_UNSPECIFIED: _ClassVar[WorkerAction]
    WORKER_ACTION_CORDON: _ClassVar[WorkerAction]
    WORKER_ACTION_DRAIN: _ClassVar[WorkerAction]
    WORKER_ACTION_RESUME: _ClassVar[WorkerAction]
WORKER_ACTION_UNSPECIFIED: WorkerAction
WORKER_ACTION_CORDON: WorkerAction
WORKER_ACTION_DRAIN: WorkerAction
WORKER_ACTION_RESUME: WorkerAction

class OrderRequest(_message.Message):
    __slots__ = ("action", "worker_ids", "selector", "reason", "by", "patience_ms")
    class SelectorEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACTION_FIELD_NUMBER: _ClassVar[int]
    WORKER_IDS_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_MS_FIELD_NUMBER: _ClassVar[int]
    action: WorkerAction
    worker_ids: _containers.RepeatedScalarFieldContainer[str]
    selector: _containers.ScalarMap[str, str]
    reason: str
    by: str
    patience_ms: int
    def __init__(self, action: _Optional[_Union[WorkerAction, str]] = ..., worker_ids: _Optional[_Iterable[str]] = ..., selector: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ..., by: _Optional[str] = ..., patience_ms: _Optional[int] = ...) -> None: ...

class OrderResponse(_message.Message):
    __slots__ = ("worker_ids", "unknown_ids")
    WORKER_IDS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_IDS_FIELD_NUMBER: _ClassVar[int]
    worker_ids: _containers.RepeatedScalarFieldContainer[str]
    unknown_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, worker_ids: _Optional[_Iterable[str]] = ..., unknown_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Standing(_message.Message):
    __slots__ = ("mode", "since_ms", "until_ms", "reason", "by")
    MODE_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    mode: str
    since_ms: int
    until_ms: int
    reason: str
    by: str
    def __init__(self, mode: _Optional[str] = ..., since_ms: _Optional[int] = ..., until_ms: _Optional[int] = ..., reason: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...
