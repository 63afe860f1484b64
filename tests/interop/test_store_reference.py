"""
One data directory, two programs: Dagu 1.30.2 reads, retries and executes what we wrote, and we read what it wrote.

`TXDAGU_REFERENCE` names the released program; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from unittest import TestCase, skipUnless

import pytest

from txdagu.dagfile import load_dag
from txdagu.model.dag import ChildCall, Command, Dag, Output, Step
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.store.dagjson import decode_dag
from txdagu.store.runs import Runs
from txdagu.testing.store import paths_under

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")

FILE = """\
name: sample.v1
type: graph
tags: [A, b]
queue: shared-q
params: FOO=bar NUM=2
env:
  - X: "1"
steps:
  - name: one
    command: echo hello $FOO
    output: ONE_OUT
  - name: two
    script: |
      echo script
    output:
      name: TWO_OUT
      key: second
    depends: [one]
  - name: sub
    call: child
    params: "P=5"
    output: SUB
    depends: [two]
---
name: child
params: P=1
steps:
  - name: c1
    command: echo got $P
    output: R
"""

# Every field that leaves a trace in a snapshot and needs nothing outside of the program.
WHOLE = """\
name: whole
group: g
description: d
type: graph
tags: [a]
schedule: {start: '0 1 * * *', stop: '0 2 * * *', restart: ['0 3 * * *']}
skipIfSuccessful: true
env: [X: 1]
dotenv: [a.env]
secrets:
  - {name: S, provider: env, key: HOME, options: {o: x}}
shell: bash -x
logOutput: merged
histRetentionDays: 7
timeoutSec: 60
delaySec: 1
restartWaitSec: 2
maxActiveRuns: 2
maxActiveSteps: 3
maxCleanUpTimeSec: 4
maxOutputSize: 5000
queue: q
preconditions:
  - "false"
  - {condition: $X, expected: "1"}
handlerOn:
  init: {command: echo init}
  success: {command: echo s}
  failure: {command: echo f}
  abort: {command: echo c}
  exit: {command: echo e}
  wait: {command: echo w}
mailOn: {failure: true, success: true, wait: true}
errorMail: {from: a@x, to: b@x, prefix: p, attachLogs: true}
infoMail: {from: a@x, to: [b@x, c@x]}
waitMail: {from: a@x}
registryAuths: {docker.io: {username: u, password: p}, ghcr.io: tok}
llm: {provider: openai, model: m, temperature: 0.5, maxTokens: 5, stream: false, thinking: {enabled: true, effort: low}}
otel: {enabled: false, endpoint: e, headers: {a: b}, insecure: true, timeout: 5s, resource: {a: b}}
runConfig: {disableParamEdit: true, disableRunIdEdit: true}
steps:
  - name: one
    id: one
    command: 'true'
    type: command
    shell: sh
    stdout: o.txt
    stderr: e.txt
    logOutput: separate
    env: [Y: 2]
    preconditions: [{condition: "true", negate: false}]
    continueOn: {failure: true, skipped: true, exitCode: [1, "2"], output: ["re:x", y], markSuccess: true}
    retryPolicy: {limit: 3, intervalSec: 1, exitCode: [1], backoff: true, maxIntervalSec: 9}
    timeoutSec: 5
    signalOnStop: SIGINT
    mailOnError: true
  - name: two
    command: 'true'
    retryPolicy: {limit: "$X", intervalSec: "${X}", backoff: 3.5}
    repeatPolicy: {repeat: until, condition: "echo 1", expected: "1", exitCode: [0], limit: 1, intervalSec: 1}
  - {name: three, command: 'true', repeatPolicy: {repeat: true, limit: 1}}
  - {name: many, call: child, parallel: {items: [a, 1, {k: v, n: 2}], maxConcurrent: 2}, params: "P=${ITEM}"}
  - {name: split, run: child, parallel: "a b"}
  - {name: query, type: jq, config: {raw: true}, command: .a, script: '{"a":1}'}
  - name: box
    command: 'true'
    container: {image: alpine, pullPolicy: always, env: [A=1], volumes: ["a:/b"], startup: command, command: [a, b]}
  - {name: in-box, command: 'true', container: {exec: cc, user: u}}
  - {name: talk, type: chat, llm: {provider: openai, model: m}, messages: [{role: user, content: hi}]}
  - {name: action, type: gha, command: a/b@v1, params: {x: y}}
  - {name: nix, shell: nix-shell, shellPackages: [python3], command: x}
---
name: child
params: P=1
steps:
  - command: echo $P
"""


def echo(name: str, text: str, variable: str = "", depends: tuple[str, ...] = ()) -> Step:
    """A step that prints something, perhaps into a variable."""
    words = tuple(text.split())
    return Step(
        name,
        commands=(Command(f"echo {text}", "echo", words),),
        output=Output(variable) if variable else None,
        depends=depends,
    )


@pytest.mark.reference
@skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")
class SharedDirectoryTests(TestCase):
    """Both programs in one home."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        (self.home / "dags" / "sample.yaml").write_text(FILE)
        self.runs = Runs(paths_under(self.home), lambda: datetime.now().astimezone())
        self.dag = Dag(
            "ours.v1",
            (
                echo("one", "hello $FOO", "ONE_OUT"),
                echo("two", "world ${ONE_OUT}", "TWO_OUT", ("one",)),
            ),
            base_dir=str(self.home),
            params="FOO=bar",
            yaml_text="name: ours.v1\n",
        )
        self.run_ref = RunRef("ours.v1", "o1")

    def dagu(self, *arguments: str) -> str:
        """What the other program prints, errors included; it must end well."""
        done = subprocess.run(
            [REFERENCE, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "DAGU_HOME": str(self.home), "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def write(self, state: RunState, node_state: NodeState) -> RunStatus:
        """A run of ours in which the first step succeeded and the second came to `node_state`."""
        attempt = self.runs.begin(self.dag, self.run_ref, self.run_ref, new=True)
        at = datetime.now().astimezone()
        nodes = []
        for step in self.dag.steps:
            logs = attempt.step_logs(step.name, at)
            Path(logs.stdout).write_text(f"printed by {step.name}\n")
            nodes.append(NodeStatus(step, NodeState.SUCCEEDED, logs.stdout, logs.stderr, at, at, done_count=1))
        nodes[0] = replace(nodes[0], outputs={"ONE_OUT": "hello bar"})
        nodes[1] = replace(nodes[1], state=node_state)
        status = RunStatus(
            self.run_ref,
            self.run_ref,
            state,
            nodes=tuple(nodes),
            started_at=at,
            finished_at=at,
            params=("FOO=given",),
        )
        attempt.append(replace(status, state=RunState.RUNNING), [])
        attempt.close(status, ["a line"])
        return status

    def status(self, run: RunRef, root: RunRef | None = None) -> RunStatus:
        """The run's state as we read it."""
        status = self.runs.read_status(run, root or run)
        assert status
        return status

    def test_it_shows_our_run(self) -> None:
        """Its status command shows our steps, their logs and the result."""
        self.write(RunState.SUCCEEDED, NodeState.SUCCEEDED)
        shown = self.dagu("status", "--run-id=o1", "ours.v1")
        for text in ("Succeeded", "one", "two", "printed by two"):
            self.assertIn(text, shown)

    def test_it_believes_our_signs_of_life(self) -> None:
        """A run of ours is shown as running while its liveness file is there, and as failed when it is gone."""
        attempt = self.runs.begin(self.dag, self.run_ref, self.run_ref)
        attempt.append(RunStatus(self.run_ref, self.run_ref, RunState.RUNNING), [])
        self.assertIn("Running", self.dagu("status", "--run-id=o1", "ours.v1"))
        attempt.release()
        self.assertIn("Failed", self.dagu("status", "--run-id=o1", "ours.v1"))
        self.assertEqual(self.status(self.run_ref).state, RunState.FAILED)

    def test_it_asks_our_run_to_end(self) -> None:
        """Its stop command leaves the flag that our writer looks for."""
        attempt = self.runs.begin(self.dag, self.run_ref, self.run_ref)
        attempt.append(RunStatus(self.run_ref, self.run_ref, RunState.RUNNING), [])
        self.assertFalse(attempt.cancel_requested())
        self.dagu("stop", "--run-id=o1", "ours.v1")
        self.assertTrue(attempt.cancel_requested())
        attempt.release()

    def test_it_retries_our_run(self) -> None:
        """It takes up a failed run of ours where it stopped, with the params and outputs that the run had."""
        ours = self.write(RunState.FAILED, NodeState.FAILED)
        self.dagu("retry", "--run-id=o1", "ours.v1")
        status = self.status(self.run_ref)
        self.assertEqual(status.state, RunState.SUCCEEDED)
        self.assertEqual(status.node("one").stdout, ours.node("one").stdout)
        self.assertEqual(status.outputs, {"ONE_OUT": "hello bar", "TWO_OUT": "world hello bar"})
        self.assertEqual(status.params, ("FOO=given",))
        self.assertEqual(len(list(self.home.glob("data/dag-runs/ours*/dag-runs/*/*/*/*/attempt_*"))), 2)

    def test_it_executes_what_we_enqueued(self) -> None:
        """It executes a queued run of ours, as its scheduler does, with the params given."""
        status = RunStatus(self.run_ref, self.run_ref, RunState.QUEUED, params=("FOO=given",))
        self.runs.enqueue(self.dag, status, "shared-q")
        self.assertIn("Queued", self.dagu("status", "--run-id=o1", "ours.v1"))
        self.dagu("retry", "--run-id=o1", "-q", "ours.v1")
        status = self.status(self.run_ref)
        self.assertEqual(status.state, RunState.SUCCEEDED)
        self.assertEqual(status.outputs["TWO_OUT"], "world hello given")

    def test_it_takes_our_item_out_of_the_queue(self) -> None:
        """Its dequeue command finds our item."""
        self.runs.enqueue(self.dag, RunStatus(self.run_ref, self.run_ref), "shared-q")
        self.dagu("dequeue", "shared-q", "--dag-run=ours.v1:o1")
        self.assertEqual(self.runs.queue.items(), [])

    def test_we_read_its_run(self) -> None:
        """Its runs, called ones included, are read with all that we know of; its snapshot could be executed by us."""
        self.dagu("start", "--run-id=s1", str(self.home / "dags" / "sample.yaml"))
        run = RunRef("sample.v1", "s1")
        status = self.status(run)
        self.assertEqual((status.state, status.root, status.params), (RunState.SUCCEEDED, run, ("FOO=bar", "NUM=2")))
        self.assertEqual({node.state for node in status.nodes}, {NodeState.SUCCEEDED})
        self.assertEqual((status.outputs["ONE_OUT"], status.outputs["TWO_OUT"]), ("hello bar", "script"))
        self.assertEqual(Path(status.node("one").stdout).read_text(), "hello bar\n")
        (child,) = status.node("sub").children
        called = self.status(RunRef("child", child.run_id), run)
        self.assertEqual((called.state, called.parent, called.outputs), (RunState.SUCCEEDED, run, {"R": "got 5"}))
        self.assertEqual(self.runs.latest_run("sample.v1"), run)
        dag = self.runs.read_dag(run, run)
        assert dag
        self.assertEqual((dag.queue_name, dag.tags, dag.env, dag.type), ("shared-q", ("a", "b"), ("X=1",), "graph"))
        self.assertEqual(dag.step("one").commands[0].text, "echo hello $FOO")
        self.assertEqual(dag.step("two").output, Output("TWO_OUT", "second"))
        self.assertEqual(dag.step("sub").child, ChildCall("child", 'P="5"'))
        self.assertEqual(dag.local_dags["child"].step("c1").output, Output("R"))
        self.assertEqual(dag.yaml_text, FILE)

    def test_we_read_the_whole_language_from_its_snapshot(self) -> None:
        """The snapshot that it writes of a file says the same as the file does to us."""
        path = self.home / "dags" / "whole.yaml"
        path.write_text(WHOLE)
        self.dagu("start", "--run-id=w1", str(path))
        (snapshot,) = self.home.glob("data/dag-runs/whole/**/dag.json")
        theirs = decode_dag(snapshot.read_bytes(), str(snapshot))
        ours = load_dag(WHOLE, "whole.yaml", location=str(path))
        self.assertEqual(theirs.handlers, ours.handlers)
        for one, other in zip(theirs.steps, ours.steps, strict=True):
            self.assertEqual(one, other)
        # It writes the directory, the child's shell, and what a setting that is off stands for.
        self.assertEqual(
            replace(theirs, working_dir="", base_dir="", local_dags={}, otel={"enabled": False, **theirs.otel}),
            replace(
                ours,
                base_dir="",
                local_dags={},
                registry_auths={**ours.registry_auths, "ghcr.io": {"auth": "tok"}},
            ),
        )
        self.assertEqual(theirs.local_dags["child"].steps, ours.local_dags["child"].steps)

    def test_it_reads_the_whole_language_from_our_snapshot(self) -> None:
        """It takes up a run of ours that asks for retries, conditions and handlers, and does all of it."""
        self.dag = load_dag(
            """
name: ours.v1
params: FOO=bar
handlerOn:
  success: {command: echo well done, output: SAID}
  abort: {command: echo stopped}
steps:
  - name: one
    command: echo one
  - name: two
    command: test -e again || { touch again; exit 3; }
    retryPolicy: {limit: 2, intervalSec: 0, exitCode: [3]}
    preconditions: [{condition: "$FOO", expected: given}]
  - {name: never, command: exit 1, preconditions: ["false"], continueOn: skipped}
  - {name: last, command: exit 4, continueOn: {exitCode: 4, markSuccess: true}}
""",
            "ours.yaml",
            location=str(self.home / "ours.yaml"),
        )
        self.run_ref = RunRef("ours.v1", "o1")
        attempt = self.runs.begin(self.dag, self.run_ref, self.run_ref, new=True)
        nodes = tuple(NodeStatus(step, NodeState.NOT_STARTED) for step in self.dag.steps)
        status = RunStatus(self.run_ref, self.run_ref, RunState.FAILED, nodes=nodes, params=("FOO=given",))
        attempt.close(status, [])
        self.dagu("retry", "--run-id=o1", "ours.v1")
        status = self.status(self.run_ref)
        self.assertEqual(
            [(node.step.name, node.state, node.retry_count) for node in status.nodes],
            [
                ("one", NodeState.SUCCEEDED, 0),
                ("two", NodeState.SUCCEEDED, 1),
                ("never", NodeState.SKIPPED, 0),
                ("last", NodeState.SUCCEEDED, 0),
            ],
        )
        last = json.loads(max(self.home.glob("data/dag-runs/ours*/**/attempt_*/status.jsonl")).read_text())
        self.assertEqual(last["onSuccess"]["outputVariables"], {"SAID": "SAID=well done"})
        self.assertEqual(last["onCancel"]["status"], 0)

    def test_we_read_its_queue(self) -> None:
        """Its queued run is seen in its queue, and can be begun by us with its own log."""
        self.dagu("enqueue", "--run-id=q1", str(self.home / "dags" / "sample.yaml"), "--", "FOO=given")
        run = RunRef("sample.v1", "q1")
        self.assertEqual(self.runs.queue.items(), [("shared-q", run)])
        queued = self.status(run)
        self.assertEqual((queued.state, queued.params[0]), (RunState.QUEUED, "FOO=given"))
        dag = self.runs.read_dag(run, run)
        assert dag
        attempt = self.runs.begin(dag, run, run)
        self.assertEqual(str(attempt.place.log), queued.log)
        self.assertEqual(self.runs.liveness.running("shared-q"), 1)
        attempt.close(replace(queued, state=RunState.SUCCEEDED), [])
        self.assertIn("Succeeded", self.dagu("status", "--run-id=q1", "sample.v1"))
