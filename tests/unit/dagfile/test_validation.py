"""What validation says about small files, in the words that people know from Dagu."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from txdagu.dagfile import load_dag
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.testing.validation import DIFFERENT, INVALID, VALID


class ValidationTests(SynchronousTestCase):
    def test_valid(self) -> None:
        """What Dagu accepts is accepted."""
        for text in VALID:
            load_dag(text, "f.yaml")

    def test_phrases(self) -> None:
        """What Dagu refuses is refused with its phrase, at a line and column."""
        for text, phrase in INVALID + tuple((text, phrase) for text, phrase, _ in DIFFERENT if phrase):
            with pytest.raises(InvalidInputError) as caught:
                load_dag(text, "f.yaml")
            problems = caught.value.problems
            assert any(phrase in problem.message for problem in problems), (text, problems)
            assert all(problem.where.startswith("f.yaml") for problem in problems), text

    def test_accepted_in_addition(self) -> None:
        """What only we accept is accepted."""
        for text, phrase, _ in DIFFERENT:
            if not phrase:
                load_dag(text, "f.yaml")

    def test_paths(self) -> None:
        """Each problem comes with the path of keys that leads to it, also behind anchors and in later documents."""
        text = """
steps:
  - command: a
    retryPolicy: {limit: true, intervalSec: 1}
  - [{command: b, env: &e x}]
handlerOn:
  exit: {command: c, env: *e}
---
name: d
steps: [{comand: x}]
"""
        with pytest.raises(InvalidInputError) as caught:
            load_dag(text, "f.yaml")
        assert [problem.path for problem in caught.value.problems] == [
            "steps[0].retryPolicy.limit",
            "steps[1][0].env",
            "steps[0]",
            "steps[0].comand",
        ]
        assert str(caught.value.problems[0]).startswith("f.yaml:4:26: steps[0].retryPolicy.limit: field")

    def test_warnings(self) -> None:
        """What has no effect is told with its place and the nearest known key, and is no error."""
        warnings: list[Problem] = []
        load_dag(
            "container: {image: a, volume: b}\nsteps: [{type: shell, command: a, config: {x: 1}}, {command: b, params: c}]",
            "f.yaml",
            warnings=warnings,
        )
        assert [str(warning) for warning in warnings] == [
            "f.yaml:1:23: container.volume is not known, and ignored (did you mean 'volumes'?)",
            "f.yaml:2:43: the step type 'shell' has no config, and this one is ignored",
            (
                "f.yaml:2:73: only a step that calls a DAG has params; these are not used"
                " (add call with the DAG's name, or use env)"
            ),
        ]
