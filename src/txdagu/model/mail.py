"""Mail about a run: when, to whom, through which server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailOn:
    """At which ends of a run mail is sent."""

    failure: bool = False
    success: bool = False
    wait: bool = False


@dataclass(frozen=True, slots=True)
class MailAddressing:
    """Who writes to whom. `prefix` begins the subject; `attach_logs` adds the steps' log files."""

    sender: str = ""
    to: tuple[str, ...] = ()
    prefix: str = ""
    attach_logs: bool = False


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The mail server. `port` is text as written, references and all."""

    host: str = ""
    port: str = ""
    username: str = ""
    password: str = ""
