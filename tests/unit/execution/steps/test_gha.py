"""GitHub actions, with a scripted program in the place of act."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, cast

from twisted.trial.unittest import TestCase

from txdagu.model.dag import Command, Output, Secret, Step
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState
from txdagu.testing.steps import StepHarness

# Prints its arguments and what it finds in the workflow, the directory of settings, and the environment.
ACT = """\
#!/bin/sh
for argument in "$@"; do
  echo "$argument" | sed "s,$XDG_CONFIG_HOME,TMP,"
  case "$argument" in --workflows=*) workflow="${argument#*=}";; --*-file=*) wc -c < "${argument#*=}" >&2;; esac
done
echo "MARK"
cat "$workflow"
test -f "$XDG_CONFIG_HOME/act/actrc" || exit 9
echo "$XDG_CONFIG_HOME" > place
echo "token ${#TOKEN}" >&2
exit ${CODE:-0}
"""


class GhaTests(TestCase):
    def setUp(self) -> None:
        """A directory with the program, and an engine that finds it there."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real processes

        self.directory = Path(mkdtemp())
        self.addCleanup(rmtree, self.directory)
        (self.directory / "bin").mkdir()
        self.act = self.directory / "bin" / "act"
        self.act.write_text(ACT)
        self.act.chmod(0o755)
        path = f"{self.directory / 'bin'}:/usr/bin:/bin"
        self.harness = StepHarness(str(self.directory), cast("Any", reactor), {"PATH": path, "HIDDEN": "abc"})

    async def run_action(
        self, params: str = "", env: tuple[str, ...] = (), **config: Any
    ) -> tuple[NodeStatus, list[str], dict[str, Any]]:
        """Node, arguments, and workflow."""
        step = Step(
            "a",
            type="gha",
            commands=(Command("actions/${NAME}@v1"),),
            params=params,
            config=config,
            env=env,
            output=Output("O"),
        )
        secrets = (Secret("TOKEN", "env", "HIDDEN"),)
        node, out, self.err = await self.harness.run_step(step, params="NAME=hello WHO=you", secrets=secrets)
        arguments, _, workflow = out.partition("MARK\n")
        return node, arguments.splitlines(), json.loads(workflow or "{}")

    async def test_action(self) -> None:
        """The action is the only step of a workflow; inputs are evaluated, GitHub's expressions are left alone."""
        node, arguments, workflow = await self.run_action('who="${WHO}" token="x-${{ secrets.TOKEN }}-${WHO}"')
        self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
        self.assertEqual(
            workflow["jobs"]["action"],
            {
                "runs-on": "dagu",
                "steps": [{"uses": "actions/hello@v1", "with": {"who": "you", "token": "x-${{ secrets.TOKEN }}-you"}}],
            },
        )
        self.assertEqual(
            arguments,
            [
                "push",
                "--workflows=TMP/workflow.yml",
                "--eventpath=TMP/event.json",
                f"--directory={self.directory}",
                *(f"--{kind}-file=TMP/empty" for kind in ("secret", "env", "var", "input")),
                "--platform=dagu=node:24-bookworm",
                "--pull=false",
                "--rebuild=false",
                "--secret=TOKEN",
            ],
        )
        self.assertIn("token 3", self.err)
        self.assertFalse(Path((self.directory / "place").read_text().strip()).exists())  # noqa: ASYNC240

    async def test_options(self) -> None:
        """Each option of the step is one of act's."""
        _, arguments, _ = await self.run_action(
            runner="${WHO}:1",
            autoRemove="true",
            reuseContainers=True,
            privileged=True,
            forceRebuild=True,
            network="host",
            githubInstance="git.example.org",
            dockerSocket="unix:///x",
            containerOptions="--cpus 1",
            artifacts={"path": "/a", "port": 5},
            capabilities={"add": ["SYS_PTRACE", "X"], "drop": "Y"},
        )
        self.assertEqual(
            arguments[8:],
            [
                "--platform=dagu=you:1",
                "--pull=false",
                "--rebuild=true",
                "--rm",
                "--reuse",
                "--privileged",
                "--network=host",
                "--github-instance=git.example.org",
                "--container-daemon-socket=unix:///x",
                "--container-options=--cpus 1",
                "--artifact-server-path=/a",
                "--artifact-server-port=5",
                "--container-cap-add=SYS_PTRACE",
                "--container-cap-add=X",
                "--container-cap-drop=Y",
                "--secret=TOKEN",
            ],
        )

    async def test_failures(self) -> None:
        """An action that fails, one that cannot be run here, and what is wrong with the step, are told in one sentence."""
        node, _, _ = await self.run_action(env=("CODE=3",))
        self.assertTrue(node.error.startswith('failed to execute step "a": exit status 3\n'), node.error)
        node, _, _ = await self.run_action("bare")
        self.assertIn("inputs of an action have names: write NAME: bare into params", node.error)
        node, _, _ = await self.run_action(capabilities=["X"], autoRemove="maybe")
        self.assertIn("gha config: capabilities must be a mapping with add and drop", node.error)
        self.assertIn("gha config: autoRemove must be true or false, got 'maybe'", node.error)
        self.act.unlink()
        node, _, _ = await self.run_action()
        self.assertEqual(
            node.error,
            'failed to execute step "a": a GitHub action is run by the program act, which is not in PATH: install it from '
            "https://nektosact.com, and Docker, which it runs actions in",
        )
