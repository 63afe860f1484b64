"""
What a run left behind, as plain values that do not depend on when and where it ran.

The files are read as JSON here, not by the store: two programs have to write the same. What is normalised, and why:

* the program's home becomes ``<HOME>``, a directory of the test;
* how long an archive took becomes ``<TOOK>``;
* time stamps and attempt ids in names of files and directories become ``<T>`` and ``<A>``, and names of script files lose their
  random part: they differ from run to run;
* errors lose line breaks at their end, which follow from where the tail of a log was cut, and the words ``failed to execute
  step "NAME":`` at their beginning, which repeat what the place of the error says and stand or not by chance;
* variables named ``DAGU_CONTINUE_ON.`` and the step are left out: Dagu's own notes, which leak into the outputs;
* fields that tell times, process ids and attempt ids are left out;
* steps and runs are told by name and id, in whatever order they stand: steps given as a map, and parallel children, have none;
  the results that a step with parallel children prints are put in the order of the ids;
* runs that later rounds of a repeated step call have ids that chance has part in: they are named after the first round's run with
  the same params.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from txdagu.model.scalars import json_text

RUN_STATES = (
    "not_started",
    "running",
    "failed",
    "aborted",
    "succeeded",
    "queued",
    "partially_succeeded",
    "waiting",
    "rejected",
)
STEP_STATES = (*RUN_STATES[:5], "skipped", *RUN_STATES[6:])
HANDLERS = ("onInit", "onSuccess", "onFailure", "onCancel", "onExit", "onWait")

_FAILED_STEP = re.compile(r'^failed to execute step ".*?": ')
_STAMPS = (
    (re.compile(r"\d{8}[._]\d{6}[._]\d{3}Z?"), "<T>"),
    (re.compile(r"\d{8}_\d{6}Z"), "<T>"),
    (re.compile(r"(?<=/)(run_<T>_)[0-9a-zA-Z]{4,8}(?=/)"), r"\1<A>"),
    (re.compile(r"(attempt_<T>_)[0-9a-zA-Z]{4,8}(?=/)"), r"\1<A>"),
    (re.compile(r"dagu_script-[^.\s\"':]+"), "dagu_script-<R>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<TIME>"),
    (re.compile(r'(?<="duration": )"[0-9.]+[a-zµ]+"'), '"<TOOK>"'),
)


class Observer:
    """Reads the home of one program after one run of it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._names: dict[str, str] = {}

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The run of that id with all that it called; None if there is no record of one."""
        found = sorted(self._home.glob(f"data/dag-runs/*/dag-runs/*/*/*/dag-run_*_{run_id}"))
        if not found:
            return None
        self._names = {run_id: name for status in _statuses(found[0]) for run_id, name in _later_rounds(status)}
        return {**self._record(found[0]), "children": self._children(found[0])}

    def normal(self, text: str) -> str:
        """A text without what differs from run to run."""
        text = text.replace(str(self._home), "<HOME>")
        for run_id, name in self._names.items():
            text = text.replace(run_id, name).replace(f".{run_id[:8]}.", f".{name}.")
        for pattern, word in _STAMPS:
            text = pattern.sub(word, text)
        return text

    def _children(self, directory: Path) -> dict[str, Any]:
        return {
            self.normal(path.name.removeprefix("child_")): self._record(path)
            for path in sorted(directory.glob("children/child_*"))
        }

    def _record(self, directory: Path) -> dict[str, Any]:
        attempts = _attempts(directory)
        if not attempts:
            return {}
        status = _status(attempts[-1])
        outputs = attempts[-1] / "outputs.json"
        return {
            "name": status.get("name"),
            "status": RUN_STATES[status.get("status", 0)],
            "attempts": len(attempts),
            "params": self.normal(status.get("params", "")),
            "paramsList": [self.normal(text) for text in status.get("paramsList") or ()],
            "preconditions": self._conditions(status.get("preconditions")),
            "steps": {node["step"]["name"]: self._node(node) for node in status.get("nodes") or ()},
            "handlers": {name: self._node(status[name]) for name in HANDLERS if status.get(name)},
            "outputs": self._published(outputs) if outputs.exists() else None,
        }

    def _published(self, path: Path) -> dict[str, str]:
        outputs = json.loads(path.read_text("utf-8")).get("outputs", {})
        return {key: results_in_order(self.normal(value)) for key, value in outputs.items()}

    def _node(self, node: dict[str, Any]) -> dict[str, Any]:
        step = node["step"]
        return {
            "status": STEP_STATES[node.get("status", 0)],
            "error": _FAILED_STEP.sub("", self.normal(node.get("error") or "").rstrip()),
            "depends": sorted(set(step.get("depends") or ())),
            "commands": [self.normal(item.get("cmdWithArgs") or "") for item in step.get("commands") or ()],
            "stdout": self._content(node.get("stdout")),
            "stderr": self._content(node.get("stderr")),
            "logs": [self.normal(node.get(name) or "") for name in ("stdout", "stderr")],
            "outputs": {
                name: results_in_order(self.normal(text.partition("=")[2]))
                for name, text in sorted((node.get("outputVariables") or {}).items())
                if not name.startswith("DAGU_CONTINUE_ON.")
            },
            "doneCount": node.get("doneCount", 0),
            "retryCount": node.get("retryCount", 0),
            "repeated": node.get("repeated", False),
            "children": self._called(node.get("children")),
            "childrenRepeated": self._called(node.get("childrenRepeated")),
            "preconditions": self._conditions(step.get("preconditions")),
        }

    def _called(self, children: list[dict[str, str]] | None) -> list[tuple[str, str]]:
        return sorted(
            (self.normal(child["dagRunId"]), self.normal(child.get("params") or "")) for child in children or ()
        )

    def _conditions(self, conditions: list[dict[str, Any]] | None) -> list[str]:
        return [self.normal(condition.get("error") or "") for condition in conditions or ()]

    def _content(self, path: str | None) -> str:
        """What a step printed; bytes that are no text in hexadecimal."""
        if not path or not Path(path).is_file():
            return ""
        return results_in_order(self.normal(Path(path).read_bytes().decode("utf-8", "backslashreplace")))


def results_in_order(text: str) -> str:
    """A text that consists of results of parallel children, these in the order of their ids; any other as it is."""
    pieces, position, decoder = [], 0, json.JSONDecoder()
    while position < len(text):
        try:
            result, end = decoder.raw_decode(text, position)
        except ValueError:
            return text
        if not isinstance(result, dict) or list(result) != ["summary", "results", "outputs"]:
            return text
        if json_text(result, indent=2) != text[position:end]:
            return text
        result["results"].sort(key=lambda child: child["dagRunId"])
        result["outputs"].sort(key=json_text)
        rest = text[end:]
        following = end + len(rest) - len(rest.lstrip("\n"))
        pieces.append(json_text(result, indent=2) + text[end:following])
        position = following
    return "".join(pieces)


def _attempts(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("attempt_*") if (path / "status.jsonl").exists())


def _status(attempt: Path) -> dict[str, Any]:
    lines = (attempt / "status.jsonl").read_text("utf-8").strip().splitlines()
    status: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return status


def _statuses(directory: Path) -> Iterator[dict[str, Any]]:
    """The last states of a run and of all that it called."""
    for place in (directory, *sorted(directory.glob("children/child_*"))):
        yield from (_status(attempt) for attempt in _attempts(place)[-1:])


def _later_rounds(status: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The runs that steps have called in rounds after the first, and what names them as well."""
    for node in status.get("nodes") or ():
        rounds = defaultdict(list)
        for child in (*(node.get("childrenRepeated") or ()), *(node.get("children") or ())):
            rounds[child.get("params", "")].append(child["dagRunId"])
        for first, *later in rounds.values():
            yield from ((run_id, f"{first}-round{number}") for number, run_id in enumerate(later, 2))
