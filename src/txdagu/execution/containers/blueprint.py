"""What container a step or DAG asks for, in the words of the engine's API. Pure: texts are evaluated before."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from txdagu.model.container import Container, PullPolicy
from txdagu.model.errors import DaguError

KEEPALIVE = ("sh", "-c", "while true; do sleep 86400; done")
RESTARTS = ("no", "always", "unless-stopped")
_PORT = re.compile(
    r"(?:(?:(?P<ip>[\d.]+|\[[\da-fA-F:]+\]):)?(?P<host>\d*):)?(?P<inner>\d+)(?P<kind>/(?:tcp|udp|sctp))?"
)
_MODES = re.compile(r"(?:ro|rw|z|Z|cached|delegated|consistent|shared|slave|private|rshared|rslave|rprivate|nocopy|,)+")


@dataclass(frozen=True, slots=True)
class Blueprint:
    """
    A container to make of `image`, or with that `name` to execute in.

    `body` is the request that makes it, without its command; `in_running` the options of a command in one that runs already.
    `keep` leaves it when the work is done. `mode`, `command`, `wait_for` and `log_pattern` say what runs in one that several
    commands share, and what they wait for.
    """

    image: str = ""
    name: str = ""
    platform: str = ""
    pull: PullPolicy = PullPolicy.MISSING
    body: Mapping[str, Any] = field(default_factory=dict)
    in_running: Mapping[str, Any] = field(default_factory=dict)
    keep: bool = False
    mode: str = "keepalive"
    command: tuple[str, ...] = ()
    wait_for: str = "running"
    log_pattern: str = ""

    def labelled(self, labels: Mapping[str, str]) -> Blueprint:
        """The same with labels, by which people find the container; those that were asked for win."""
        return replace(self, body={**self.body, "Labels": {**labels, **(self.body.get("Labels") or {})}})

    def for_command(self, words: Sequence[str]) -> dict[str, Any]:
        """The request for a container that runs one command, or what its image runs, and ends. It is never restarted."""
        host = {key: value for key, value in self.body.get("HostConfig", {}).items() if key != "RestartPolicy"}
        return {**self.body, "HostConfig": host, **({"Cmd": list(words)} if words else {})}

    def for_company(self) -> dict[str, Any]:
        """The request for a container in which commands are executed."""
        body = {**self.body, "HostConfig": {"Init": True, **self.body.get("HostConfig", {})}}
        if self.mode == "keepalive":
            return {**body, "Entrypoint": list(KEEPALIVE), "Cmd": None}
        if self.mode == "command":
            if not self.command:
                raise DaguError("container: startup: command needs a command")
            return {**body, "Cmd": list(self.command)}
        return body


def of_container(container: Container, env: Mapping[str, str], directory: str) -> Blueprint:
    """
    The blueprint of a ``container`` field.

    `env` is the step's, over which lies the container's own. Paths of volumes that begin with a dot or ``~`` are relative to
    `directory` and the user's home. Raises `DaguError` for ports, volumes and restart policies that are none.
    """
    variables = [f"{name}={value}" for name, value in {**env, **_variables(container.env)}.items()]
    inside = {"User": container.user, "WorkingDir": container.working_dir, "Env": variables}
    inside = {key: value for key, value in inside.items() if value}
    if container.execute_in:
        return Blueprint(name=container.execute_in, in_running=inside)
    if container.restart_policy not in ("", *RESTARTS):
        raise DaguError(
            f"container: invalid restartPolicy: {container.restart_policy} (supported: {', '.join(RESTARTS)})"
        )
    binds, mounts = _volumes(container.volumes, directory)
    exposed, published = _ports(container.ports)
    restart = {"Name": container.restart_policy} if container.restart_policy else None
    host = {
        "NetworkMode": container.network,
        "Binds": binds,
        "Mounts": mounts,
        "PortBindings": published,
        "RestartPolicy": restart,
    }
    body = {
        **inside,
        "Image": container.image,
        "ExposedPorts": exposed,
        "HostConfig": {key: value for key, value in host.items() if value},
    }
    return Blueprint(
        image=container.image,
        name=container.name,
        platform=container.platform,
        pull=container.pull_policy,
        body={key: value for key, value in body.items() if value},
        in_running=inside,
        keep=container.keep,
        mode=container.startup,
        command=container.command,
        wait_for=container.wait_for,
        log_pattern=container.log_pattern,
    )


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """The ``config`` of a step of type docker, evaluated. `container`, `host`, `network` and `execution` are the API's own."""

    image: str = ""
    container_name: str = ""
    pull: PullPolicy = PullPolicy.MISSING
    auto_remove: bool = False
    platform: str = ""
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    container: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)


def of_options(options: DockerOptions, env: Mapping[str, str], directory: str) -> Blueprint:
    """The blueprint of the ``config`` of a step of type docker; `env` and `directory` as for `of_container`."""
    if not options.image and not options.container_name:
        raise DaguError("docker config: containerName or image must be specified")
    if options.execution and not options.container_name:
        raise DaguError("docker config: 'exec' options require 'containerName' (exec-in-existing mode)")
    execution = with_env(canonical(options.execution, _EXECUTION), env)
    if options.working_dir:
        execution = {"WorkingDir": options.working_dir, **execution}
    if not options.image:
        return Blueprint(name=options.container_name, in_running=execution, keep=True)
    host = canonical(options.host, _HOST)
    binds, mounts = _volumes(options.volumes, directory)
    host["Binds"] = [*(host.get("Binds") or ()), *binds]
    host["Mounts"] = [*(host.get("Mounts") or ()), *mounts]
    removed = bool(host.pop("AutoRemove", False))  # by us: its exit status has to be asked for first
    body = with_env(canonical(options.container, _CONTAINER), env)
    if options.working_dir:
        body["WorkingDir"] = options.working_dir
    body["Image"] = options.image
    body["HostConfig"] = {key: value for key, value in host.items() if value not in (None, [])}
    if options.network:
        body["NetworkingConfig"] = canonical(options.network, {"endpointsconfig": "EndpointsConfig"})
    return Blueprint(
        image=options.image,
        name=options.container_name,
        platform=options.platform,
        pull=options.pull,
        body=body,
        in_running=execution,
        keep=not (options.auto_remove or removed),
    )


_CONTAINER = {key.lower(): key for key in ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "Tty", "Labels")}
_HOST = {
    key.lower(): key
    for key in ("AutoRemove", "Binds", "Mounts", "NetworkMode", "Init", "RestartPolicy", "PortBindings")
}
_EXECUTION = {key.lower(): key for key in ("Env", "User", "WorkingDir", "Privileged", "Tty")}


def canonical(written: Mapping[str, Any], spelled: Mapping[str, str]) -> dict[str, Any]:
    """
    The same with the API's spelling of the keys that we look at, by their small letters.

    Engines do not mind the case of letters; two spellings of one key would leave open which counts.
    """
    return {spelled.get(key.lower(), key): value for key, value in written.items()}


def with_env(body: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """The body with the step's variables; its own win."""
    own = body.get("Env") or []
    texts = [f"{key}={value}" for key, value in own.items()] if isinstance(own, Mapping) else list(map(str, own))
    merged = [f"{name}={value}" for name, value in {**env, **_variables(texts)}.items()]
    return {**body, "Env": merged} if merged else {key: value for key, value in body.items() if key != "Env"}


def _variables(texts: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _volumes(texts: Iterable[str], directory: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Directories of the host as binds, named volumes as mounts."""
    binds: list[str] = []
    mounts: list[dict[str, Any]] = []
    for text in texts:
        source, *rest = text.split(":")
        modes_known = len(rest) == 1 or (len(rest) == 2 and _MODES.fullmatch(rest[1]))
        if not source or not modes_known or not rest[0].startswith("/"):
            raise DaguError(f"container: invalid volume format: {text}; write host:/container or host:/container:ro")
        mode = rest[1] if len(rest) == 2 else "rw"
        if source.startswith(("/", ".", "~")):
            path = os.path.normpath(Path(directory, Path(source).expanduser()))
            binds.append(f"{path}:{rest[0]}:{mode}")
        else:
            mount: dict[str, Any] = {"Type": "volume", "Source": source, "Target": rest[0]}
            mounts.append({**mount, "ReadOnly": True} if "ro" in mode.split(",") else mount)
    return binds, mounts


def _ports(texts: Iterable[str]) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    """Exposed ports, and where they are published: ``80``, ``8080:80``, ``127.0.0.1:8080:80/udp``."""
    exposed: dict[str, Any] = {}
    published: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        match = _PORT.fullmatch(text.strip())
        numbers = [int(match[name]) for name in ("host", "inner") if match[name]] if match else []
        if match is None or not all(0 < number < 65536 for number in numbers):
            raise DaguError(f"container: invalid port: {text}; write 8080:80, or 127.0.0.1:8080:80/udp")
        inner = match["inner"] + (match["kind"] or "/tcp")
        exposed[inner] = {}
        place = {"HostIp": (match["ip"] or "0.0.0.0").strip("[]"), "HostPort": match["host"] or ""}  # noqa: S104
        published.setdefault(inner, []).append(place)
    return exposed, published
