"""What the fields of the whole language become, in each of their shapes and spellings."""

from __future__ import annotations

from dataclasses import fields as attributes_of
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.dagfile.base import DAG_ATTRIBUTES
from txdagu.dagfile.language import DAG, LEVELS, STEP
from txdagu.model.conditions import Condition
from txdagu.model.container import Container, PullPolicy
from txdagu.model.dag import Command, Dag, Handler, LogOutput, Parallel, ParamsSchema, Secret, Step
from txdagu.model.errors import InvalidInputError
from txdagu.model.mail import MailAddressing, MailOn, SmtpServer
from txdagu.model.policies import ContinueOn, LostWorkerPolicy, OnWorkerLost, RepeatMode, RepeatPolicy, RetryPolicy

DAGS: list[tuple[str, str, Any]] = [
    ("skipIfSuccessful: true", "skip_if_successful", True),
    ("skip_if_successful: true", "skip_if_successful", True),
    ("schedule: {stop: '0 1 * * *', restart: ['0 2 * * *', '0 3 * * *']}", "stop_schedule", ("0 1 * * *",)),
    (
        "schedule: {stop: '0 1 * * *', restart: ['0 2 * * *', '0 3 * * *']}",
        "restart_schedule",
        ("0 2 * * *", "0 3 * * *"),
    ),
    ("dotenv: a.env", "dotenv", (".env", "a.env")),
    ("dotenv: [a.env, .env, b.env]", "dotenv", (".env", "a.env", "b.env")),
    ("dotenv: []", "dotenv", ()),
    ("dotenv: ''", "dotenv", (".env",)),
    ("name: x", "dotenv", (".env",)),
    ("secrets: [{name: A, provider: env, key: B}]", "secrets", (Secret("A", "env", "B"),)),
    (
        "secrets: [{name: A, provider: file, key: b, options: {c: d}}]",
        "secrets",
        (Secret("A", "file", "b", {"c": "d"}),),
    ),
    ("params: {schema: s.json, values: {A: 1}}", "params_schema", ParamsSchema("s.json")),
    ("params: {schema: s.json, values: {A: 1}}", "params", "A=1"),
    ("params: {schema: s.json}", "params", ""),
    ("logOutput: Merged", "log_output", LogOutput.MERGED),
    ("log_output: separate", "log_output", LogOutput.SEPARATE),
    ("timeoutSec: 5", "timeout_seconds", 5),
    ("timeout_sec: 5.0", "timeout_seconds", 5),
    ("delaySec: 5", "delay_seconds", 5),
    ("restartWaitSec: 5", "restart_wait_seconds", 5),
    ("preconditions: 'test -e x'", "preconditions", (Condition("test -e x"),)),
    (
        "preconditions: [a, {condition: $B, expected: 're:c', negate: true}]",
        "preconditions",
        (Condition("a"), Condition("$B", "re:c", True)),
    ),
    ("precondition: {command: b}\npreconditions: {condition: a}", "preconditions", (Condition("a"), Condition("b"))),
    ("preconditions: ['', [a]]", "preconditions", (Condition("a"),)),
    (
        "handlerOn: {exit: {command: a, depends: b, name: c}}",
        "handlers",
        {Handler.EXIT: Step("onExit", commands=(Command("a", "a"),))},
    ),
    ("handler_on: {cancel: {script: a}}", "handlers", {Handler.ABORT: Step("onCancel", script="a")}),
    ("handlerOn: {abort: {script: a}, init: {}, wait: }", "handlers", {Handler.ABORT: Step("onCancel", script="a")}),
    ("mailOn: {failure: true, wait: true}", "mail_on", MailOn(failure=True, wait=True)),
    ("errorMail: {from: a, to: b, prefix: c, attachLogs: true}", "error_mail", MailAddressing("a", ("b",), "c", True)),
    ("info_mail: {to: [a, ' b ', '']}", "info_mail", MailAddressing(to=("a", "b"))),
    ("waitMail: {from: a, attach_logs: true}", "wait_mail", MailAddressing("a", attach_logs=True)),
    ("smtp: {host: h, port: 25, username: u, password: ' p'}", "smtp", SmtpServer("h", "25", "u", " p")),
    ("smtp: {host: h, port: '${PORT}'}", "smtp", SmtpServer("h", "${PORT}")),
    ("container: box", "container", Container(execute_in="box")),
    ("container: {exec: box, user: u, env: [A=1]}", "container", Container(execute_in="box", user="u", env=("A=1",))),
    (
        """container: {image: a, name: b, pullPolicy: always, env: {C: 1}, volumes: [d:e], user: 0, workingDir: f,
        platform: g, ports: 80, network: h, keepContainer: true, startup: command, command: [i, 1], waitFor: healthy,
        logPattern: j, restartPolicy: always}""",
        "container",
        Container(
            image="a",
            name="b",
            pull_policy=PullPolicy.ALWAYS,
            env=("C=1",),
            volumes=("d:e",),
            user="0",
            working_dir="f",
            platform="g",
            ports=("80",),
            network="h",
            keep=True,
            startup="command",
            command=("i", "1"),
            wait_for="healthy",
            log_pattern="j",
            restart_policy="always",
        ),
    ),
    (
        "container: {image: a, pull_policy: false, workDir: b}",
        "container",
        Container(image="a", pull_policy=PullPolicy.NEVER, working_dir="b"),
    ),
    ("registryAuths: {a: b, c: {username: d}}", "registry_auths", {"a": "b", "c": {"username": "d"}}),
    ('registryAuths: \'{"a": "b"}\'', "registry_auths", {"a": "b"}),
    ("registryAuths: $AUTHS", "registry_auths", {"_json": "$AUTHS"}),
    (
        "ssh: {user: a, host: b, port: 2222, strict_host_key: false, shell: [sh, -e]}",
        "ssh",
        {"user": "a", "host": "b", "port": "2222", "strictHostKey": False, "shell": ["sh", "-e"]},
    ),
    (
        "llm: {provider: ollama, max_tokens: 5, thinking: {budget_tokens: 1}}",
        "llm",
        {"provider": "ollama", "maxTokens": 5, "thinking": {"budgetTokens": 1}},
    ),
    (
        "otel: {enabled: true, timeout: 1m30s, headers: {a: b}, other: c}",
        "otel",
        {"enabled": True, "timeout": "1m30s", "headers": {"a": "b"}},
    ),
    ("runConfig: {disableParamEdit: true}", "run_config", {"disableParamEdit": True}),
    ("run_config: {disable_run_id_edit: false}", "run_config", {"disableRunIdEdit": False}),
    ("onWorkerLost: fail", "on_worker_lost", OnWorkerLost(LostWorkerPolicy.FAIL)),
    ("on_worker_lost: {policy: wait, limit: 5}", "on_worker_lost", OnWorkerLost(LostWorkerPolicy.WAIT, 5)),
]

STEPS: list[tuple[str, str, Any]] = [
    ("command: a, shell: nix-shell, shellPackages: [b, 3]", "shell_packages", ("b", "3")),
    ("command: a, stdout: ' b '", "stdout", "b"),
    ("command: a, stderr: b", "stderr", "b"),
    ("command: a, logOutput: MERGED", "log_output", LogOutput.MERGED),
    ("command: a", "log_output", None),
    ("command: a, preconditions: b", "preconditions", (Condition("b"),)),
    (
        "command: a, precondition: [b, {Condition: c, EXPECTED: d}]",
        "preconditions",
        (Condition("b"), Condition("c", "d")),
    ),
    ("command: a, continueOn: skipped", "continue_on", ContinueOn(skipped=True)),
    ("command: a, continue_on: Failed", "continue_on", ContinueOn(failure=True)),
    (
        "command: a, continueOn: {failed: true, exitCode: 3, output: x, markSuccess: true}",
        "continue_on",
        ContinueOn(True, False, (3,), ("x",), True),
    ),
    (
        "command: a, continue_on: {failure: true, exit_code: [1, '-2', 3.7], output: [x, 're:y'], mark_success: true}",
        "continue_on",
        ContinueOn(True, False, (1, -2, 3), ("x", "re:y"), True),
    ),
    ("command: a, retryPolicy: {limit: 3, intervalSec: 5}", "retry_policy", RetryPolicy(3, 5)),
    (
        "command: a, retry_policy: {limit: '3', interval_sec: '${X}', exit_code: [1], backoff: true, max_interval_sec: 9}",
        "retry_policy",
        RetryPolicy(3, "${X}", (1,), 2.0, 9),
    ),
    ("command: a, retryPolicy: {limit: 1, intervalSec: 1, backoff: 3}", "retry_policy", RetryPolicy(1, 1, backoff=3.0)),
    (
        "command: a, retryPolicy: {limit: 1, intervalSec: 1, backoff: 1.5}",
        "retry_policy",
        RetryPolicy(1, 1, backoff=1.5),
    ),
    ("command: a, retryPolicy: ", "retry_policy", None),
    (
        "command: a, repeatPolicy: {repeat: while, condition: b}",
        "repeat_policy",
        RepeatPolicy(RepeatMode.WHILE, Condition("b")),
    ),
    (
        "command: a, repeatPolicy: {repeat: until, exitCode: [0], limit: 2, intervalSec: 3, backoff: 2.0, maxIntervalSec: 4}",
        "repeat_policy",
        RepeatPolicy(RepeatMode.UNTIL, None, (0,), 2, 3, 2.0, 4),
    ),
    ("command: a, repeatPolicy: {repeat: true, limit: 2}", "repeat_policy", RepeatPolicy(RepeatMode.WHILE, limit=2)),
    (
        "command: a, repeatPolicy: {condition: b, expected: c}",
        "repeat_policy",
        RepeatPolicy(RepeatMode.UNTIL, Condition("b", "c")),
    ),
    (
        "command: a, repeatPolicy: {repeat: false, condition: b}",
        "repeat_policy",
        RepeatPolicy(RepeatMode.WHILE, Condition("b")),
    ),
    ("command: a, repeatPolicy: {exitCode: [1]}", "repeat_policy", RepeatPolicy(RepeatMode.WHILE, exit_codes=(1,))),
    ("command: a, repeatPolicy: {limit: 5}", "repeat_policy", None),
    ("command: a, timeoutSec: 5", "timeout_seconds", 5),
    ("command: a, signalOnStop: SIGINT", "signal_on_stop", "SIGINT"),
    ("command: a, mailOnError: true", "mail_on_error", True),
    ("call: a, parallel: ' ${X} '", "parallel", Parallel("${X}")),
    (
        "call: a, parallel: [b, 1, 1.50, {k: v, n: 2, f: true}]",
        "parallel",
        Parallel(items=("b", "1", "1.5", {"k": "v", "n": "2", "f": "true"})),
    ),
    ("call: a, parallel: {items: [b], max_concurrent: 2}", "parallel", Parallel(items=("b",), max_concurrent=2)),
    ("call: a, parallel: {items: $X, maxConcurrent: 3.0}", "parallel", Parallel("$X", max_concurrent=3)),
    ("call: a, parallel: [b]", "name", "parallel_1"),
    ("container: box, command: a", "type", "docker"),
    ("container: {image: a}", "container", Container(image="a")),
    (
        "type: http, command: GET x, config: {timeout: 5, skip_tls_verify: true}",
        "config",
        {"timeout": 5, "skipTLSVerify": True},
    ),
    ("executor: {type: jq, config: {raw: true}}, command: .a", "config", {"raw": True}),
    ("executor: {type: jq, config: {raw: true}}, command: .a", "type", "jq"),
    ("executor: mail", "type", "mail"),
    ("type: shell, command: a", "type", "shell"),
    ("call: a, executor: http", "type", ""),
    ("type: made-up, command: a, config: {b: 1}", "config", {"b": 1}),
    ("type: gha, command: a/b@v1, params: {x: y z}", "params", 'x="y z"'),
    ("type: python, script: print()", "script", "print()"),
    ("type: hitl, config: {input: [A, B], required: [A]}", "config", {"input": ["A", "B"], "required": ["A"]}),
    (
        "type: chat, llm: {provider: openai, model: m}, messages: [{role: user, content: a}]",
        "messages",
        ({"role": "user", "content": "a"},),
    ),
    (
        "type: chat, llm: {provider: openai, model: m}, messages: [{role: user, content: a}]",
        "llm",
        {"provider": "openai", "model": "m"},
    ),
]

WRONG = {
    "string": ("5", "[a]", "{a: b}", "true"),
    "integer": ("a", "'5'", "[1]", "{a: b}", "true", "1.5"),
    "boolean": ("yes", "1", "[true]", "{a: b}"),
    "object": ("5", "[a]", "true"),
}


def _load(text: str) -> Dag:
    return load_dag(text, "f.yaml")


class LanguageTests(SynchronousTestCase):
    def test_dags(self) -> None:
        """Each field of a DAG is read in each of its forms."""
        for text, attribute, value in DAGS:
            assert getattr(_load(text), attribute) == value, text

    def test_steps(self) -> None:
        """Each field of a step is read in each of its forms."""
        for text, attribute, value in STEPS:
            (step,) = _load(f"steps: [{{{text}}}]").steps
            assert getattr(step, attribute) == value, text

    def test_types_that_follow_from_the_dag(self) -> None:
        """A container or ssh of the DAG is the type of steps that name none; one of the step's own goes before it."""
        for text, types in (
            (
                "container: {image: a}\nsteps: [b, {command: c}, {type: shell, command: d}, {call: e}]",
                ["container", "container", "shell", ""],
            ),
            (
                "ssh: {host: a}\nsteps: [{command: b}, {container: c, command: d}, {type: jq, command: e}]",
                ["ssh", "docker", "jq"],
            ),
        ):
            assert [step.type for step in _load(text).steps] == types, text

    def test_wrong_types(self) -> None:
        """Every field with a plain type refuses values of the other types, under each of its spellings."""
        checked = 0
        for level, template in ((DAG, "{}: {}\n"), (STEP, "steps: [{{command: x, {}: {}}}]\n")):
            for field in level.fields:
                for value in WRONG.get(field.schema.get("type", ""), ()) if field.name != "command" else ():
                    for spelling in field.spellings:
                        with pytest.raises(InvalidInputError):
                            _load(template.format(spelling, value))
                        checked += 1
        assert checked > 100

    def test_null_is_absent(self) -> None:
        """Every field may be left without a value, and is then as if it were not there."""
        for field in DAG.fields:
            expected = {attribute.name for attribute in attributes_of(Dag)}
            dag, bare = _load(f"{field.name}:\n"), _load("description:\n")
            assert [name for name in expected - {"yaml_text"} if getattr(dag, name) != getattr(bare, name)] == [], (
                field.name
            )
        for field in STEP.fields:
            if field.name != "command":
                assert _load(f"steps: [{{command: x, {field.name}: }}]").steps == _load("steps: [{command: x}]").steps

    def test_table_is_whole(self) -> None:
        """Spellings lead to one field each, words of older times to newer ones, and every attribute of a DAG has its field."""
        for level in LEVELS:
            spellings = [spelling.lower() for field in level.fields for spelling in field.spellings]
            assert len(spellings) == len(set(spellings)), level.what
            names = {field.name for field in level.fields}
            assert {field.now for field in level.fields if field.now} <= names, level.what
            assert all(field.description.endswith(".") for field in level.fields), level.what
        attributes = {name for names in DAG_ATTRIBUTES.values() for name in names}
        rest = {"name", "steps", "base_dir", "params_schema", "handlers", "local_dags", "yaml_text", "location"}
        assert {attribute.name for attribute in attributes_of(Dag)} == attributes | rest
