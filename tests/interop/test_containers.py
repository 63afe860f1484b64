"""
Steps in containers through Dagu 1.30.2 and through us, over one Docker engine: the same statuses, outputs, logs and errors.

Each file in ``container_dags`` runs once in each program, as in ``test_differential``. The engine is one of our own, without
network (`apt-get install docker.io busybox-static`, as root); the container ``company`` runs in it all the time. Where no
engine can be started these tests are skipped.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from dataclasses import replace
from os import environ
from pathlib import Path
from typing import Any, cast
from unittest import TestCase, skipIf, skipUnless

import pytest
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase as TrialCase

from txdagu.execution.request import RunRequest
from txdagu.model.container import Container
from txdagu.model.dag import Command, Dag, Step
from txdagu.model.run import RunRef
from txdagu.model.status import NodeState
from txdagu.testing.differential.cases import read_cases
from txdagu.testing.differential.programs import Result, run_both
from txdagu.testing.differential.verdicts import verdict
from txdagu.testing.dockerd import IMAGE, OwnEngine, lacking
from txdagu.testing.steps import StepHarness

REFERENCE = environ.get("TXDAGU_REFERENCE", "")
DIRECTORY = Path(__file__).parent / "container_dags"
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"
CASES = {case.name: case for case in read_cases(DIRECTORY)}


class CatalogueTests(TestCase):
    def test_deviations_are_listed(self) -> None:
        """The documentation lists the files that differ on purpose, with the same reasons."""
        text = COMPATIBILITY.read_text("utf-8")
        pattern = r"^\| \[`(\w+)`\]\(\.\./tests/interop/container_dags/\1\.yaml\) \| (.*) \|$"
        listed = dict(re.findall(pattern, text, re.MULTILINE))
        self.assertEqual(listed, {case.name: case.deviates for case in CASES.values() if case.deviates})


def _engine(add_cleanup: Any) -> OwnEngine:
    directory = Path(tempfile.mkdtemp(prefix="eng"))
    add_cleanup(shutil.rmtree, directory, ignore_errors=True)
    engine = OwnEngine(directory)
    add_cleanup(engine.stop)
    engine.start()
    engine.begin("company", "sleep", "1000")
    return engine


@pytest.mark.optional
@skipIf(lacking(), lacking())
class ContainerTests(TrialCase):
    """One engine for all; all files have run before the first test."""

    engine: OwnEngine
    theirs: dict[str, Result]
    ours: dict[str, Result]
    left: list[str]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the engine, and run all files in both programs at once."""
        cls.engine = _engine(cls.addClassCleanup)
        if not Path(REFERENCE).is_file():
            return
        cases = [replace(case, env={**case.env, "DOCKER_HOST": cls.engine.host}) for case in CASES.values()]
        cls.theirs, cls.ours = run_both(REFERENCE, cases)

    def check(self, name: str) -> None:
        """Compare what came of one file."""
        wrong = verdict(CASES[name], self.theirs[name], self.ours[name])
        self.assertFalse(wrong, wrong)

    async def test_a_stop_ends_what_runs_in_containers(self) -> None:
        """Nothing of a stopped run works on: not its own container, not the command in somebody else's, which stays."""
        from twisted.internet import reactor  # noqa: TID251  # trial's, for real sockets

        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        commands = (Command("sh -c 'trap \"echo got; exit 9\" TERM; echo up; sleep 77 & wait'"),)
        own = Step("own", type="docker", commands=commands, container=Container(image=IMAGE, network="none"))
        other = Step("other", type="docker", commands=commands, container=Container(execute_in="company"))
        dag = Dag("d", (own, other), type="graph", env=(f"DOCKER_HOST={self.engine.host}",))
        harness = StepHarness(directory, reactor)
        run = harness.engine.start(RunRequest(dag, RunRef("d", "r"), RunRef("d", "r"), working_dir=directory))
        deadline = time.monotonic() + 20
        while not (nodes := run.status.nodes) or not all(_printed(node.stdout, "up") for node in nodes):
            self.assertLess(time.monotonic(), deadline, str(run.status))
            await deferLater(cast("Any", reactor), 0.05)
        run.cancel("enough")
        status = await run.wait()
        self.assertEqual([node.state for node in status.nodes], [NodeState.ABORTED] * 2)
        self.assertTrue(all(_printed(node.stdout, "up\ngot") for node in status.nodes))
        self.assertNotIn("sleep 77", self.engine.processes("company"))
        self.assertEqual(self.engine.containers("dagu.run"), [])

    def test_nothing_is_left(self) -> None:
        """After all files, no container of ours is there, also of those that could not be started."""
        self.assertEqual(self.engine.containers("dagu.run"), [])
        self.assertIn("company", self.engine.containers())


def _printed(path: str, text: str) -> bool:
    return bool(path) and text in Path(path).read_text("utf-8")


def _add_tests() -> None:
    for name, case in CASES.items():

        def test(self: ContainerTests, name: str = name) -> None:
            self.check(name)

        test.__doc__ = f"Section {', '.join(map(str, case.sections))}: {case.trap}"
        test.__name__ = f"test_{name}"
        decorated = skipUnless(Path(REFERENCE).is_file(), "TXDAGU_REFERENCE does not name the released program")(test)
        setattr(ContainerTests, test.__name__, pytest.mark.reference(decorated))


_add_tests()
