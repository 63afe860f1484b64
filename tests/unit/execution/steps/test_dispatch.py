"""From a step's type to what executes it."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import twisted.plugins
from txdagu.execution.steps import registry
from txdagu.execution.steps.interfaces import IStepType, StepTraits
from txdagu.execution.steps.plugin import StepType
from txdagu.model.dag import Command, Dag, Output, Step
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState
from txdagu.testing.engine import EngineHarness

PLUGIN = """
from txdagu.execution.steps.plugin import StepTraits, StepType
one = StepType("greet", "hail", target="acme_steps:greet", traits=StepTraits(command=True))
two = StepType("http", target="acme_steps:greet", traits=StepTraits())
three = StepType("absent", target="acme_none:run", traits=StepTraits())
"""
MODULE = """
from txdagu.execution.plan import StepEnd
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState

async def greet(context):
    config = await context.config()
    if config.flag("fail"):
        raise DaguError("no mood")
    text = await context.evaluator.command(context.step.commands[0].text)
    await context.print(f"hello {text}{config.text('mark')}\\n")
    return StepEnd(NodeState.SUCCEEDED, outputs={"WHO": text})
"""


class DispatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A package with a plugin on the path, as if it were installed."""
        self.directory = mkdtemp()
        self.addCleanup(rmtree, self.directory)
        plugins = Path(self.directory, "site", "twisted", "plugins")
        plugins.mkdir(parents=True)
        (plugins / "acme_plugin.py").write_text(dedent(PLUGIN))
        Path(self.directory, "site", "acme_steps.py").write_text(dedent(MODULE))
        self.patch(twisted.plugins, "__path__", [*twisted.plugins.__path__, str(plugins)])
        self.patch(sys, "path", [str(plugins.parents[1]), *sys.path])
        self.patch(registry, "_found", {})
        for name in ("acme_steps", "twisted.plugins.acme_plugin"):
            self.addCleanup(sys.modules.pop, name, None)

    def run_step(self, step: Step, params: str = "", size: int = 1000) -> NodeStatus:
        harness = EngineHarness(self.directory)
        run = harness.start(Dag("d", (step,), max_output_size=size), params=params)
        return self.successResultOf(run.wait()).nodes[0]

    def test_plugin(self) -> None:
        """A type of another package is found; its config is evaluated, its output captured, its own outputs kept."""
        for name in ("greet", "hail"):
            step = Step("a", type=name, commands=(Command("$WHOM"),), config={"mark": "${MARK}"}, output=Output("TEXT"))
            node = self.run_step(step, "WHOM=you MARK=!")
            self.assertIs(node.state, NodeState.SUCCEEDED, node.error)
            self.assertEqual(node.outputs, {"WHO": "you", "TEXT": "hello you!"})

    def test_failure(self) -> None:
        """What a type raises fails its step with that text; what was printed is captured all the same."""
        step = Step("a", type="greet", commands=(Command("x"),), config={"fail": True}, output=Output("TEXT"))
        node = self.run_step(step)
        self.assertIs(node.state, NodeState.FAILED)
        self.assertEqual(node.error, 'failed to execute step "a": no mood')
        self.assertEqual(node.outputs, {"TEXT": ""})

    def test_output_limit(self) -> None:
        """Too much output fails a step of any type."""
        node = self.run_step(Step("a", type="greet", commands=(Command("x"),), output=Output("TEXT")), size=3)
        self.assertEqual(node.error, "failed to capture output: output exceeded maximum size limit of 3 bytes")

    def test_unregistered(self) -> None:
        """An unknown type fails at run time, with the names that are known."""
        node = self.run_step(Step("a", type="gret"))
        self.assertRegex(
            node.error,
            r'^failed to execute step "a": executor type "gret" is not registered: known here are absent, .*, greet, hail, '
            r".*, shell, .*, subworkflow; install the package that provides it$",
        )

    def test_own_names(self) -> None:
        """A name that comes with us is not taken by somebody else's plugin."""
        found = registry.find_step_type("http")
        assert isinstance(found, StepType)
        self.assertTrue(found.ours)

    def test_module_missing(self) -> None:
        """A plugin whose module is not there fails its step and says which."""
        node = self.run_step(Step("a", type="absent"))
        self.assertIn(
            "the step type absent cannot be loaded from acme_none:run: No module named 'acme_none'", node.error
        )

    def test_traits(self) -> None:
        """Fields that a type does not take are refused by name."""
        step = Step("a", type="greet", commands=(Command("x"),), script="y", shell="sh")
        node = self.run_step(step)
        self.assertIn('executor type "greet" does not support script field, shell configuration', node.error)
        node = self.run_step(Step("a", type="greet", commands=(Command("x"), Command("y"))))
        self.assertIn('executor type "greet" only supports a single command', node.error)

    def test_commands_need_no_plugins(self) -> None:
        """Runs of commands never look for plugins."""
        self.patch(registry, "_installed", lambda: self.fail("plugins were looked for"))
        for name in ("", "shell", "command"):
            self.assertIs(self.run_step(Step("a", type=name, commands=(Command("true"),))).state, NodeState.SUCCEEDED)

    def test_interface(self) -> None:
        """The provider for plugins provides what it says."""
        verifyObject(IStepType, StepType("x", target="a:b", traits=StepTraits()))
