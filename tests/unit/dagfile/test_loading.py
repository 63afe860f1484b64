"""What a DAG file becomes: the DAG's own fields, its documents, and the samples that must load."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import definition_for, load_dag, unknown_children
from txdagu.model.dag import ChildCall, Command, Dag
from txdagu.model.errors import NotFoundError
from txdagu.model.labels import WorkerSelector

EXAMPLE = Path(__file__).parents[3] / "examples" / "distributed-pipeline.yaml"

# From the page that introduces distributed execution: a pipeline whose step is routed by label.
PAGE_SAMPLE = """\
name: distributed-pipeline
steps:
  # This task requires GPU
  - name: train-model
    run: train-model
    workerSelector:
      gpu: "true"

---
name: train-model
command: python train_model.py
workerSelector:
  gpu: "true"
steps:
  - name: train-model
    command: python train_model.py
"""

# Fields that this version leaves out, with values that ask for nothing but what happens anyway.
OFF = """\
skipIfSuccessful: false
runConfig: {disableParamEdit: false}
otel: {enabled: false, endpoint: x}
dotenv: []
timeoutSec: 0
logOutput: separate
handlerOn: {}
mailOn: {failure: false}
preconditions:
"""

# A sentence, the text, the attribute, and its value.
FIELDS: list[tuple[str, str, str, Any]] = [
    ("the name is trimmed", "name: ' etl '", "name", "etl"),
    ("without one the file gives it", "description: x", "name", "daily.etl"),
    ("a chain unless said otherwise", "name: x", "type", "chain"),
    ("a graph", "type: graph", "type", "graph"),
    ("texts", "group: ' g '\n", "group", "g"),
    ("a description", "description: |\n  two\n  lines\n", "description", "two\nlines"),
    ("tags in one text", "tags: 'A, b,,'", "tags", ("a", "b")),
    ("tags in a list", "tags: [A, 'b, c', 5]", "tags", ("a", "b", "c", "5")),
    ("one schedule", "schedule: '0 2 * * *'", "schedule", ("0 2 * * *",)),
    (
        "several schedules",
        "schedule: ['*/5 * * * MON-FRI', 'TZ=Asia/Tokyo 0 0 1 JAN ?']",
        "schedule",
        ("*/5 * * * MON-FRI", "TZ=Asia/Tokyo 0 0 1 JAN ?"),
    ),
    ("a schedule with start", "schedule: {start: '0 2 * * *'}", "schedule", ("0 2 * * *",)),
    ("a schedule with nothing else in it", "schedule: {start: ['0 2 * * *'], stop: }", "schedule", ("0 2 * * *",)),
    ("params as text", 'params: A=1 two B="x y"', "params", 'A=1 two B="x y"'),
    ("params as a list", "params:\n  - A: 1\n  - B: x y\n  - C=2 three", "params", 'A=1 B="x y" C=2 three'),
    ("a list item is split like a text", "params: ['B=two words']", "params", "B=two words"),
    (
        "params as a map, in order of names",
        "params: {B: yes, A: 1.50, D: '', C: a=b}",
        "params",
        'A=1.5 B=yes C=a=b D=""',
    ),
    ("params as JSON", 'params: \'{"B": "x y", "A": 1}\'', "params", 'A=1 B="x y"'),
    ("references and backticks stay", "params:\n  A: ${X}\n  B: '`date +%s`'", "params", 'A=${X} B="`date +%s`"'),
    ("a schema that is no text is a param", "params: {schema: 5}", "params", "schema=5"),
    ("env as a map", "env: {A: 1, B: x y}", "env", ("A=1", "B=x y")),
    ("env as a list of maps", "env:\n  - B: 1\n  - A: ${B}\n    C: yes", "env", ("B=1", "A=${B}", "C=yes")),
    ("env as a list of texts", "env: ['A=b=c', 'D=']", "env", ("A=b=c", "D=")),
    ("env in a mixture", "env: ['A=1', {B: 0755}]", "env", ("A=1", "B=493")),
    ("a working directory", "workingDir: ~/x", "working_dir", "~/x"),
    ("its spelling in Dagu 2", "working_dir: /x", "working_dir", "/x"),
    ("a shell", "shell: bash", "shell", "bash"),
    ("a shell's arguments", "shell: bash -e -o 'a b'", "shell_args", ("-e", "-o", "a b")),
    ("a shell in a list", "shell: [bash, '-o x', 5]", "shell_args", ("-o x", "5")),
    ("no shell at all", "shell: direct", "shell", "direct"),
    ("a directory for logs", "logDir: ${HOME}/logs", "log_dir", "${HOME}/logs"),
    ("a queue", "queue: nightly", "queue_name", "nightly"),
    ("no queue", "name: x", "queue_name", "x"),
    ("runs at once", "maxActiveRuns: 3", "max_active_runs", 3),
    ("no queueing", "max_active_runs: -1", "max_active_runs", -1),
    ("one run without a word", "name: x", "max_active_runs", 1),
    ("steps at once", "MAXACTIVESTEPS: 2", "max_active_steps", 2),
    ("days of history", "histRetentionDays: 7", "hist_retention_days", 7),
    ("days of history in Dagu 2", "hist_retention_days: 7", "hist_retention_days", 7),
    ("seconds to clean up", "maxCleanUpTimeSec: 60", "max_clean_up_seconds", 60),
    ("seconds to clean up in Dagu 2", "max_clean_up_time_sec: 0", "max_clean_up_seconds", 0),
    ("bytes of output", "maxOutputSize: 5", "max_output_size", 5),
    (
        "labels",
        "workerSelector: {gpu: true, cuda: 11.10, ' zone ': ' a ', Key: ''}",
        "worker_selector",
        WorkerSelector({"gpu": "true", "cuda": "11.10", "zone": "a", "Key": ""}),
    ),
    ("here", "workerSelector: local", "worker_selector", WorkerSelector(local=True)),
    ("no labels", "workerSelector: {}", "worker_selector", WorkerSelector()),
    ("no steps", "name: x", "steps", ()),
    ("empty steps", "steps: []", "steps", ()),
    ("null is absent", "name:\ntype: ~\ntags:\nenv:\nparams:\nsteps:\nmaxActiveRuns:\n", "max_active_runs", 1),
    ("switches of refused fields that are off", OFF, "steps", ()),
]


def _load(text: str, *, name: str = "", location: str = "") -> Dag:
    return load_dag(text, "daily.etl.yaml", name=name, location=location)


class FieldTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each field of a DAG is read in each of its forms."""
        for sentence, text, attribute, value in FIELDS:
            assert getattr(_load(text), attribute) == value, sentence

    def test_given_name_wins(self) -> None:
        """A name that the caller gives wins over the document's."""
        assert _load("name: written", name="given").name == "given"

    def test_location(self) -> None:
        """The file's place names the DAG and is what relative directories refer to."""
        dag = _load("steps: [ls]", location="/dags/team/nightly.yaml")
        assert (dag.name, dag.base_dir, dag.location) == ("nightly", "/dags/team", "/dags/team/nightly.yaml")
        assert (_load("name: x").base_dir, _load("name: x").location) == ("", "")

    def test_command_of_the_dag_alone(self) -> None:
        """A document with a command and no steps is one step that is named after the DAG."""
        (step,) = _load("name: x\ncommand: python train.py --fast").steps
        assert (step.name, step.commands) == (
            "x",
            (Command("python train.py --fast", "python", ("train.py", "--fast")),),
        )
        (step,) = _load("command: |\n  one\n  two\nsteps: []").steps
        assert (step.name, step.script) == ("daily.etl", "one\ntwo")

    def test_command_of_the_dag_as_default(self) -> None:
        """With steps, the DAG's command is run by those that say nothing themselves."""
        dag = _load("""
command: default
steps:
  - name: a
  - {name: b, command: own}
  - {name: c, script: own}
  - {name: d, call: x}
""")
        assert [(step.name, [command.text for command in step.commands], step.script) for step in dag.steps] == [
            ("a", ["default"], ""),
            ("b", ["own"], ""),
            ("c", [], "own"),
            ("d", [], ""),
        ]

    def test_anchors(self) -> None:
        """Values written once may be used in several places, also merged into steps."""
        dag = _load(
            "env: &env {A: 1}\nsteps:\n  - &base\n    name: a\n    command: x\n    env: *env\n  - <<: *base\n    name: b\n"
        )
        assert [(step.name, step.env, step.commands[0].text) for step in dag.steps] == [
            ("a", ("A=1",), "x"),
            ("b", ("A=1",), "x"),
        ]


class DocumentTests(SynchronousTestCase):
    def test_page_sample(self) -> None:
        """The sample of the page that introduces distributed execution loads and routes its step."""
        dag = _load(PAGE_SAMPLE)
        (step,) = dag.steps
        assert (step.child, step.worker_selector) == (ChildCall("train-model"), WorkerSelector({"gpu": "true"}))
        child = dag.local_dags["train-model"]
        assert child.worker_selector == WorkerSelector({"gpu": "true"})
        assert [(step.name, step.commands[0].text) for step in child.steps] == [
            ("train-model", "python train_model.py")
        ]
        assert dag.yaml_text == PAGE_SAMPLE
        assert unknown_children(dag) == []

    def test_example(self) -> None:
        """The example that ships with the project loads, and every document on its own gives the same DAG again."""
        text = EXAMPLE.read_text(encoding="utf-8")
        dag = load_dag(text, EXAMPLE.name, location=str(EXAMPLE))
        assert [(step.name, step.depends) for step in dag.steps] == [
            ("prepare", ()),
            ("train-model", ("prepare",)),
            ("report", ("train-model",)),
        ]
        assert dag.worker_selector.local
        assert dag.params == "EPOCHS=3"
        assert dag.steps[1].child == ChildCall("train-model", 'EPOCHS="${EPOCHS}" DATASET="${DATASET}"')
        assert list(dag.local_dags) == ["train-model", "report"]
        assert dag.local_dags["train-model"].worker_selector == WorkerSelector({"gpu": "true", "memory": "64G"})
        for local in dag.local_dags.values():
            assert load_dag(local.yaml_text, "task", location=str(EXAMPLE)) == local

    def test_name_of_main_may_repeat(self) -> None:
        """Only the later documents need names that differ among them."""
        dag = _load("name: a\nsteps: [ls]\n---\nname: a\nsteps: [pwd]\n")
        assert list(dag.local_dags) == ["a"]


class DefinitionTests(SynchronousTestCase):
    TEXT = """\
steps:
  - call: a
---
name: a
env: &env {X: 1}
steps:
  - call: b
    env: *env
  - call: elsewhere
---
name: unrelated
steps: [ls]
---
name: b
steps:
  - call: a
---
name: any
steps:
  - call: ${NEXT}
---
name: leaf
steps: [ls]
"""

    def _documents(self, child: str) -> list[str]:
        dag = _load(self.TEXT)
        loaded = load_dag(definition_for(dag, child), "task", name="")
        plain = dataclasses.replace(loaded, local_dags={}, yaml_text="")
        assert plain == dataclasses.replace(dag.local_dags[child], yaml_text="")
        for name, local in loaded.local_dags.items():
            assert dataclasses.replace(local, yaml_text="") == dataclasses.replace(dag.local_dags[name], yaml_text="")
        return [loaded.name, *loaded.local_dags]

    def test_called_documents_come_along(self) -> None:
        """A child's definition begins with the child and carries what it may call, itself included when it comes round."""
        assert self._documents("a") == ["a", "a", "b"]
        assert self._documents("b") == ["b", "a", "b"]
        assert self._documents("leaf") == ["leaf"]

    def test_computed_names(self) -> None:
        """Where the name is only known at the start, every document comes along."""
        assert self._documents("any") == ["any", "a", "unrelated", "b", "any", "leaf"]

    def test_no_such_document(self) -> None:
        """A definition of what the file does not have is refused."""
        with pytest.raises(NotFoundError, match=r"the DAG daily\.etl has no document named 'elsewhere'"):
            definition_for(_load(self.TEXT), "elsewhere")

    def test_unknown_children(self) -> None:
        """Calls of names that are no documents are told, with their steps, but not those that are computed."""
        assert [(step.name, name) for step, name in unknown_children(_load(self.TEXT))] == [("dag_2", "elsewhere")]
