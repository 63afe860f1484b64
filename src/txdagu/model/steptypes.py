"""What steps of each type may have: the table that validation and execution share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepTraits:
    """
    Which fields a step type supports.

    `command`, `several_commands`, `script`, `shell` and `container` are the fields of that name; `call` is the call of another
    DAG, with what belongs to it. `config_keys` are the options that the type reads, in the spelling of Dagu 1.30.
    """

    command: bool = False
    several_commands: bool = False
    script: bool = False
    shell: bool = False
    container: bool = False
    call: bool = False
    config_keys: tuple[str, ...] = ()


_SHELL = StepTraits(command=True, several_commands=True, script=True, shell=True)
_CALL = StepTraits(call=True)
_DOCKER = StepTraits(
    command=True,
    several_commands=True,
    container=True,
    config_keys=(
        "image",
        "containerName",
        "pull",
        "autoRemove",
        "platform",
        "workingDir",
        "volumes",
        "container",
        "host",
        "network",
        "exec",
    ),
)
_GITHUB_ACTION = StepTraits(
    command=True,
    script=True,
    config_keys=(
        "runner",
        "autoRemove",
        "network",
        "githubInstance",
        "dockerSocket",
        "artifacts",
        "reuseContainers",
        "forceRebuild",
        "containerOptions",
        "privileged",
        "capabilities",
    ),
)
HTTP = StepTraits(
    command=True,
    script=True,
    config_keys=("timeout", "headers", "query", "body", "silent", "debug", "json", "skipTLSVerify"),
)
JQ = StepTraits(command=True, script=True, config_keys=("raw",))
MAIL = StepTraits(config_keys=("from", "to", "subject", "message", "attachments"))
ARCHIVE = StepTraits(
    command=True,
    config_keys=(
        "source",
        "destination",
        "format",
        "compressionLevel",
        "password",
        "overwrite",
        "preservePaths",
        "stripComponents",
        "include",
        "exclude",
        "dryRun",
        "verbose",
        "followSymlinks",
        "verifyIntegrity",
        "continueOnError",
    ),
)
PYTHON = StepTraits(script=True, config_keys=("interpreter", "args"))

BUILT_IN: Mapping[str, StepTraits] = {
    "": _SHELL,
    "shell": _SHELL,
    "command": _SHELL,
    "docker": _DOCKER,
    "container": _DOCKER,
    "ssh": StepTraits(
        command=True,
        several_commands=True,
        shell=True,
        config_keys=("user", "host", "ip", "port", "key", "password", "strictHostKey", "knownHostFile", "shell"),
    ),
    "http": HTTP,
    "jq": JQ,
    "mail": MAIL,
    "archive": ARCHIVE,
    "python": PYTHON,
    "gha": _GITHUB_ACTION,
    "github_action": _GITHUB_ACTION,
    "github-action": _GITHUB_ACTION,
    "dag": _CALL,
    "subworkflow": _CALL,
    "parallel": _CALL,
    "hitl": StepTraits(config_keys=("prompt", "input", "required")),
    "chat": StepTraits(),
}
"""The types that come with us, by every name that they answer to; steps without a type are in it under the empty name."""
