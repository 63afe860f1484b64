"""
Server reflection: tells tools such as grpcurl which services there are and how their messages look.

``grpc.reflection.v1`` and, for older tools, ``v1alpha``; both have the same messages. What is shown is what the served
services need: the files that declare them, and the files those import. Everything else that the process knows stays hidden.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pool import Default

from txdagu.grpc.context import CallContext, Handler
from txdagu.protocol import reflection_pb2 as v1
from txdagu.protocol.services import REFLECTION_INFO, REFLECTION_V1ALPHA_INFO
from txdagu.wire.method import RpcMethod
from txdagu.wire.status import StatusCode

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

    from txdagu.grpc.server import GrpcService

_OWN = (REFLECTION_INFO.service, REFLECTION_V1ALPHA_INFO.service)


class ReflectionService:
    """
    Shows `services`, and itself.

    Their descriptors are found in protobuf's default pool, where generated messages register themselves. Raises ValueError,
    naming the service, if one of them is not declared there.
    """

    def __init__(self, services: Iterable[GrpcService]) -> None:
        pool = Default()
        self._names = sorted({method.service for service in services for method in service.handlers()} | set(_OWN))
        self._files: dict[str, FileDescriptor] = {}
        self._symbols: dict[str, FileDescriptor] = {}
        self._messages: set[str] = set()
        self._extensions: dict[str, dict[int, FileDescriptor]] = {}  # by the extended message type
        for name in self._names:
            try:
                self._show(pool.FindServiceByName(name).file)
            except KeyError:
                raise ValueError(f"reflection cannot show {name}: no such service in the descriptor pool") from None
        self._answers: dict[str, Callable[[Any, set[str]], Any]] = {
            "file_by_filename": self._by_name,
            "file_containing_symbol": self._by_symbol,
            "file_containing_extension": self._by_extension,
            "all_extension_numbers_of_type": self._extension_numbers,
            "list_services": self._listing,
        }

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {method: partial(self.info, method) for method in (REFLECTION_INFO, REFLECTION_V1ALPHA_INFO)}

    async def info(
        self, method: RpcMethod[Any, Any], requests: AsyncIterator[Any], _context: CallContext
    ) -> AsyncIterator[Any]:
        """
        One response to each request; what is not there is an `ErrorResponse`, and the stream goes on.

        A file that was sent in this stream is not sent again as something another file needs.
        """
        sent: set[str] = set()
        async for request in requests:
            kind = request.WhichOneof("message_request")
            if kind is None:
                answer = _error(StatusCode.INVALID_ARGUMENT, "the request asks for nothing that is known here")
            else:
                answer = self._answers[kind](getattr(request, kind), sent)
            answer.valid_host = request.host
            # The messages of v1 and v1alpha are the same, byte by byte.
            answer.original_request.MergeFromString(request.SerializeToString())
            yield answer if method is REFLECTION_INFO else method.decode_response(answer.SerializeToString())

    def _show(self, file: FileDescriptor) -> None:
        if file.name not in self._files:
            self._files[file.name] = file
            self._symbols.update(dict.fromkeys(_symbols(file), file))
            self._messages.update(message.full_name for message in _messages(file))
            for extension in _extensions(file):
                assert extension.containing_type is not None  # it extends something
                self._extensions.setdefault(extension.containing_type.full_name, {})[extension.number] = file
            for dependency in file.dependencies:
                self._show(dependency)

    def _by_name(self, name: str, sent: set[str]) -> v1.ServerReflectionResponse:
        return self._described(self._files.get(name), f"file {name!r}", sent)

    def _by_symbol(self, symbol: str, sent: set[str]) -> v1.ServerReflectionResponse:
        return self._described(self._symbols.get(symbol), f"symbol {symbol!r}", sent)

    def _by_extension(self, asked: v1.ExtensionRequest, sent: set[str]) -> v1.ServerReflectionResponse:
        file = self._extensions.get(asked.containing_type, {}).get(asked.extension_number)
        return self._described(file, f"extension {asked.extension_number} of {asked.containing_type!r}", sent)

    def _extension_numbers(self, name: str, _sent: set[str]) -> v1.ServerReflectionResponse:
        if name not in self._messages:
            return _not_shown(f"message type {name!r}")
        numbers = sorted(self._extensions.get(name, ()))
        return v1.ServerReflectionResponse(
            all_extension_numbers_response=v1.ExtensionNumberResponse(base_type_name=name, extension_number=numbers)
        )

    def _listing(self, _content: str, _sent: set[str]) -> v1.ServerReflectionResponse:
        services = [v1.ServiceResponse(name=name) for name in self._names]
        return v1.ServerReflectionResponse(list_services_response=v1.ListServiceResponse(service=services))

    def _described(self, file: FileDescriptor | None, what: str, sent: set[str]) -> v1.ServerReflectionResponse:
        """The file and all it needs, directly or not."""
        if file is None:
            return _not_shown(what)
        needed = {file.name: file}
        waiting = [file]
        while waiting:
            for dependency in waiting.pop().dependencies:
                if dependency.name not in needed:
                    needed[dependency.name] = dependency
                    waiting.append(dependency)
        chosen = [one for name, one in needed.items() if one is file or name not in sent]
        sent.update(needed)
        return v1.ServerReflectionResponse(
            file_descriptor_response=v1.FileDescriptorResponse(
                file_descriptor_proto=[one.serialized_pb for one in chosen]
            )
        )


def _messages(file: FileDescriptor) -> Iterator[Descriptor]:
    waiting = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        yield message
        waiting.extend(message.nested_types)


def _symbols(file: FileDescriptor) -> Iterator[str]:
    """The full names of all that a file declares."""
    enums = list(file.enum_types_by_name.values())
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (method.full_name for method in service.methods)
    for message in _messages(file):
        yield message.full_name
        for members in (message.fields, message.oneofs):
            yield from (f"{message.full_name}.{member.name}" for member in members)
        enums.extend(message.enum_types)
    for enum in enums:
        yield enum.full_name
        # The values of an enum are its siblings, as in C++.
        scope = enum.full_name.rpartition(".")[0]
        yield from (f"{scope}.{value.name}".lstrip(".") for value in enum.values)
    yield from (extension.full_name for extension in _extensions(file))


def _extensions(file: FileDescriptor) -> Iterator[FieldDescriptor]:
    yield from file.extensions_by_name.values()
    for message in _messages(file):
        yield from message.extensions


def _not_shown(what: str) -> v1.ServerReflectionResponse:
    return _error(StatusCode.NOT_FOUND, f"no {what} is shown by this server")


def _error(code: StatusCode, message: str) -> v1.ServerReflectionResponse:
    return v1.ServerReflectionResponse(error_response=v1.ErrorResponse(error_code=int(code), error_message=message))
