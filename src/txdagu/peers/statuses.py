"""The state of a run inside a message."""

from __future__ import annotations

from txdagu.model.run import RunStatus
from txdagu.protocol import coordinator_pb2 as pb
from txdagu.store.statusjson import encode_status
from txdagu.store.statusreading import decode_status


def status_to_message(status: RunStatus) -> pb.DAGRunStatusProto:
    """The state as a line of a status file, as Dagu 2.x sends it."""
    return pb.DAGRunStatusProto(json_data=encode_status(status).decode())


def status_from_message(message: pb.DAGRunStatusProto) -> RunStatus:
    """The state in a message; `ValueError` if it cannot be read."""
    return decode_status(message.json_data.encode())
