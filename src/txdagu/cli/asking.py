"""Steps that wait for a person, as commands show them: what is asked, and how to answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from txdagu.execution.plan.approval import Wait
from txdagu.model.run import RunRef


def answers(root: RunRef, waits: Sequence[Wait]) -> str:
    """What each step asks and the commands that answer it, as text that ends in a newline; empty if none waits."""
    return "".join(f"{line}\n" for wait in waits for line in _lines(root, wait))


def _lines(root: RunRef, wait: Wait) -> Iterator[str]:
    question, step = wait.question, wait.node.step.name
    where = "" if wait.run == root else f" of {wait.run.name} (run {wait.run.id})"
    prompt = question.prompt.splitlines()
    yield f"{step}{where} waits for approval{':' if prompt else ''}"
    yield from (f"  {line}" for line in prompt)
    names = dict.fromkeys((*question.inputs, *question.required))
    if names:
        told = (f"{name} (required)" if name in question.required else name for name in names)
        yield f"  inputs:  {', '.join(told)}"
    values = [f"{name}=…" if name in question.required else f"[{name}=…]" for name in names]
    yield f"  approve: {command('approve', root, wait)}{''.join(f' {value}' for value in values)}"
    yield f"  reject:  {command('reject', root, wait)} --reason …"


def command(name: str, root: RunRef, wait: Wait) -> str:
    """The command line that decides on a step."""
    words = ["dagu", name, root.name, "--run-id", root.id]
    if wait.run != root:
        words += ["--child", wait.run.id]
    return shlex.join([*words, "--step", wait.node.step.name])
