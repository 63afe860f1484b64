"""Containers as records, whose keys begin with capital letters. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from txdagu.model.container import Container, PullPolicy

_PULL_NUMBERS = {PullPolicy.ALWAYS: 0, PullPolicy.NEVER: 1, PullPolicy.MISSING: 2}
_PULL_POLICIES = {number: policy for policy, number in _PULL_NUMBERS.items()}


class ContainerRecord(msgspec.Struct, rename="pascal"):
    """A container as Dagu 1.30.2 writes it."""

    exec: str | None = None
    name: str | None = None
    image: str | None = None
    pull_policy: int | None = None
    env: list[str] | None = None
    volumes: list[str] | None = None
    user: str | None = None
    working_dir: str | None = None
    work_dir: str | None = None
    platform: str | None = None
    ports: list[str] | None = None
    network: str | None = None
    keep_container: bool | None = None
    startup: str | None = None
    command: list[str] | None = None
    wait_for: str | None = None
    log_pattern: str | None = None
    restart_policy: str | None = None


def container_document(container: Container | None) -> dict[str, Any]:
    """The container, ready to be encoded; empty for none. Words for what happens anyway are left empty, as in files."""
    if container is None:
        return {}
    usual = Container()
    return {
        "Exec": container.execute_in,
        "Name": container.name,
        "Image": container.image,
        "PullPolicy": _PULL_NUMBERS[container.pull_policy] if container.image else 0,
        "Env": container.env,
        "Volumes": container.volumes,
        "User": container.user,
        "WorkingDir": container.working_dir,
        "WorkDir": "",
        "Platform": container.platform,
        "Ports": container.ports,
        "Network": container.network,
        "KeepContainer": container.keep,
        "Startup": "" if container.startup == usual.startup else container.startup,
        "Command": container.command,
        "WaitFor": "" if container.wait_for == usual.wait_for else container.wait_for,
        "LogPattern": container.log_pattern,
        "RestartPolicy": container.restart_policy,
    }


def container_of(record: ContainerRecord | None) -> Container | None:
    """The container in a record."""
    if record is None or not (record.image or record.exec):
        return None
    usual = Container()
    number = record.pull_policy if record.image else None
    return Container(
        image=record.image or "",
        execute_in=record.exec or "",
        name=record.name or "",
        pull_policy=_PULL_POLICIES.get(2 if number is None else number, PullPolicy.MISSING),
        env=tuple(record.env or ()),
        volumes=tuple(record.volumes or ()),
        user=record.user or "",
        working_dir=record.working_dir or record.work_dir or "",
        platform=record.platform or "",
        ports=tuple(record.ports or ()),
        network=record.network or "",
        keep=bool(record.keep_container),
        startup=record.startup or usual.startup,
        command=tuple(record.command or ()),
        wait_for=record.wait_for or usual.wait_for,
        log_pattern=record.log_pattern or "",
        restart_policy=record.restart_policy or "",
    )
