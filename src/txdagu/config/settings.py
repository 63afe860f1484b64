"""Everything that can be set, as one frozen value. How it comes about is told in `txdagu.config.loading`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from txdagu.model.errors import Problem


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Directories and files, all absolute. `home` is the one directory that holds them all, empty under the XDG convention."""

    dags_dir: str
    data_dir: str
    log_dir: str
    admin_logs_dir: str
    suspend_flags_dir: str
    base_config: str
    dag_runs_dir: str
    queue_dir: str
    proc_dir: str
    service_registry_dir: str
    config_file: str = ""
    home: str = ""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The web server. Port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    base_path: str = ""


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """
    The coordinator. Port 0 takes any free one; `advertise` is what workers dial, empty: found out at start. `state_dir` is
    where the journal is; `on_damaged_journal` is ``refuse`` or ``set-aside``.

    `offer_timeout` and `lease_ttl` are in seconds: how long an offer waits for its acknowledgement, and how long a running
    task is believed to run without a word from its worker. `reflection` shows the services and messages to gRPC tools.
    """

    host: str = "127.0.0.1"
    port: int = 50055
    advertise: str = ""
    state_dir: str = ""
    on_damaged_journal: str = "refuse"
    offer_timeout: float = 10.0
    lease_ttl: float = 30.0
    reflection: bool = True


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """
    The worker. `coordinator_host` and `coordinator_port` name one coordinator directly; without a host the registry
    directory is searched. `drain_timeout` is in seconds: how long SIGTERM waits for running tasks.
    `freeze_limit`, too: how long a task that no coordinator renews is kept frozen.
    """

    id: str = ""
    max_active_runs: int = 100
    labels: Mapping[str, str] = field(default_factory=dict)
    coordinator_host: str = ""
    coordinator_port: int = 50055
    drain_timeout: float = 30.0
    freeze_limit: float = 900.0


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """TLS between coordinators and their clients. Files are absolute paths, or empty."""

    insecure: bool = True
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    skip_tls_verify: bool = False


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """The scheduler; times in seconds."""

    port: int = 8090
    lock_stale_threshold: float = 30.0
    lock_retry_interval: float = 5.0


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Queues: whether there are any, and how many runs at once each named queue allows."""

    enabled: bool = True
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What flags, environment, file and defaults came to.

    `origins` maps the dotted key of each value that was given (``coordinator.port``) to where it was given
    (``DAGU_COORDINATOR_PORT``, ``--coordinator.port``, ``/etc/dagu/config.yaml:3``); a default has no entry. `warnings` are
    sentences to log at start: unknown keys, deprecated spellings. `unprotected` names settings that ask for a protection of the
    web server which we do not have; who would open that server refuses with them.
    """

    paths: PathSettings
    server: ServerSettings = ServerSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()
    worker: WorkerSettings = WorkerSettings()
    peer: PeerSettings = PeerSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    queues: QueueSettings = QueueSettings()
    default_execution_mode: str = "auto"
    default_shell: str = ""
    log_format: str = "text"
    debug: bool = False
    tz: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unprotected: tuple[Problem, ...] = ()
