"""The file that tells a finished run's outputs by name (``outputs.json``). Pure."""

from __future__ import annotations

import msgspec

from txdagu.model.run import RunStatus
from txdagu.store.statusjson import format_time
from txdagu.store.stepjson import encode_json


def camel_case(variable: str) -> str:
    """``TOTAL_COUNT`` becomes ``totalCount``; empty words fall out."""
    words = [word for word in variable.lower().split("_") if word]
    return "".join(words[:1] + [word.capitalize() for word in words[1:]])


def published_outputs(status: RunStatus) -> dict[str, str]:
    """Outputs under the keys they are published with, sorted; a later step wins, those marked so are left out."""
    found: dict[str, str] = {}
    for node in status.nodes:
        output = node.step.output
        if output and not output.omit and output.name in node.outputs:
            found[output.key or camel_case(output.name)] = node.outputs[output.name]
    return dict(sorted(found.items()))


def encode_outputs(status: RunStatus) -> bytes | None:
    """The file's content, None if the run has no outputs and hence no such file."""
    outputs = published_outputs(status)
    if not outputs:
        return None
    metadata = {
        "dagName": status.run.name,
        "dagRunId": status.run.id,
        "attemptId": status.attempt_id,
        "status": status.state.label,
        "completedAt": format_time(status.finished_at),
    }
    if status.params:
        metadata["params"] = encode_json(status.params).decode()
    return msgspec.json.format(encode_json({"metadata": metadata, "outputs": outputs}), indent=2)
