"""What `start` and `enqueue` share: the DAG file and its params from the arguments, checked before anything is written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from txdagu.config.settings import Settings
from txdagu.dagfile import BaseConfiguration, called_at, load_dag, unknown_children
from txdagu.execution.paramschema import check_as_written
from txdagu.model.dag import Dag
from txdagu.model.errors import InvalidInputError, NotFoundError, Problem
from txdagu.model.ids import check_run_id, new_run_id
from txdagu.model.params import parse_params
from txdagu.store.dagfiles import DagSource, find_dag, read_base
from txdagu.tap.options import SettingsOptions


class DagFileOptions(SettingsOptions):
    """Options that name a DAG: which file, which params."""

    operands = "FILE [-- PARAMS]"
    optParameters = [
        ["params", "p", None, 'Params, as "value NAME=value NAME=\\"two words\\"" or JSON; after -- as arguments.'],
        ["name", "N", None, "Name of the DAG, instead of the one in its file."],
    ]

    def parseArgs(self, *arguments: str) -> None:
        """The DAG first; what follows ``--`` are params."""
        before = arguments[: len(arguments) - len(self.after_dashes)]
        self["dag"] = before[0] if before else ""
        self["surplus"] = before[1:]

    @property
    def given_params(self) -> str:
        """The params as one text. Raises `InvalidInputError` if they are given in both ways, or not behind ``--``."""
        problems = []
        if self["surplus"]:
            problems.append(Problem(f'"{self["surplus"][0]}" is not expected here', advice="params follow --"))
        if self["params"] is not None and self.after_dashes:
            problems.append(Problem("params are given twice", "--params", "use either --params or --"))
        if problems:
            raise InvalidInputError(problems)
        if self["params"] is None:
            return " ".join(self.after_dashes)
        text: str = self["params"]
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


class RunDagOptions(DagFileOptions):
    """Options with which a DAG is run: also under which run id."""

    optParameters = [["run-id", "r", None, "Id of the run, instead of a new one."]]
    optFlags = [["quiet", "q", "Print neither progress nor report."]]


def load(settings: Settings, options: DagFileOptions) -> Dag:
    """The DAG that the options mean. Raises `DaguError` with everything that is wrong with it, missing children included."""
    if not options["dag"]:
        raise InvalidInputError([Problem("DAG file path is required", advice=options.synopsis.removeprefix("Usage: "))])
    cwd = str(Path.cwd())
    source = find_dag(options["dag"], cwd, settings.paths.dags_dir)
    dag = load_source(source, options["name"] or "", read_base(settings.paths.base_config))
    parse_params(options.given_params, "--params")
    with suppress(NotFoundError):  # a schema that is not here may be where the DAG runs
        check_as_written(dag, options.given_params)
    check_children(dag, settings.paths.dags_dir)
    return dag


def load_source(source: DagSource, name: str, base: BaseConfiguration | None) -> Dag:
    """Read a DAG file that was found, with what it inherits."""
    return load_dag(source.text, shown(source.path), location=source.path, name=name, base=base)


def shown(path: str) -> str:
    """A path as people like to read it: from the current directory, where it lies below that."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def check_children(dag: Dag, dags_dir: str) -> None:
    """Raise `InvalidInputError` for every called DAG that is neither in the file nor beside it nor in the directory of DAGs."""
    problems = []
    for step, child in unknown_children(dag):
        try:
            find_dag(child, dag.base_dir or str(Path.cwd()), dags_dir)
        except NotFoundError as error:
            place = called_at(dag.yaml_text, shown(dag.location), child)
            problems.append(Problem(f'step "{step.name}" calls {child}: {error}', place))
    if problems:
        raise InvalidInputError(problems)


def run_id(options: RunDagOptions, now_ms: int) -> str:
    """The run's id as given, else a new one."""
    given: Any = options["run-id"]
    return new_run_id(now_ms, os.urandom(10)) if given is None else check_run_id(given)
