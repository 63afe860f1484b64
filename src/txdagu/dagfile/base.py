"""
The base configuration: a file of DAG fields that all DAGs inherit.

What a DAG says wins. Lists of texts (``env``, ``tags``, ``dotenv``, ``params``) are appended to those of the base; handlers,
labels, and the fields of mail addresses and of the mail server are laid over the base's one by one.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from txdagu.model.dag import Dag
from txdagu.model.mail import MailAddressing, SmtpServer

_Parts = TypeVar("_Parts", MailAddressing, SmtpServer)

# The attributes that a field sets, where the value of a DAG simply takes the place of the base's.
_REPLACED = {
    "group": ("group",),
    "description": ("description",),
    "type": ("type",),
    "schedule": ("schedule", "stop_schedule", "restart_schedule"),
    "skipIfSuccessful": ("skip_if_successful",),
    "secrets": ("secrets",),
    "workingDir": ("working_dir",),
    "shell": ("shell", "shell_args"),
    "logDir": ("log_dir",),
    "logOutput": ("log_output",),
    "histRetentionDays": ("hist_retention_days",),
    "timeoutSec": ("timeout_seconds",),
    "delaySec": ("delay_seconds",),
    "restartWaitSec": ("restart_wait_seconds",),
    "maxActiveRuns": ("max_active_runs",),
    "maxActiveSteps": ("max_active_steps",),
    "maxCleanUpTimeSec": ("max_clean_up_seconds",),
    "maxOutputSize": ("max_output_size",),
    "queue": ("queue",),
    "mailOn": ("mail_on",),
    "container": ("container",),
    "registryAuths": ("registry_auths",),
    "ssh": ("ssh",),
    "llm": ("llm",),
    "otel": ("otel",),
    "onWorkerLost": ("on_worker_lost",),
    "runConfig": ("run_config",),
}


@dataclass(frozen=True, slots=True)
class BaseConfiguration:
    """The text of a base configuration, and its name in messages."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Written:
    """A DAG as one document describes it, and the names of the fields that this document has."""

    dag: Dag
    names: AbstractSet[str]


def inherit(base: Written, own: Written, *, handlers: bool) -> Dag:
    """The DAG with what it inherits; `handlers` only where asked for, since documents that are called have their own alone."""
    dag, above = own.dag, base.dag
    changes: dict[str, Any] = {
        attribute: getattr(above, attribute)
        for name, attributes in _REPLACED.items()
        if name in base.names and name not in own.names
        for attribute in attributes
    }
    changes |= {
        "env": above.env + dag.env,
        "tags": tuple(dict.fromkeys(above.tags + dag.tags)),
        "params": " ".join(filter(None, (above.params, dag.params))),
        "params_schema": dag.params_schema or above.params_schema,
        "worker_selector": above.worker_selector.overridden_by(dag.worker_selector),
        "error_mail": _laid_over(above.error_mail, dag.error_mail),
        "info_mail": _laid_over(above.info_mail, dag.info_mail),
        "wait_mail": _laid_over(above.wait_mail, dag.wait_mail),
        "smtp": _laid_over(above.smtp, dag.smtp) if above.smtp and dag.smtp else dag.smtp or above.smtp,
    }
    if dag.dotenv and "dotenv" in base.names:
        changes["dotenv"] = tuple(dict.fromkeys(above.dotenv + dag.dotenv))
    if not own.names & {"preconditions", "precondition"}:
        changes["preconditions"] = above.preconditions
    if handlers:
        changes["handlers"] = {**above.handlers, **dag.handlers}
    return replace(dag, **changes)


def _laid_over(base: _Parts, own: _Parts) -> _Parts:
    return replace(own, **{one.name: getattr(own, one.name) or getattr(base, one.name) for one in fields(own)})
