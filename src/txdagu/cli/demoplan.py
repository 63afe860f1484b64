"""What `dagu demo` shows and checks: its cluster, its pipeline, and where each run of it belongs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from txdagu.cli.cluster import Member
from txdagu.cli.following import Family
from txdagu.cli.progress import place_of
from txdagu.cli.report import read_tail
from txdagu.model.dag import Dag
from txdagu.model.labels import Labels, format_labels
from txdagu.model.run import RunStatus
from txdagu.model.status import NodeState, RunState

PIPELINE = "distributed-pipeline"
WORKERS: Mapping[str, Labels] = {
    "gpu-1": {"gpu": "true", "memory": "64G"},
    "eu-1": {"region": "eu-west-1"},
}


def members() -> list[Member]:
    """The main instance on free ports, and the two workers."""
    main = Member("main", ("start-all", "--host=127.0.0.1", "--port=0", "--coordinator.port=0"))
    workers = [
        Member(f"worker-{name}", ("worker", f"--worker.id={name}", f"--worker.labels={format_labels(labels)}"))
        for name, labels in WORKERS.items()
    ]
    return [main, *workers]


class Home:
    """A home directory for one demonstration, with the example pipeline in it; removed at the end."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="dagu-demo-")
        dags = Path(self.path) / "dags"
        dags.mkdir()
        source = resources.files("txdagu.cli") / "examples" / f"{PIPELINE}.yaml"
        self.pipeline = str(dags / f"{PIPELINE}.yaml")
        Path(self.pipeline).write_text(source.read_text())

    def read(self) -> str:
        """The text of the pipeline's file."""
        return Path(self.pipeline).read_text()

    def remove(self) -> None:
        """Take it all away."""
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one run of the family was executed, and what its file asked for; `wrong` says what does not fit."""

    name: str
    place: str
    asked: str
    wrong: str


def _placement(
    name: str, status: RunStatus | None, wanted: Labels, asked: str, workers: Mapping[str, Labels]
) -> Placement:
    if status is None:
        return Placement(name, "nowhere", asked, "it never started")
    place = place_of(status)
    has = workers.get(status.worker_id, {})
    missing = {key: value for key, value in wanted.items() if has.get(key) != value}
    if wanted and place == "here":
        return Placement(name, place, asked, "it ran here, not on a worker")
    return Placement(name, place, asked, f"that worker lacks {format_labels(missing)}" if missing else "")


def placements(dag: Dag, family: Family, workers: Mapping[str, Labels]) -> Iterator[Placement]:
    """
    Compare where each run of the family was executed with what the file asks for.

    `workers` are the labels of every worker by its id.
    """
    top = _placement(dag.name, family.top, {}, "workerSelector local", {})
    yield top if top.place == "here" else Placement(top.name, top.place, top.asked, "it should have stayed here")
    for node in family.top.nodes:
        if node.step.child is None:
            continue
        child = dag.local_dags[node.step.child.name]
        wanted = child.worker_selector.overridden_by(node.step.worker_selector).labels
        runs: list[RunStatus | None] = [*family.children_of(node)] or [None]
        for status in runs:
            yield _placement(child.name, status, wanted, format_labels(wanted), workers)


def outputs(family: Family) -> Iterator[tuple[str, list[str]]]:
    """What each step of the family printed, children below the step that called them, with the step's full name."""
    for node in family.top.nodes:
        children = family.children_of(node)
        for child in children:
            for inner in child.nodes:
                yield f"{node.step.name} > {inner.step.name}", read_tail(inner.stdout)
        if not children:
            yield node.step.name, read_tail(node.stdout)


def all_well(family: Family, found: list[Placement]) -> bool:
    """Whether everything succeeded, where it should."""
    runs = [family.top, *family.below.values()]
    return (
        all(run.state is RunState.SUCCEEDED for run in runs)
        and all(node.state is NodeState.SUCCEEDED for run in runs for node in run.nodes)
        and not any(placement.wrong for placement in found)
    )
