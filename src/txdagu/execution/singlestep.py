"""
One step of a run on its way to a worker: the step as written, and the caller's values with which it is evaluated there.

Nothing is pasted into the step before it goes: it is evaluated where it runs, as it would be beside its run, so that quoting,
backticks and the worker's own environment mean the same. Secrets do not travel. They are resolved anew by the worker, and what
the caller has captured with secrets in it goes in pieces that name them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from txdagu.execution.evaluation.environment import RunEnvironment
from txdagu.execution.evaluation.masking import Masker
from txdagu.execution.evaluation.references import StepFacts
from txdagu.model.chat import Answered, ChatMessage
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.ids import DAG_NAME, MAX_DAG_NAME
from txdagu.store.dagjson import decode_dag, encode_dag

_SOURCE = "single step"


@dataclass(frozen=True)
class StepInputs:
    """
    What a step sees of the run that it belongs to, besides the environment of its host.

    `environment` is the run's, of which a single step gets all but host and secrets. `outputs` are those that the step can see,
    `facts` those of steps with an id, `told` variables that this execution alone is given, and `calling` what the caller of the
    run adds to the environment in which texts are evaluated. `directory` is where the run works, or empty if it named no place.
    """

    environment: RunEnvironment
    outputs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, StepFacts] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    calling: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""


class HeardMessage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A `ChatMessage` as it travels: its content in pieces, text and names of secrets in turn."""

    role: str
    content: tuple[str, ...]
    answered: Answered | None = None


class GivenValues(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """
    `StepInputs` as they travel. `outputs` are in pieces, text and names of secrets in turn; `facts` are log files and exit code.

    `heard` is the conversation that a chat step goes on with. `earlier_attempt` is the latest attempt of the step's run that
    belongs to an earlier execution; what that left is not kept.
    """

    env: dict[str, str] = {}
    params: dict[str, str] = {}
    params_json: str = ""
    built_in: dict[str, str] = {}
    outputs: dict[str, tuple[str, ...]] = {}
    facts: dict[str, tuple[str, str, int]] = {}
    told: dict[str, str] = {}
    calling: dict[str, str] = {}
    heard: tuple[HeardMessage, ...] = ()
    earlier_attempt: str = ""

    def environment(self, host: Mapping[str, str], secrets: Mapping[str, str]) -> RunEnvironment:
        """The caller's values on this host."""
        return RunEnvironment(host, self.env, self.params, self.built_in, self.params_json, secrets)

    def known_outputs(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """The outputs with the values of the secrets."""
        masker = Masker(secrets)
        return {name: masker.unseal(pieces) for name, pieces in self.outputs.items()}

    def conversation(self, secrets: Mapping[str, str]) -> tuple[ChatMessage, ...]:
        """What was `heard`, with the values of the secrets."""
        masker = Masker(secrets)
        return tuple(ChatMessage(one.role, masker.unseal(one.content), one.answered) for one in self.heard)

    def known_facts(self) -> dict[str, StepFacts]:
        """The facts of the caller's steps."""
        return {step_id: StepFacts(*facts) for step_id, facts in self.facts.items()}


@dataclass(frozen=True)
class SingleStep:
    """A DAG of one step, and the values that its caller gives it."""

    dag: Dag
    given: GivenValues


class _Message(msgspec.Struct, rename="camel"):
    dag: msgspec.Raw
    given: GivenValues


_decoder = msgspec.json.Decoder(_Message)


def run_name(step_name: str) -> str:
    """The name of the run of a step, as names of DAGs may be: what these may not have becomes ``_``."""
    return "".join(letter if DAG_NAME.fullmatch(letter) else "_" for letter in step_name)[:MAX_DAG_NAME]


def single_step(
    dag: Dag, step: Step, inputs: StepInputs, earlier_attempt: str, heard: Iterable[ChatMessage] = ()
) -> SingleStep:
    """
    The step of that DAG alone, with the conversation that it has `heard`.

    What the run does about a step stays with the run: order, conditions, retries, repetition, time limit and mails.
    """
    alone = Step(
        name=step.name,
        id=step.id,
        commands=step.commands,
        script=step.script,
        shell=step.shell,
        shell_args=step.shell_args,
        dir=step.dir,
        env=step.env,
        output=step.output,
        type=step.type,
        config=step.config,
        params=step.params,
        signal_on_stop=step.signal_on_stop,
        stdout=step.stdout,
        stderr=step.stderr,
        log_output=step.log_output,
        shell_packages=step.shell_packages,
        container=step.container,
        llm=step.llm,
        messages=step.messages,
    )
    around = Dag(
        name=run_name(step.name),
        steps=(alone,),
        shell=dag.shell,
        shell_args=dag.shell_args,
        working_dir=inputs.directory,
        base_dir=dag.base_dir,
        max_clean_up_seconds=dag.max_clean_up_seconds,
        max_output_size=dag.max_output_size,
        dotenv=(),
        secrets=dag.secrets,
        log_output=dag.log_output,
        smtp=dag.smtp,
        container=dag.container,
        registry_auths=dag.registry_auths,
        ssh=dag.ssh,
        llm=dag.llm,
        otel=dag.otel,
    )
    environment = inputs.environment
    masker = Masker(environment.secrets)
    given = GivenValues(
        dict(environment.dag_env),
        dict(environment.params),
        environment.params_json,
        dict(environment.built_in),
        {name: masker.seal(value) or (value,) for name, value in inputs.outputs.items()},
        {step_id: (facts.stdout, facts.stderr, facts.exit_code) for step_id, facts in inputs.facts.items()},
        dict(inputs.told),
        dict(inputs.calling),
        tuple(HeardMessage(one.role, masker.seal(one.content) or (one.content,), one.answered) for one in heard),
        earlier_attempt,
    )
    return SingleStep(around, given)


def encode_single_step(single: SingleStep) -> str:
    """As `txdagu.model.task.Task.single_step` carries it."""
    return msgspec.json.encode(_Message(msgspec.Raw(encode_dag(single.dag, (), "/")), single.given)).decode()


def decode_single_step(text: str) -> SingleStep:
    """The step in a task. Raises `InvalidInputError` if it is none."""
    try:
        message = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidInputError([Problem(f"the single step of the task cannot be read: {error}")]) from None
    return SingleStep(decode_dag(bytes(message.dag), _SOURCE), message.given)


def without_secrets(values: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The values that are no secrets by their names."""
    return {name: value for name, value in values.items() if name not in secrets}


def refusal(dag: Dag, step: Step) -> str:
    """
    A DAG for workers that do not know single steps, should one get the task in spite of all: it fails and says why.

    Such a worker comes by it through a coordinator that is not ours.
    """
    sentence = (
        f"step {step.name} of DAG {dag.name} is a task for a worker of txdagu: Dagu does not know workerSelector on a step "
        "that calls no DAG. Let a txdagu coordinator hand it out, or give these labels to no worker of Dagu."
    )
    script = f"cat >&2 <<'END'\n{sentence}\nEND\nexit 1\n"
    return msgspec.json.encode({"steps": [{"name": "refuse", "script": script}]}).decode()
