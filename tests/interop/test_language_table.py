"""Every field of the language in every shape, and every trap, has a file or a test that shows it."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import TestCase

from txdagu.dagfile import language
from txdagu.dagfile.fields import snake_case
from txdagu.testing.differential.usage import shapes_of, uses

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parent / "dags"
TABLE = Path(__file__).parent / "language.txt"

# Containers, ssh, models and the options of step types have tests of their own, with what they talk to.
_KEYS = """
dag step handlerOn executor condition continueOn retryPolicy repeatPolicy output parallel schedule params secret mailOn mail smtp
onWorkerLost
"""
LEVELS = [level for level in language.LEVELS if level.key in _KEYS.split()]

# What has surprised people who know other such languages, and the files in which both programs show it; a path is that of a test.
TRAPS = {
    "without a type, steps are a chain": "chain_is_default",
    "depends in a chain adds to the step before": "chain_adds_depends",
    "an empty list of depends frees a step of a chain": "chain_depends_empty",
    "a list of commands is several commands, not one with arguments": "command_list_is_several_commands",
    "octal and underscored integers, floats without a dot": "scalars_as_env",
    "yes and no are texts": "yes_is_a_string",
    "keys match in any case": "key_case_does_not_matter",
    "a key given twice is an error": "duplicate_key",
    "params and outputs are pasted before the shell sees a command": "value_pasted_without_quotes",
    "env of the DAG is left to the shell": "environment_is_left_to_the_shell",
    "references that touch a single quote are protected": "quote_touching_single_quote",
    "references in double quotes of their own are escaped": "own_double_quotes_escape",
    "backticks run in commands": "backticks_in_command",
    "backticks do not run in scripts": "script_keeps_backticks",
    "$(...) is never run by the engine": "dollar_parentheses_in_command",
    "${id.stdout} is a path": "step_reference_log_paths",
    "a param shadows an output of the same name": "output_shadowed_by_param",
    "-e is on by default": "errexit_by_default",
    "-e is on with the DAG's shell": "errexit_with_shell_of_dag",
    "-e is off with a shell of the step": "errexit_off_with_shell_of_step",
    "-e is off with a shebang": "script_with_shebang",
    "a condition without expected is a command": "precondition_command",
    "a condition with expected is a text with backticks": "precondition_expected",
    "a DAG whose condition is not met is aborted, with exit code 0": "dag_condition_unmet",
    "a run with nothing but excused failures failed": "only_excused_failures",
    "a partial success exits with 1": "failure_excused",
    "the output of a call is indented JSON with all variables": "child_result_object",
    "steps of a called DAG do not inherit env": "child_inherits_nothing",
    "a stop honours signalOnStop, a signal to the process does not": "tests/unit/execution/test_engine_policies.py",
    "only some variables of the host reach steps": "env_of_host_filtered",
}


def rows() -> dict[tuple[str, str, str], str]:
    """The table: what shows a field of a level in a shape."""
    lines = [line.split() for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {(level, field, shape): shown for level, field, shape, shown in lines}


class LanguageTableTests(TestCase):
    """The table against the language, and against the files."""

    def test_every_field_has_its_rows(self) -> None:
        """The table has a row for each shape of each field, and none besides."""
        wanted = {
            (level.key, field.name, shape) for level in LEVELS for field in level.fields for shape in shapes_of(field)
        }
        self.assertEqual(set(rows()) - wanted, set(), "rows of no field: take them out")
        self.assertEqual(wanted - set(rows()), set(), "fields without a row: name the file that shows them")

    def test_every_row_is_true(self) -> None:
        """A file that is named uses the field in that shape; a test that is named speaks of the field."""
        used = {path.stem: uses(path.read_text("utf-8")) for path in DAGS.glob("*.yaml")}
        for (level, field, shape), shown in rows().items():
            if "/" not in shown:
                self.assertIn((level, field, shape), used.get(shown, ()), shown)
                continue
            text = (ROOT / shown).read_text("utf-8")
            self.assertRegex(text, rf"\b({field}|{snake_case(field)})\b", (level, field, shape))

    def test_every_trap_has_its_file(self) -> None:
        """The files that show the traps are there, and each says of itself what it shows."""
        for trap, name in TRAPS.items():
            if "/" in name:
                self.assertTrue((ROOT / name).is_file(), trap)
                continue
            heading = (DAGS / f"{name}.yaml").read_text("utf-8").splitlines()[0]
            self.assertTrue(re.match(r"# Sections? [0-9, ]+: ", heading), trap)
