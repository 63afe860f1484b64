"""Server reflection, asked through a channel in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.health import HealthService
from txdagu.grpc.reflection import ReflectionService
from txdagu.grpc.server import GrpcServerFactory, GrpcService, Handler
from txdagu.protocol import reflection_pb2 as v1
from txdagu.protocol import reflection_v1alpha_pb2 as v1alpha
from txdagu.protocol.services import HEALTH_SERVICE, REFLECTION_INFO, REFLECTION_V1ALPHA_INFO
from txdagu.testing.channel import memory_channel
from txdagu.testing.echo import ECHO
from txdagu.wire.method import Cardinality, RpcMethod
from txdagu.wire.status import StatusCode

HEALTH_FILE = "txdagu/protocol/health.proto"


def declare() -> None:
    """A service whose file imports another one, with an extension, as only proto2 has; and a file of nobody."""
    base = FileDescriptorProto(name="test/base.proto", package="test.shown", syntax="proto2")
    extended = base.message_type.add(name="Base")
    extended.extension_range.add(start=100, end=200)
    top = FileDescriptorProto(
        name="test/top.proto", package="test.shown", syntax="proto2", dependency=["test/base.proto"]
    )
    for name, number in (("later", 120), ("sooner", 110)):
        top.extension.add(
            name=name,
            number=number,
            extendee=".test.shown.Base",
            label=FieldDescriptorProto.LABEL_OPTIONAL,
            type=FieldDescriptorProto.TYPE_STRING,
        )
    method = top.service.add(name="Extended").method.add(name="Get")
    method.input_type = method.output_type = ".test.shown.Base"
    hidden = FileDescriptorProto(
        name="test/hidden.proto", package="test.hidden", syntax="proto2", dependency=["test/base.proto"]
    )
    hidden.message_type.add(name="Secret")
    hidden.extension.add(
        name="secret",
        number=130,
        extendee=".test.shown.Base",
        label=FieldDescriptorProto.LABEL_OPTIONAL,
        type=FieldDescriptorProto.TYPE_STRING,
    )
    for file in (base, top, hidden):
        Default().AddSerializedFile(file.SerializeToString())


class Extended:
    """The service declared above."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        method = RpcMethod("test.shown.Extended", "Get", Cardinality.UNARY_UNARY, bytes, bytes, bytes, bytes)
        return {method: self.get}

    async def get(self, request: bytes, _context: object) -> bytes:
        """Not called."""
        return request


class Undeclared(Extended):
    """A service that no .proto file declares."""

    def handlers(self) -> Mapping[RpcMethod[Any, Any], Handler]:
        """See `GrpcService`."""
        return {ECHO: self.get}


class Reflection(SynchronousTestCase):
    """A server that shows two services, and itself."""

    @classmethod
    def setUpClass(cls) -> None:
        """Once: the pool belongs to the process."""
        declare()

    def setUp(self) -> None:
        """Both ends."""
        clock = self.clock = Clock()
        services: list[GrpcService] = [HealthService(), Extended()]
        self.channel = memory_channel(GrpcServerFactory([*services, ReflectionService(services)], clock), clock)

    def ask(self, *requests: v1.ServerReflectionRequest) -> list[v1.ServerReflectionResponse]:
        """The answers to requests in one stream."""

        async def all_requests() -> AsyncIterator[v1.ServerReflectionRequest]:
            for request in requests:
                yield request

        async def all_answers() -> list[v1.ServerReflectionResponse]:
            return [answer async for answer in self.channel.stream_stream(REFLECTION_INFO, all_requests())]

        call = Deferred.fromCoroutine(all_answers())
        self.clock.advance(0)
        return self.successResultOf(call)

    def files(self, answer: v1.ServerReflectionResponse) -> list[str]:
        """The names of the files in an answer."""
        found = answer.file_descriptor_response.file_descriptor_proto
        return [FileDescriptorProto.FromString(data).name for data in found]

    def problem(self, **asked: Any) -> tuple[int, str]:
        """The error that answers a request."""
        (answer,) = self.ask(v1.ServerReflectionRequest(**asked))
        self.assertEqual(answer.WhichOneof("message_response"), "error_response")
        return answer.error_response.error_code, answer.error_response.error_message

    def test_services(self) -> None:
        """All served services are listed, and the request comes back with the answer."""
        request = v1.ServerReflectionRequest(host="here", list_services="*")
        (answer,) = self.ask(request)
        self.assertEqual(
            [service.name for service in answer.list_services_response.service],
            [
                HEALTH_SERVICE,
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
                "test.shown.Extended",
            ],
        )
        self.assertEqual((answer.valid_host, answer.original_request), ("here", request))

    def test_symbols(self) -> None:
        """Services, methods, messages, nested enums, values and fields lead to the file that declares them."""
        for symbol in (
            HEALTH_SERVICE,
            f"{HEALTH_SERVICE}.Check",
            "grpc.health.v1.HealthCheckResponse",
            "grpc.health.v1.HealthCheckResponse.ServingStatus",
            "grpc.health.v1.HealthCheckResponse.SERVING",
            "grpc.health.v1.HealthCheckRequest.service",
            "grpc.health.v1.HealthListResponse.StatusesEntry",
        ):
            (answer,) = self.ask(v1.ServerReflectionRequest(file_containing_symbol=symbol))
            self.assertEqual(self.files(answer), [HEALTH_FILE], symbol)
        (answer,) = self.ask(v1.ServerReflectionRequest(file_by_filename=HEALTH_FILE))
        self.assertEqual(self.files(answer), [HEALTH_FILE])

    def test_dependencies(self) -> None:
        """What a file imports comes with it, once in a stream; a file that is asked for by name always comes."""
        top = v1.ServerReflectionRequest(file_by_filename="test/top.proto")
        base = v1.ServerReflectionRequest(file_by_filename="test/base.proto")
        answers = self.ask(top, top, base)
        self.assertEqual(
            [self.files(answer) for answer in answers],
            [["test/top.proto", "test/base.proto"], ["test/top.proto"], ["test/base.proto"]],
        )

    def test_extensions(self) -> None:
        """Extensions of a message are found by number and listed; those of hidden files are not."""
        asked = v1.ExtensionRequest(containing_type="test.shown.Base", extension_number=110)
        by_number, numbers = self.ask(
            v1.ServerReflectionRequest(file_containing_extension=asked),
            v1.ServerReflectionRequest(all_extension_numbers_of_type="test.shown.Base"),
        )
        self.assertEqual(self.files(by_number), ["test/top.proto", "test/base.proto"])
        found = numbers.all_extension_numbers_response
        self.assertEqual((found.base_type_name, list(found.extension_number)), ("test.shown.Base", [110, 120]))

    def test_not_there(self) -> None:
        """What does not exist, or belongs to no served service, is NOT_FOUND and named."""
        for asked, name in (
            ({"file_by_filename": "no.proto"}, "no.proto"),
            ({"file_by_filename": "test/hidden.proto"}, "test/hidden.proto"),
            ({"file_containing_symbol": "test.hidden.Secret"}, "test.hidden.Secret"),
            ({"file_containing_symbol": "coordinator.v1.CoordinatorService"}, "coordinator.v1.CoordinatorService"),
            ({"file_containing_symbol": ""}, "''"),
            ({"all_extension_numbers_of_type": "test.hidden.Secret"}, "test.hidden.Secret"),
            ({"all_extension_numbers_of_type": "no.Such"}, "no.Such"),
            ({"file_containing_extension": v1.ExtensionRequest(containing_type="no.Such")}, "no.Such"),
            (
                {
                    "file_containing_extension": v1.ExtensionRequest(
                        containing_type="test.shown.Base", extension_number=130
                    )
                },
                "130 of 'test.shown.Base'",
            ),
        ):
            code, message = self.problem(**asked)
            self.assertEqual(code, StatusCode.NOT_FOUND)
            self.assertIn(name, message)

    def test_empty_request(self) -> None:
        """A request for nothing that is known is INVALID_ARGUMENT, and the stream goes on."""
        nothing, services = self.ask(v1.ServerReflectionRequest(), v1.ServerReflectionRequest(list_services=""))
        self.assertEqual(nothing.error_response.error_code, StatusCode.INVALID_ARGUMENT)
        self.assertEqual(len(services.list_services_response.service), 4)

    def test_v1alpha(self) -> None:
        """The older service answers the same, with its own messages."""

        async def requests() -> AsyncIterator[v1alpha.ServerReflectionRequest]:
            yield v1alpha.ServerReflectionRequest(list_services="")

        stream = self.channel.stream_stream(REFLECTION_V1ALPHA_INFO, requests())
        call = Deferred.fromCoroutine(stream.__anext__())
        self.clock.advance(0)
        answer = self.successResultOf(call)
        self.assertIsInstance(answer, v1alpha.ServerReflectionResponse)
        self.assertEqual(len(answer.list_services_response.service), 4)
        stream.cancel()
        self.clock.advance(0)

    def test_same_messages(self) -> None:
        """Both versions declare the same messages: answers are translated by their bytes."""

        def declared(module: Any) -> str:
            file = FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(file)
            return str(file).replace("v1alpha", "v1").replace("reflection_v1.proto", "reflection.proto")

        self.assertEqual(declared(v1alpha), declared(v1))

    def test_undeclared(self) -> None:
        """A service without a descriptor is a mistake that is named at once."""
        self.assertRaisesRegex(ValueError, "test.Echo", ReflectionService, [Undeclared()])
