"""
The base configuration: a file of DAG fields that all DAGs inherit.

What a DAG says wins. Lists of texts (``env``, ``tags``, ``dotenv``, ``params``) are appended to those of the base; handlers,
labels, and the fields of mail addresses and of the mail server are laid over the base's one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from txdagu.dagfile.fields import snake_case
from txdagu.dagfile.language import DAG
from txdagu.model.dag import Dag
from txdagu.model.mail import MailAddressing, SmtpServer

_Parts = TypeVar("_Parts", MailAddressing, SmtpServer)

_NO_ATTRIBUTES = ("name", "steps", "command", "handlerOn")
_OTHER_ATTRIBUTES = {
    "schedule": ("schedule", "stop_schedule", "restart_schedule"),
    "shell": ("shell", "shell_args"),
    "timeoutSec": ("timeout_seconds",),
    "delaySec": ("delay_seconds",),
    "restartWaitSec": ("restart_wait_seconds",),
    "maxCleanUpTimeSec": ("max_clean_up_seconds",),
    "precondition": ("preconditions",),
}

# The attributes of a `Dag` that each field sets.
DAG_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    one.name: _OTHER_ATTRIBUTES.get(one.name, (snake_case(one.name),))
    for one in DAG.fields
    if one.name not in _NO_ATTRIBUTES
}

# Fields that are not replaced as a whole: what the base says about them is joined with what the DAG says.
_JOINED = frozenset(
    (
        *("env", "tags", "params", "dotenv", "workerSelector", "errorMail", "infoMail", "waitMail", "smtp"),
        *("handlerOn", "preconditions", "precondition"),
    )
)


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
        for name, attributes in DAG_ATTRIBUTES.items()
        if name in base.names and name not in own.names | _JOINED
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
