"""``dagu validate``: check DAG files without running anything."""

from __future__ import annotations

import sys
from pathlib import Path

from txdagu.cli.arguments import parse
from txdagu.cli.settings import settings_from
from txdagu.dagfile import load_dag
from txdagu.execution.paramschema import check_as_written
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError, InvalidInputError, NotFoundError, Problem
from txdagu.store.dagfiles import find_dag, read_base
from txdagu.tap.options import SettingsOptions, parameters


class Options(SettingsOptions):
    """Options of ``dagu validate``."""

    longdesc = "Check DAG files, given as paths or as names in the directory of DAGs. Nothing is run."
    operands = "FILE…"
    optParameters = parameters("dags")

    def parseArgs(self, *files: str) -> None:
        """At least one file."""
        self.files = files


def validate(arguments: list[str]) -> int:
    """Check every file that is named; 1 if any is not as it should be, with all that is wrong in all of them."""
    options = parse(Options(), "validate", arguments)
    if not options.files:
        raise InvalidInputError([Problem("no DAG file is given", advice="dagu validate FILE… checks one or several")])
    settings = settings_from(options)
    results = [_valid(name, settings.paths.dags_dir, settings.paths.base_config) for name in options.files]
    return 0 if all(results) else 1


def _valid(argument: str, dags_dir: str, base_config: str) -> bool:
    warnings: list[Problem] = []
    try:
        source = find_dag(argument, str(Path.cwd()), dags_dir)
        base = read_base(base_config)
        dag = load_dag(source.text, Path(source.path).name, location=source.path, base=base, warnings=warnings)
        _check_params(dag, warnings)
    except DaguError as error:
        problems = error.problems if isinstance(error, InvalidInputError) else (error,)
        bullets = "".join(f"- {problem}\n" for problem in problems)
        sys.stderr.write(f"Validation failed for {argument}\n{bullets}")
        return False
    sys.stderr.write("".join(f"Warning: {warning}\n" for warning in warnings))
    steps = f"{len(dag.steps)} step{'' if len(dag.steps) == 1 else 's'}"
    others = f", and {len(dag.local_dags)} more in the file" if dag.local_dags else ""
    sys.stdout.write(f"{argument} is valid: DAG {dag.name} with {steps}{others}\n")
    return True


def _check_params(dag: Dag, warnings: list[Problem]) -> None:
    """Params that are written in the file against their schema, if that is a file on this host."""
    try:
        check_as_written(dag, "", complete=False)
    except NotFoundError as error:
        warnings.append(Problem(str(error), advice="it is needed where the DAG runs"))
