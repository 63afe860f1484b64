"""Which text goes through which stages of evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from txdagu.execution.evaluation.backticks import RunBackticks, replace_backticks
from txdagu.execution.evaluation.expansion import expand
from txdagu.execution.evaluation.references import Scope, replace_braced_paths, replace_references


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates the fields of a DAG in one scope; `run` executes what stands in backticks."""

    scope: Scope
    run: RunBackticks

    async def field(self, text: str) -> str:
        """All stages: ``env`` and ``params`` of DAGs, and of steps ``env``, ``shell``, ``call`` and ``params``."""
        if "$" not in text and "`" not in text and not text.startswith("~"):
            return text
        text = await replace_backticks(replace_references(text, self.scope.whole), self.run)
        return expand(text, self.scope.expanded)

    async def command(self, text: str) -> str:
        """References and backticks, for a command that a shell runs: the environment is left to the shell."""
        return await replace_backticks(replace_references(text, self.scope), self.run)

    def for_shell(self, text: str) -> str:
        """References with a path in braces only, which no shell can read; everything else is left to the shell."""
        return replace_braced_paths(text, self.scope)

    def script(self, text: str) -> str:
        """References only: backticks and the environment are left to the shell."""
        return replace_references(text, self.scope)

    def directory(self, text: str) -> str:
        """The environment only: working directories, and the shell of a DAG."""
        return expand(text, self.scope.environ.get)
