"""What DAGs inherit from a base configuration."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import BaseConfiguration, load_dag
from txdagu.model.conditions import Condition
from txdagu.model.dag import Dag, Handler
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.labels import WorkerSelector
from txdagu.model.mail import MailAddressing, MailOn, SmtpServer

# The base, the DAG, the attribute, and its value: first where the DAG says nothing, then where both do.
CASES: list[tuple[str, str, str, Any]] = [
    ("description: b", "name: x", "description", "b"),
    ("description: b", "description: d", "description", "d"),
    ("maxActiveSteps: 4", "maxActiveSteps: 0", "max_active_steps", 0),
    ("maxActiveRuns: 4", "name: x", "max_active_runs", 4),
    ("histRetentionDays: 3", "name: x", "hist_retention_days", 3),
    ("shell: bash -x", "name: x", "shell_args", ("-x",)),
    ("shell: bash -x", "shell: sh", "shell_args", ()),
    ("workingDir: /b", "name: x", "working_dir", "/b"),
    ("type: graph", "steps: [a, b]", "type", "graph"),
    ("schedule: '0 1 * * *'", "schedule: {stop: '0 2 * * *'}", "schedule", ()),
    ("schedule: '0 1 * * *'", "name: x", "schedule", ("0 1 * * *",)),
    ("env: [A: 1, B: 1]", "env: {B: 2}", "env", ("A=1", "B=1", "B=2")),
    ("tags: a", "tags: [b, a]", "tags", ("a", "b")),
    ("params: A=1", "params: B=2", "params", "A=1 B=2"),
    ("dotenv: b.env", "dotenv: d.env", "dotenv", (".env", "b.env", "d.env")),
    ("dotenv: b.env", "name: x", "dotenv", (".env", "b.env")),
    ("dotenv: b.env", "dotenv: []", "dotenv", ()),
    ("dotenv: []", "name: x", "dotenv", (".env",)),
    ("workerSelector: {a: b, c: b}", "workerSelector: {c: d}", "worker_selector", WorkerSelector({"a": "b", "c": "d"})),
    ("precondition: b", "name: x", "preconditions", (Condition("b"),)),
    ("preconditions: b", "precondition: d", "preconditions", (Condition("d"),)),
    ("mailOn: {failure: true}", "mailOn: {wait: true}", "mail_on", MailOn(wait=True)),
    ("errorMail: {from: b, to: b}", "errorMail: {to: d}", "error_mail", MailAddressing("b", ("d",))),
    ("smtp: {host: b, port: 1}", "smtp: {port: 2}", "smtp", SmtpServer("b", "2")),
    ("smtp: {host: b}", "name: x", "smtp", SmtpServer("b")),
]


def _load(base: str, text: str, warnings: list[Problem] | None = None) -> Dag:
    return load_dag(text, "d.yaml", base=BaseConfiguration(base, "base.yaml"), warnings=warnings)


class BaseTests(SynchronousTestCase):
    def test_table(self) -> None:
        """What a DAG says wins; lists of texts, labels and parts of mail settings are joined."""
        for base, text, attribute, value in CASES:
            assert getattr(_load(base, text), attribute) == value, (base, text)

    def test_nothing_inherited(self) -> None:
        """An empty base, or none, changes nothing."""
        text = "env: [A=1]\nsteps: [a]\n---\nname: b\nsteps: [c]\n"
        bare = load_dag(text, "d.yaml")
        assert _load("", text) == _load("# nothing\n---\n", text) == _load("{}", text) == bare

    def test_order_of_the_base(self) -> None:
        """Steps follow the order that the base asks for."""
        assert [step.depends for step in _load("type: graph", "steps: [a, b]").steps] == [(), ()]

    def test_handlers(self) -> None:
        """Handlers are joined one by one, for the main document alone: called DAGs have only their own."""
        text = "handlerOn: {exit: {command: d}}\n---\nname: c\nhandlerOn: {failure: {command: c}}\n"
        dag = _load("handlerOn: {exit: {command: b}, success: {command: b}}", text)
        assert {handler: step.commands[0].text for handler, step in dag.handlers.items()} == {
            Handler.EXIT: "d",
            Handler.SUCCESS: "b",
        }
        assert list(dag.local_dags["c"].handlers) == [Handler.FAILURE]

    def test_documents_inherit(self) -> None:
        """The file's other documents inherit all else."""
        dag = _load("env: [A=1]\nqueue: q", "steps: [a]\n---\nname: c\nenv: [B=2]")
        assert (dag.local_dags["c"].env, dag.local_dags["c"].queue) == (("A=1", "B=2"), "q")

    def test_language_model_of_the_base(self) -> None:
        """A chat step needs no model of its own where the base has one."""
        text = "steps: [{type: chat, messages: [{role: user, content: hi}]}]"
        assert _load("llm: {provider: local, model: m}", text).llm == {"provider": "local", "model": "m"}

    def test_errors_of_both_files(self) -> None:
        """What is wrong with either file is told with its name and place, all at once."""
        with pytest.raises(InvalidInputError) as caught:
            _load("timeoutSec: x\nhandlerOn: {exit: {comand: y}}\n---\nmore: 1", "name: a b\n")
        assert [problem.where for problem in caught.value.problems] == [
            "base.yaml:1:13",
            "base.yaml:2:19",
            "base.yaml:2:20",
            "base.yaml:4:1",
            "d.yaml:1:7",
        ]
        for base, message in (("- a", "must be a mapping of fields"), ("a: [", "invalid YAML")):
            with pytest.raises(InvalidInputError, match=message):
                _load(base, "name: x")

    def test_what_a_base_cannot_say(self) -> None:
        """Steps and names in a base are not used, which is told."""
        warnings: list[Problem] = []
        dag = _load("name: b\nsteps: [x]\nqueue: q", "steps: [a]", warnings)
        assert (dag.name, len(dag.steps), dag.queue) == ("d", 1, "q")
        assert [warning.where for warning in warnings] == ["base.yaml:1:1", "base.yaml:2:1"]
