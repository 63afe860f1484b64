"""What the steps of a file become: what they run, their names, their order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.dagfile.commands import command
from txdagu.model.dag import ChildCall, Command, Output, Step
from txdagu.model.labels import WorkerSelector

# A sentence, one step in flow or block form, the attribute, and its value.
STEPS: list[tuple[str, str, str, Any]] = [
    (
        "a text is a command",
        "echo 'a b' | cat",
        "commands",
        (Command("echo 'a b' | cat", "echo", ("a b", "|", "cat")),),
    ),
    (
        "a list is several commands",
        "{command: [ls -l, '', 5, true]}",
        "commands",
        (Command("ls -l", "ls", ("-l",)), Command("5", "5"), Command("true", "true")),
    ),
    ("several lines are a script", '{command: "\\na\\nb\\n"}', "script", "a\nb"),
    ("one line in a block is a command", '{command: "\\na\\n"}', "commands", (Command("a", "a"),)),
    ("a script is trimmed", '{script: "\\n  a\\n"}', "script", "a"),
    (
        "a command may stand beside a script",
        "{command: sed -n 2p, script: x}",
        "commands",
        (Command("sed -n 2p", "sed", ("-n", "2p")),),
    ),
    ("an id", "{id: a-1, command: x}", "id", "a-1"),
    ("a description", "{description: d, command: x}", "description", "d"),
    ("a name with blanks", "{name: ' load data ', command: x}", "name", "load data"),
    ("a name in other letters", "{NAME: n, Command: x}", "name", "n"),
    ("a shell", "{shell: bash -e, command: x}", "shell_args", ("-e",)),
    ("a directory", "{dir: a, command: x}", "dir", "a"),
    ("a directory by its newer word", "{dir: a, workingDir: b, command: x}", "dir", "b"),
    ("a directory in Dagu 2", "{working_dir: b, command: x}", "dir", "b"),
    ("env", "{env: [A: 1, B=2], command: x}", "env", ("A=1", "B=2")),
    ("an output", "{output: $R, command: x}", "output", Output("R")),
    ("an output as a map", "{output: {name: R, key: r, omit: true}, command: x}", "output", Output("R", "r", True)),
    ("no output", "{output: '', command: x}", "output", None),
    ("a called DAG", "{call: child}", "child", ChildCall("child")),
    ("its older word", "{run: child}", "child", ChildCall("child")),
    ("the newer word wins", "{run: old, call: new}", "child", ChildCall("new")),
    ("a call runs nothing itself", "{call: child}", "commands", ()),
    (
        "params of a call as text",
        "{call: c, params: 'A=1 B=\"x y\" ${Z}'}",
        "child",
        ChildCall("c", 'A="1" B="x y" "${Z}"'),
    ),
    ("params of a call as a list", "{call: c, params: [{A: 1}, B=2]}", "child", ChildCall("c", 'A="1" B="2"')),
    (
        "params of a call as a map",
        "{call: c, params: {b: 'say \"hi\"', a: true}}",
        "child",
        ChildCall("c", 'a="true" b="say \\"hi\\""'),
    ),
    ("labels", "{call: c, workerSelector: {gpu: true}}", "worker_selector", WorkerSelector({"gpu": "true"})),
    ("labels in Dagu 2", "{call: c, worker_selector: {gpu: x}}", "worker_selector", WorkerSelector({"gpu": "x"})),
    ("here", "{call: c, workerSelector: local}", "worker_selector", WorkerSelector(local=True)),
    ("no labels on a command", "{command: x, workerSelector: {}}", "worker_selector", WorkerSelector()),
    ("a type", "{type: shell, command: x}", "name", "shell_1"),
    ("a type by its older word", "{executor: command, command: x}", "name", "command_1"),
    ("a type by its older word, as a map", "{executor: {type: command, config: {}}, command: x}", "name", "command_1"),
    ("a map without a type", "{executor: {config: }, command: x}", "name", "cmd_1"),
    ("a type of a call", "{type: dag, call: c}", "child", ChildCall("c")),
    ("a computed name of a call", "{call: 'team ${X}'}", "child", ChildCall("team ${X}")),
    ("a file with blanks in its name", "{call: my dags/a.yaml}", "child", ChildCall("my dags/a.yaml")),
    (
        "refused fields that ask for nothing",
        "{command: x, timeoutSec: 0, mailOnError: false, retryPolicy: , preconditions: []}",
        "name",
        "cmd_1",
    ),
]

# A sentence, the text, and each step's name with what it waits for.
ORDERS: list[tuple[str, str, list[tuple[str, str]]]] = [
    (
        "a chain",
        "steps: [{name: a, command: x}, {name: b, command: x}, {name: c, command: x}]",
        [("a", ""), ("b", "a"), ("c", "b")],
    ),
    (
        "own dependencies add to the chain",
        "steps: [{name: a, command: x}, {name: b, command: x}, {name: c, command: x, depends: a}]",
        [("a", ""), ("b", "a"), ("c", "b a")],
    ),
    (
        "what is said twice counts once",
        "steps: [{name: a, command: x}, {name: b, command: x, depends: [a, a]}]",
        [("a", ""), ("b", "a")],
    ),
    (
        "an empty list frees a step",
        "steps: [{name: a, command: x}, {name: b, command: x, depends: []}, {name: c, command: x}]",
        [("a", ""), ("b", ""), ("c", "b")],
    ),
    ("null is absent", "steps: [{name: a, command: x}, {name: b, command: x, depends: }]", [("a", ""), ("b", "a")]),
    (
        "a graph",
        "type: graph\nsteps: [{name: a, command: x, depends: c}, {name: b, command: x}, {name: c, command: x, depends: [b]}]",
        [("a", "c"), ("b", ""), ("c", "b")],
    ),
    (
        "a list inside is parallel",
        "steps: [a, [b, {name: own, command: c}], d]",
        [("cmd_1", ""), ("cmd_2", "cmd_1"), ("own", "cmd_1"), ("cmd_3", "cmd_2 own")],
    ),
    ("a parallel list in a graph", "type: graph\nsteps: [a, [b, c]]", [("cmd_1", ""), ("cmd_2", ""), ("cmd_3", "")]),
    (
        "the map form has no chain",
        "steps:\n  b: {command: x}\n  a: {command: x, depends: b}\n  c: {command: x}",
        [("b", ""), ("a", "b"), ("c", "")],
    ),
    ("the map form may repeat the name", "steps: {a: {name: a, command: x}}", [("a", "")]),
    (
        "ids stand for names",
        "type: graph\nsteps: [{name: a b, id: ab, command: x}, {id: c, command: x, depends: [ab]}]",
        [("a b", ""), ("cmd_2", "a b")],
    ),
    (
        "one word may be name and id of a step",
        "steps: [{name: a, id: a, command: x}, {name: b, command: x, depends: a}]",
        [("a", ""), ("b", "a")],
    ),
    (
        "an entry that is a number",
        "type: graph\nsteps: [{name: '1', command: x}, {name: b, command: x, depends: [1]}]",
        [("1", ""), ("b", "1")],
    ),
    (
        "names are made from what a step runs",
        'type: graph\nsteps: [x, {script: x}, "a\\nb", {call: c}, {type: shell, script: x}, {run: d}]',
        [("cmd_1", ""), ("script_2", ""), ("script_3", ""), ("dag_4", ""), ("shell_5", ""), ("dag_6", "")],
    ),
    (
        "members of a group count up from their position",
        "type: graph\nsteps: [[a, b], c]",
        [("cmd_1", ""), ("cmd_2", ""), ("cmd_3", "")],
    ),
    (
        "a made name avoids a written one",
        "type: graph\nsteps: [a, {name: cmd_1, command: x}, {name: cmd_3, command: x}, d]",
        [("cmd_2", ""), ("cmd_1", ""), ("cmd_3", ""), ("cmd_4", "")],
    ),
    ("forty characters are allowed", f"steps: [{{name: {'n' * 40}, command: x}}]", [("n" * 40, "")]),
]


def _steps(text: str) -> tuple[Step, ...]:
    return load_dag(text, "f.yaml").steps


class StepTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each field of a step is read in each of its forms."""
        for sentence, text, attribute, value in STEPS:
            (step,) = _steps(f"steps:\n  - {text}\n")
            assert getattr(step, attribute) == value, sentence

    def test_words_of_a_command_whose_quotes_do_not_close(self) -> None:
        """A text with a lone quote is split at blanks, and its whole line stays for the shell."""
        assert command("echo it's") == Command("echo it's", "echo", ("it's",))


class OrderTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Names are made and dependencies written out by the rules of chains, graphs and groups."""
        for sentence, text, expected in ORDERS:
            assert [(step.name, " ".join(step.depends)) for step in _steps(text)] == expected, sentence

    def test_long_chain(self) -> None:
        """Thousands of steps are put in order without recursion and without comparing all with all."""
        steps = _steps("steps:\n" + "".join(f"  - name: s{i}\n    command: x\n" for i in range(3000)))
        assert steps[-1].depends == ("s2998",)

    @settings(deadline=None)
    @given(st.lists(st.booleans(), max_size=6))
    def test_made_names_are_unique(self, groups: list[bool]) -> None:
        """Whatever the shape of the list, no two made names are alike."""
        steps = _steps(f"steps: [{', '.join('[a, b]' if group else 'c' for group in groups)}]")
        assert len({step.name for step in steps}) == len(steps) == len(groups) + sum(groups)
