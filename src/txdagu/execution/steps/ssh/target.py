"""Where an ssh step logs in, and how."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from txdagu.execution.steps.config import Config, evaluated
from txdagu.execution.steps.context import StepContext
from txdagu.model.errors import DaguError

PORT = 22
_OTHERS = "give the step a config, or the DAG ssh, with user and host"


@dataclass(frozen=True, slots=True)
class Target:
    """
    A login on another host.

    `key` and `known_hosts` are paths; without `key` and `password` an agent and the keys in the ``.ssh`` of `home` are tried.
    `strict` asks for a host key that is known. `shell` is the program and arguments of the shell for commands, or empty.
    """

    user: str
    host: str
    port: int = PORT
    key: str = ""
    password: str = ""
    strict: bool = True
    known_hosts: str = ""
    shell: tuple[str, ...] = ()
    home: str = ""

    @property
    def address(self) -> str:
        """Host and port as known_hosts files have them: the port is left out where it is 22."""
        return self.host if self.port == PORT else f"[{self.host}]:{self.port}"

    def __str__(self) -> str:
        """For people: who, where."""
        return f"{self.user}@{self.address}"


async def read_target(context: StepContext) -> Target:
    """
    The step's config, or the DAG's ``ssh`` where it has none: one replaces the other as a whole. All texts are evaluated.

    Raises `DaguError` with all that is wrong or missing.
    """
    written: Mapping[str, Any] = context.step.config or context.dag.ssh
    if not written:
        raise DaguError(f"it is not known where to log in: {_OTHERS}")
    config = Config("ssh", await evaluated(written, context.evaluator))
    home = context.tools.environ.get("HOME") or str(Path.home())
    target = Target(
        user=config.text("user"),
        host=config.text("host") or config.text("ip"),
        port=config.number("port", PORT) if config.text("port") else PORT,
        key=_path(config.text("key"), context.directory),
        password=config.text("password"),
        strict=config.flag("strictHostKey", True),
        known_hosts=_path(config.text("knownHostFile"), context.directory) or f"{home}/.ssh/known_hosts",
        shell=_shell(context, config),
        home=home,
    )
    for name in ("user", "host"):
        if not getattr(target, name):
            config.refuse(name, "is missing", f"write {name}: in the config of the step or the ssh of the DAG")
    if not 0 < target.port < 65536:
        config.refuse("port", f"must be between 1 and 65535, got {target.port}")
    config.check()
    return target


def _path(text: str, directory: str) -> str:
    """A path, relative to the step's directory where it is no absolute one."""
    return str(Path(directory, text)) if text else ""


def _shell(context: StepContext, config: Config) -> tuple[str, ...]:
    """The config's shell, a text to split or a list; else the step's own. The DAG's is for this machine."""
    texts = config.texts("shell")
    if len(texts) == 1:
        try:
            return tuple(shlex.split(texts[0]))
        except ValueError as error:
            config.refuse("shell", f"cannot be split into words: {error}")
    if texts:
        return texts
    step = context.step
    return (step.shell, *step.shell_args) if step.shell else ()
