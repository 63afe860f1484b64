"""What a step's process sees in its environment. Later entries win."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HOST_VARIABLES = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "SHELL",
        "TMPDIR",
        "TERM",
        "EDITOR",
        "VISUAL",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "LD_LIBRARY_PATH",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
    }
)
HOST_PREFIXES = ("DAGU_", "DAG_", "LC_")


def host_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the engine's own environment that reaches steps."""
    return {name: value for name, value in environ.items() if name in HOST_VARIABLES or name.startswith(HOST_PREFIXES)}


@dataclass(frozen=True, slots=True)
class RunEnvironment:
    """
    What all steps of a run share.

    `host` is the engine's environment, unfiltered, for evaluation; `dag_env`, with what dotenv files add to it, and `params`
    are evaluated; `built_in` is what the engine says of the run (``DAG_NAME``, ``DAG_RUN_ID``, ``DAG_RUN_LOG_FILE``);
    `params_json` is empty without params; `secrets` are their values by name.
    """

    host: Mapping[str, str]
    dag_env: Mapping[str, str]
    params: Mapping[str, str]
    built_in: Mapping[str, str]
    params_json: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)

    def base(self) -> dict[str, str]:
        """The part of a process's environment that is the same for every step."""
        environment = host_variables(self.host)
        environment.update(self.dag_env)
        environment.update(self.built_in)
        environment.update(self.params)
        environment.update(self.dag_env)
        environment.update(self.secrets)
        if self.params_json:
            environment["DAGU_PARAMS_JSON"] = self.params_json
        return environment

    def process(
        self, base: Mapping[str, str], step: Mapping[str, str], outputs: Mapping[str, str], step_env: Mapping[str, str]
    ) -> dict[str, str]:
        """The whole environment: `base`, what the engine says of the `step`, params, `outputs`, the step's own env."""
        return {**base, **step, **outputs, **self.params, **step_env}

    def variables(self, step: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, str]:
        """What references in a step's fields know: what is said of the step, outputs of ancestors, params; the latter win."""
        return {**step, **outputs, **self.params}

    def late(self) -> dict[str, str]:
        """What a text that no shell sees knows besides: the DAG's env, what the engine says of the run, and secrets."""
        return {**self.dag_env, **self.built_in, **self.secrets}
