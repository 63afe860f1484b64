"""Tools that know nothing of our messages list the services of a running coordinator, and call them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import TestCase

import grpc

from txdagu.protocol.services import GET_WORKERS, REFLECTION_INFO
from txdagu.testing.programs import DAGU, Program

# In a process of its own: these packages bring descriptors that would clash with ours.
TOOL = """
import json, sys
import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_requests import Client

address = sys.argv[1]
coordinator = "coordinator.v1.CoordinatorService"
client = Client(address)
seen = {"services": sorted(client.service_names)}
seen["heartbeat"] = client.request(coordinator, "Heartbeat", {"worker_id": "w1", "stats": {"total_pollers": 3}})
seen["workers"] = client.request(coordinator, "GetWorkers", {})["workers"]
seen["health"] = client.request("grpc.health.v1.Health", "Check", {"service": coordinator})
seen["watch"] = next(client.unary_stream("grpc.health.v1.Health", "Watch", {"service": "nobody"}))
database = ProtoReflectionDescriptorDatabase(grpc.insecure_channel(address))
seen["file"] = database.FindFileContainingSymbol(coordinator + ".Poll").name
try:
    database.FindFileByName("txdagu/protocol/nothing.proto")
except KeyError:
    seen["missing"] = "KeyError"
# What gRPC's own package declares, to compare with our declaration.
file = reflection_pb2.DESCRIPTOR
seen["declared"] = sorted(
    (message.full_name, field.name, field.number, field.type)
    for message in file.message_types_by_name.values()
    for field in message.fields
)
print(json.dumps(seen))
"""


class Tools(TestCase):
    """grpc_requests and the client of grpcio-reflection, against a real coordinator."""

    def test_list_and_call(self) -> None:
        """Services are listed and called by nothing but their names."""
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        environment = {"DAGU_HOME": home.name, "DAGU_COORDINATOR_PORT": "0"}
        with Program([*DAGU, "coordinator"], environment, cwd=home.name) as coordinator:
            port = coordinator.wait_for(r"listens on 127\.0\.0\.1:(\d+)")[1]
            done = subprocess.run(
                [sys.executable, "-c", TOOL, f"127.0.0.1:{port}"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                cwd=home.name,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            coordinator.stop()
        seen: dict[str, Any] = json.loads(done.stdout)
        self.assertEqual(
            seen["services"],
            [
                "coordinator.v1.CoordinatorService",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
                "txdagu.v1.ExplainService",
                "txdagu.v1.WorkerService",
            ],
        )
        self.assertEqual([worker["worker_id"] for worker in seen["workers"]], ["w1"])
        self.assertEqual(seen["health"], {"status": "SERVING"})
        self.assertEqual(seen["watch"], {"status": "SERVICE_UNKNOWN"})
        self.assertEqual((seen["file"], seen["missing"]), ("txdagu/protocol/coordinator.proto", "KeyError"))
        from txdagu.protocol import reflection_v1alpha_pb2 as ours

        declared = sorted(
            [message.full_name, field.name, field.number, field.type]
            for message in ours.DESCRIPTOR.message_types_by_name.values()
            for field in message.fields
        )
        self.assertEqual(declared, seen["declared"])

    def test_switched_off(self) -> None:
        """Without reflection nothing is told, and everything else works."""
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        (Path(home.name) / "config.yaml").write_text("coordinator:\n  port: 0\n  reflection: false\n")
        with Program([*DAGU, "coordinator"], {"DAGU_HOME": home.name}, cwd=home.name) as coordinator:
            port = coordinator.wait_for(r"listens on 127\.0\.0\.1:(\d+)")[1]
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                info = channel.stream_stream(REFLECTION_INFO.path)(iter([b""]))
                self.assertIs(info.code(), grpc.StatusCode.UNIMPLEMENTED)
                workers = channel.unary_unary(GET_WORKERS.path)(b"", timeout=30)
            self.assertEqual(workers, b"")
            coordinator.stop()
