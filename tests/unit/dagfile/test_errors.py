"""Every kind of error in a DAG file: its place to the column, its words, and its advice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.dagfile.language import DAG, LEVELS, STEP
from txdagu.model.errors import InvalidInputError

LONG = "n" * 41
INNER = sorted({spelling for level in LEVELS for spelling in level.spellings})

# A text, and each of its problems as place, part of the message, and part of the advice.
BAD: list[tuple[str, list[tuple[str, str, str]]]] = [
    # Documents
    ("", [("", "no DAGs found in file", "steps:")]),
    ("a: [", [("1:5", "invalid YAML: did not find expected node content", "close the bracket")]),
    ("name: a\nname: b\n", [("2:1", 'mapping key "name" already defined at line 1', "remove")]),
    ("- a\n", [("1:1", "a DAG must be a mapping of fields, got list", "begin with")]),
    ("steps: [a]\n---\nsteps: [b]\n", [("3:1", "DAG at index 1 must have a name in multi-DAG file", "add name:")]),
    (
        "steps: [a]\n---\nname: x\n---\nName: x\n",
        [("5:7", "field 'name': duplicate DAG name \"x\" found, as in line 3", "")],
    ),
    (
        "name: a b\n---\nname: c\nsteps: 1\n",
        [("1:7", "must only contain", ""), ("4:8", "steps must be an array or a map, got int", "")],
    ),
    # Keys
    ("scheduel: x\n", [("1:1", "has invalid keys: scheduel", "did you mean 'schedule'?")]),
    ("name: a\nmax_activ_runs: 1\n", [("2:1", "has invalid keys: max_activ_runs", "did you mean 'maxActiveRuns'?")]),
    ("zzz: 1\n", [("1:1", "has invalid keys: zzz", "")]),
    ("depends: a\n", [("1:1", "has invalid keys: depends", "'depends' belongs to a step, not to a DAG")]),
    ("steps:\n  - comand: a\n    command: b\n", [("2:5", "has invalid keys: comand", "did you mean 'command'?")]),
    (
        "steps:\n  - command: a\n    steps: []\n",
        [("3:5", "has invalid keys: steps", "belongs to a DAG, not to a step")],
    ),
    (
        "workingDir: a\nworking_dir: b\n",
        [("2:1", "field 'workingDir' is given twice, as 'workingDir' and as 'working_dir'", "remove one")],
    ),
    ("steps: [a]\nSteps: [b]\n", [("2:1", "field 'steps' is given twice, as 'steps' and as 'Steps'", "remove one")]),
    # Fields that are left out
    # Types of values
    ("name: 2024\n", [("1:7", "field 'name': expected type 'string', got unconvertible type 'int'", 'write "2024"')]),
    ("group: [a]\n", [("1:8", "field 'group': expected type 'string', got unconvertible type 'list'", "")]),
    (
        "workingDir: {a: 1}\n",
        [("1:13", "field 'workingDir': expected type 'string', got unconvertible type 'map'", "")],
    ),
    (
        "queue: true\n",
        [("1:8", "field 'queue': expected type 'string', got unconvertible type 'bool'", 'write "true"')],
    ),
    (
        "maxActiveRuns: '5'\n",
        [("1:16", "expected type 'int', got unconvertible type 'string'", "without quotes")],
    ),
    ("maxActiveSteps: 1.5\n", [("1:17", "expected type 'int', got unconvertible type 'float'", "")]),
    ("histRetentionDays: true\n", [("1:20", "expected type 'int', got unconvertible type 'bool'", "")]),
    (
        "maxCleanUpTimeSec: -1\n",
        [("1:20", "field 'maxCleanUpTimeSec': maxCleanUpTimeSec must be >= 0 (value: -1)", "")],
    ),
    ("maxOutputSize: 0\n", [("1:16", "field 'maxOutputSize': maxOutputSize must be >= 1 (value: 0)", "")]),
    ("tags: {a: 1}\n", [("1:7", "field 'tags': expected type 'string', got unconvertible type 'map'", "")]),
    ("tags: [a, [b], ]\n", [("1:11", "field 'tags': a list of strings cannot hold a list", "")]),
    # Names and kinds of DAGs
    (f"name: {LONG}\n", [("1:7", f"field 'name': name must be less than 40 characters (value: {LONG})", "it has 41")]),
    (
        "name: a/b\n",
        [("1:7", "name must only contain alphanumeric characters, dashes, dots, and underscores (value: a/b)", "")],
    ),
    ("type: tree\n", [("1:7", "field 'type': invalid type: tree (must be one of: graph, chain)", "")]),
    ("type: agent\n", [("1:7", "field 'type': type 'agent' is reserved", "write chain or graph")]),
    # Schedules
    (
        "schedule: '* * * *'\n",
        [("1:11", "invalid schedule: expected exactly 5 fields, found 4: '* * * *'", "write minute")],
    ),
    (
        "schedule: ['0 1 * * *', '60 1 * * *']\n",
        [("1:25", "invalid schedule: '60' is no minute (0 to 59)", "write minute")],
    ),
    ("schedule: '@daily'\n", [("1:11", "invalid schedule: expected exactly 5 fields, found 1", "write minute")]),
    (
        "schedule: {start: x, begin: y}\n",
        [
            ("1:19", "invalid schedule: expected exactly 5 fields, found 1", ""),
            ("1:22", 'unknown key "begin" (expected start, stop, or restart)', ""),
        ],
    ),
    ("schedule: 5\n", [("1:11", "field 'schedule': expected type 'string', got unconvertible type 'int'", "")]),
    # env, params, labels
    ("env: A=1\n", [("1:6", "field 'env': env must be map or array, got string", "write NAME: value")]),
    ("env: [A=1, X]\n", [("1:12", "field 'env': env[1]: invalid format \"X\" (expected KEY=value)", "")]),
    (
        "env: [=1, 5]\n",
        [
            ("1:7", 'env[0]: invalid format "=1" (expected KEY=value)', ""),
            ("1:11", 'env[1]: invalid format "5" (expected KEY=value)', ""),
        ],
    ),
    ("env: {A=B: 1}\n", [("1:7", "field 'env': a variable cannot be named 'A=B'", "")]),
    ("params: 5\n", [("1:9", "field 'params': invalid parameter value: 5", "write NAME: value")]),
    (
        "params: [A=1, 5, [x]]\n",
        [
            ("1:15", "field 'params': invalid parameter value: 5", "write NAME: value"),
            ("1:18", "field 'params': invalid parameter value: [x]", "write NAME: value"),
        ],
    ),
    ("params: {a b: 1}\n", [("1:10", "a param cannot be named 'a b'", "letters, digits")]),
    ("params: '[null]'\n", [("1:9", "invalid parameter value: item 1 is <nil>", "")]),
    (
        "workerSelector: gpu\n",
        [("1:17", "workerSelector must be a map of labels or the word local, got 'gpu'", "write for example")],
    ),
    (
        "workerSelector: {gpu: , zone: [a], '': x}\n",
        [
            ("1:23", "label 'gpu' needs a text, got null", 'write ""'),
            ("1:31", "label 'zone' needs a text, got list", 'write ""'),
            ("1:36", "a label needs a name", ""),
        ],
    ),
    # The list of steps
    ("steps: echo\n", [("1:8", "field 'steps': steps must be an array or a map, got string", "begin each step")]),
    (
        "steps: [a, 5, [b, ], [[c]]]\n",
        [("1:12", "invalid step data: int", ""), ("1:23", "invalid step data: list", "")],
    ),
    ("steps:\n  -\n  - a\n", [("2:4", "invalid step data: null", "")]),
    ("steps: {a: echo}\n", [("1:12", "invalid step data: string", "write the step's fields below its name")]),
    ("steps: {a: {name: b, command: x}}\n", [("1:19", "the step is already named 'a' by its key (value: b)", "")]),
    # What a step runs
    ("steps:\n  - name: a\n", [("2:5", "step command is required", "add command, script, or call")]),
    ("steps: ['']\n", [("1:9", "field 'command': step command is empty", "")]),
    ("steps: [{command: ' '}]\n", [("1:19", "field 'command': step command is empty", "")]),
    ("steps: [{command: [' ', '']}]\n", [("1:19", "field 'command': step command is empty", "")]),
    ("steps: [{command: {a: 1}}]\n", [("1:19", "step command must be an array of strings or a string, got map", "")]),
    ("command: 5\n", [("1:10", "step command must be an array of strings or a string, got int", "")]),
    (
        "steps: [{command: [a, [b]]}]\n",
        [("1:23", "command array elements must be strings or primitive types, got list", "")],
    ),
    ("steps: [{command: [a, b], script: c}]\n", [("1:19", "only supports a single command next to a script", "")]),
    (
        'steps: [{command: "a\\nb", script: c}]\n',
        [("1:19", "a command of several lines is a script itself", "keep one")],
    ),
    (
        "steps: [{script: 5}]\n",
        [("1:18", "field 'script': expected type 'string', got unconvertible type 'int'", "")],
    ),
    ('steps: [{script: ""}]\n', [("1:9", "step command is required", "")]),
    (
        "steps: [{command: a, output: [b]}]\n",
        [("1:30", "field 'output': output must be a string or object, got list", "")],
    ),
    ("steps: [{command: a, output: {key: b}}]\n", [("1:30", "output.name is required when using object form", "")]),
    (
        "steps: [{command: a, output: {name: 5, omit: 1}}]\n",
        [
            ("1:30", "output.name is required when using object form", ""),
            ("1:37", "field 'output.name': expected type 'string'", 'write "5"'),
            ("1:46", "field 'output.omit': expected type 'bool', got unconvertible type 'int'", ""),
        ],
    ),
    # Calls
    (
        "steps: [{call: c, command: a}]\n",
        [("1:28", 'executor type "dag" does not support command field', "runs nothing itself")],
    ),
    (
        "steps: [{run: c, script: a, shell: sh}]\n",
        [
            ("1:26", 'executor type "dag" does not support script field', ""),
            ("1:36", 'executor type "dag" does not support shell configuration', ""),
        ],
    ),
    (
        "steps: [{run: python train.py}]\n",
        [("1:15", "'python train.py' is not the name of a DAG", "write command to run a program")],
    ),
    ("steps: [{call: ''}]\n", [("1:16", "the name of the DAG to call is empty", "")]),
    (
        "steps: [{call: 5}]\n",
        [("1:16", "field 'call': expected type 'string', got unconvertible type 'int'", 'write "5"')],
    ),
    # Step types
    (
        "steps: [{type: chat, llm: , messages: }]\n",
        [
            ("1:9", "at least one message is required", ""),
            ("1:9", "provider and model are required", ""),
        ],
    ),
    ("steps: [{type: dag}]\n", [("1:9", 'step command is required: a step of type "dag" calls a DAG', "add call")]),
    (
        "steps: [{type: shell, executor: shell, command: a}]\n",
        [("1:33", "cannot use both 'type' and 'executor' fields", "keep type")],
    ),
    (
        "steps: [{executor: {typ: shell}, command: a}]\n",
        [("1:21", "executor has invalid key: typ", "did you mean 'type'?")],
    ),
    ("steps: [{executor: {type: 5}, command: a}]\n", [("1:27", "executor.type value must be string", "")]),
    ("steps: [{executor: 5, command: a}]\n", [("1:20", "field 'executor': expected type 'string'", "")]),
    ("steps: [{executor: {config: 5}, command: a}]\n", [("1:29", "executor.config value must be a map", "")]),
    # Names and ids of steps
    (
        f"steps: [{{name: {LONG}, command: a}}]\n",
        [("1:16", f"step name must be less than 40 characters (value: {LONG})", "it has 41")],
    ),
    (
        "steps:\n  - {name: a, command: x}\n  - {name: a, command: y}\n",
        [
            ("3:12", "step name must be unique, and line 2 has it too (value: a)", ""),
        ],
    ),
    (
        "steps: [{id: 1a, command: x}]\n",
        [("1:14", "field 'id': invalid step ID format (value: 1a)", "begin with a letter")],
    ),
    ("steps: [{id: StdOut, command: x}]\n", [("1:14", "step ID 'StdOut' is a reserved word", "")]),
    ("steps: [{id: a, command: x}, {id: a, command: y}]\n", [("1:35", "duplicate step ID: a", "")]),
    (
        "steps: [{id: b, command: x}, {name: b, command: y}]\n",
        [("1:14", "step ID 'b' conflicts with another step's name", "")],
    ),
    # Order
    (
        "steps:\n  - name: load\n    command: x\n    depends: [laod]\n",
        [
            ("4:15", "field 'depends': step load depends on non-existent step laod", "did you mean 'load'?"),
        ],
    ),
    ("steps: [{name: a, command: x, depends: ''}]\n", [("1:40", "step a depends on non-existent step ", "")]),
    (
        "type: graph\nsteps:\n  - {name: a, command: x, depends: b}\n  - {name: b, command: x, depends: a}\n",
        [
            ("3:36", "cyclic plan detected: a -> b -> a", "each of these waits"),
        ],
    ),
    ("steps: [{name: a, command: x, depends: a}]\n", [("1:40", "cyclic plan detected: a -> a", "")]),
    (
        "steps:\n  - {name: a, command: x, depends: c}\n  - {name: b, command: x}\n  - {name: c, command: x}\n",
        [
            ("2:36", "cyclic plan detected: a -> b -> c -> a", "in a chain also for the step above"),
        ],
    ),
    (
        "type: graph\nsteps:\n  - {name: a, command: x, depends: a}\n  - {name: b, command: x, depends: b}\n",
        [
            ("3:36", "cyclic plan detected: a -> a", ""),
            ("4:36", "cyclic plan detected: b -> b", ""),
        ],
    ),
]


class ErrorTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each error is told at its line and column, with what is wrong and what to write instead, and nothing besides."""
        for text, expected in BAD:
            with pytest.raises(InvalidInputError) as caught:
                load_dag(text, "f.yaml")
            problems = caught.value.problems
            places = [f"f.yaml:{place}" if place else "f.yaml" for place, _, _ in expected]
            assert [problem.where for problem in problems] == places, (text, problems)
            for problem, (_, message, advice) in zip(problems, expected, strict=True):
                assert message in problem.message, text
                assert advice in problem.advice, text

    def test_name_from_the_file(self) -> None:
        """A file whose own name cannot name a DAG is told so at the beginning of the document."""
        with pytest.raises(InvalidInputError, match=r"^my file\.yaml:1:1: field 'name': name must only contain"):
            load_dag("steps: [ls]", "my file.yaml")
        with pytest.raises(InvalidInputError, match="must be less than 40 characters"):
            load_dag("steps: [ls]", "f.yaml", location=f"/dags/{LONG}.yaml")
        assert load_dag("name: a\nsteps: [ls]", "my file.yaml").name == "a"

    def test_problems_through_anchors_are_told_once(self) -> None:
        """What was written once and used twice is one problem."""
        with pytest.raises(InvalidInputError) as caught:
            load_dag("steps:\n  - &a {command: x, env: y}\n  - {<<: *a, name: b}\n", "f.yaml")
        assert [problem.where for problem in caught.value.problems] == ["f.yaml:2:26"]

    @settings(deadline=None)
    @given(
        st.recursive(
            st.sampled_from(
                [
                    "a",
                    "b",
                    "'5'",
                    "5",
                    "1.5",
                    "true",
                    "",
                    "local",
                    "dag",
                    "A=1",
                    "x y",
                    "'* * * * *'",
                    "graph",
                    "[]",
                    "{}",
                ]
            ),
            lambda inner: (
                st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
                | st.dictionaries(
                    st.sampled_from([*DAG.spellings, *STEP.spellings, *INNER, "zz"]), inner, max_size=5
                ).map(lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}")
            ),
            max_leaves=15,
        )
    )
    def test_any_values(self, text: str) -> None:
        """Any values in any fields give a DAG or problems with places, never another exception."""
        for document in (text, f"steps: {text}", f"steps: [{text or 'a'}]"):
            try:
                load_dag(document, "f.yaml")
            except InvalidInputError as error:
                assert all(problem.where.startswith("f.yaml") for problem in error.problems)
