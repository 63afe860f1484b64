"""Containers in which steps run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class PullPolicy(Enum):
    """When the image is fetched."""

    ALWAYS = "always"
    MISSING = "missing"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Container:
    """
    A container to make from `image`, or, with `execute_in`, a running one to execute in. Exactly one of the two is set.

    `startup` is ``keepalive``, ``entrypoint`` or ``command`` (which uses `command`); `wait_for` is ``running`` or ``healthy``;
    a `log_pattern` is a regular expression to wait for in the container's log. Texts are evaluated at start.
    """

    image: str = ""
    execute_in: str = ""
    name: str = ""
    pull_policy: PullPolicy = PullPolicy.MISSING
    env: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    platform: str = ""
    ports: tuple[str, ...] = ()
    network: str = ""
    keep: bool = False
    startup: str = "keepalive"
    command: tuple[str, ...] = ()
    wait_for: str = "running"
    log_pattern: str = ""
    restart_policy: str = ""
