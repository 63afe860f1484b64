"""Mail, secrets, ssh, registries and telemetry of a DAG as records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from txdagu.model.dag import Secret
from txdagu.model.durations import NANOSECONDS, nanoseconds
from txdagu.model.mail import MailAddressing, MailOn, SmtpServer
from txdagu.store.policyjson import without_empty


class MailOnRecord(msgspec.Struct):
    """At which ends mail is sent."""

    failure: bool | None = None
    success: bool | None = None
    wait: bool | None = None


def mail_on_document(mail_on: MailOn) -> dict[str, Any]:
    """``mailOn``, ready to be encoded."""
    return without_empty({"failure": mail_on.failure, "success": mail_on.success, "wait": mail_on.wait})


def mail_on_of(record: MailOnRecord | None) -> MailOn:
    """``mailOn`` in a record."""
    return MailOn(bool(record.failure), bool(record.success), bool(record.wait)) if record else MailOn()


class MailRecord(msgspec.Struct, rename="camel"):
    """Who writes to whom."""

    sender: str | None = msgspec.field(default=None, name="from")
    to: list[str] | None = None
    prefix: str | None = None
    attach_logs: bool | None = None


def mail_document(mail: MailAddressing) -> dict[str, Any]:
    """``errorMail`` and its like, ready to be encoded."""
    return without_empty({"from": mail.sender, "to": mail.to, "prefix": mail.prefix, "attachLogs": mail.attach_logs})


def mail_of(record: MailRecord | None) -> MailAddressing:
    """``errorMail`` and its like in a record."""
    if record is None:
        return MailAddressing()
    return MailAddressing(record.sender or "", tuple(record.to or ()), record.prefix or "", bool(record.attach_logs))


class SmtpRecord(msgspec.Struct):
    """The mail server."""

    host: str | None = None
    port: str | None = None
    username: str | None = None
    password: str | None = None


def smtp_document(smtp: SmtpServer | None) -> dict[str, Any]:
    """``smtp``, ready to be encoded; empty for none."""
    if smtp is None:
        return {}
    document = {"host": smtp.host, "port": smtp.port, "username": smtp.username, "password": smtp.password}
    return without_empty(document)


def smtp_of(record: SmtpRecord | None) -> SmtpServer | None:
    """``smtp`` in a record."""
    if record is None:
        return None
    return SmtpServer(record.host or "", record.port or "", record.username or "", record.password or "")


class SecretRecord(msgspec.Struct):
    """Where a secret's value comes from."""

    name: str | None = None
    provider: str | None = None
    key: str | None = None
    options: dict[str, str] | None = None


def secret_document(secret: Secret) -> dict[str, Any]:
    """A secret without its value, ready to be encoded."""
    document = {"name": secret.name, "provider": secret.provider, "key": secret.key, "options": dict(secret.options)}
    return without_empty(document)


def secrets_of(records: Iterable[SecretRecord] | None) -> tuple[Secret, ...]:
    """The secrets in a record."""
    return tuple(
        Secret(record.name or "", record.provider or "", record.key or "", record.options or {})
        for record in records or ()
    )


def ssh_document(ssh: Mapping[str, Any]) -> dict[str, Any]:
    """``ssh``, ready to be encoded. Dagu fills in port and host key checking only when it loads YAML."""
    if not ssh:
        return {}
    document = {"port": "22", "strictHostKey": True, **ssh}
    if "ip" in document:
        document.setdefault("host", document.pop("ip"))
    return document


def registries_document(auths: Mapping[str, Any]) -> dict[str, Any]:
    """``registryAuths``, ready to be encoded: a text is the whole of the credentials."""
    return {name: {"auth": auth} if isinstance(auth, str) else auth for name, auth in auths.items()}


def otel_document(otel: Mapping[str, Any]) -> dict[str, Any]:
    """``otel``, ready to be encoded, with its time limit in nanoseconds."""
    document = dict(otel)
    if isinstance(document.get("timeout"), str):
        document["timeout"] = nanoseconds(document["timeout"])
    return document


def otel_of(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """``otel`` in a record, with its time limit as a text such as ``1.5s``."""
    found = dict(record or {})
    if isinstance(found.get("timeout"), int):
        found["timeout"] = f"{found['timeout'] / NANOSECONDS:.9f}".rstrip("0").rstrip(".") + "s"
    return found
