"""The one table of everything that can be set. Options, loading, help texts and the reference page all come from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

ENV_PREFIX = "DAGU_"


class Kind(Enum):
    """Type of a value; `txdagu.config.values` reads each."""

    TEXT = "text"
    HOST = "host"
    PATH = "path"
    PORT = "port"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DURATION = "duration"
    LABELS = "labels"
    QUEUES = "queues"
    WORD = "word"


def snake(key: str) -> str:
    """``worker.maxActiveRuns`` as ``worker.max_active_runs``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()


@dataclass(frozen=True, slots=True)
class Definition:
    """
    One thing that can be set.

    `key` is the dotted YAML key, `flag` the long option without its dashes, `short` the option's letter. `default` is as one
    would write it; paths have theirs in `txdagu.config.places`. `other_env` are environment variables besides the one that comes
    from the key (those with ``DAGU__`` are of old), `old_keys` older YAML keys; old ones are read with a warning. `words` are
    what a `Kind.WORD` may be; `zero` says whether a duration may be none at all.
    """

    key: str
    kind: Kind
    doc: str
    default: str = ""
    flag: str = ""
    short: str = ""
    other_env: tuple[str, ...] = ()
    old_keys: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    section: str | None = None
    zero: bool = False

    @property
    def env(self) -> tuple[str, ...]:
        """Every environment variable that sets it, the strongest first."""
        own = ENV_PREFIX + snake(self.key).upper().replace(".", "_")
        return tuple(dict.fromkeys((own, *self.other_env)))

    @property
    def place(self) -> tuple[str, str]:
        """Section and field of `Settings`; the section is empty for fields of `Settings` itself."""
        head, _, last = snake(self.key).rpartition(".")
        return (head if self.section is None else self.section, last)


def _path(
    name: str, doc: str, *other_env: str, flag: str = "", short: str = "", old_keys: tuple[str, ...] = ()
) -> Definition:
    return Definition(
        f"paths.{name}", Kind.PATH, doc, flag=flag, short=short, other_env=other_env, old_keys=old_keys or (name,)
    )


DEFINITIONS: tuple[Definition, ...] = (
    Definition("debug", Kind.BOOLEAN, "Log in more detail.", "false"),
    Definition("logFormat", Kind.WORD, "How log lines are written.", "text", words=("text", "json")),
    Definition("tz", Kind.TEXT, "Time zone for schedules and reports, for example Europe/Berlin; empty: the system's."),
    Definition("defaultShell", Kind.TEXT, "Shell for steps that name none; empty: $SHELL, then sh."),
    Definition(
        "defaultExecutionMode",
        Kind.WORD,
        "Where DAGs without a workerSelector run: here, on any worker, or there while one is healthy.",
        "auto",
        words=("auto", "local", "distributed"),
    ),
    Definition(
        "host",
        Kind.HOST,
        "Address on which the web server listens.",
        "127.0.0.1",
        flag="host",
        short="s",
        other_env=("DAGU__ADMIN_HOST",),
        section="server",
    ),
    Definition(
        "port",
        Kind.PORT,
        "Port of the web server; 0 takes any free one.",
        "8080",
        flag="port",
        short="p",
        other_env=("DAGU__ADMIN_PORT",),
        section="server",
    ),
    Definition("basePath", Kind.TEXT, "Path below which everything on the web server lies.", section="server"),
    _path(
        "dagsDir",
        "Directory of DAG files.",
        "DAGU_DAGS_DIR",
        "DAGU_DAGS",
        flag="dags",
        short="d",
        old_keys=("dagsDir", "dags"),
    ),
    _path("dataDir", "Directory of everything that is kept.", "DAGU_DATA_DIR", "DAGU__DATA"),
    _path("logDir", "Directory of logs of runs and steps.", "DAGU_LOG_DIR"),
    _path("adminLogsDir", "Directory of logs of the services.", "DAGU_ADMIN_LOG_DIR", "DAGU__ADMIN_LOGS_DIR"),
    _path(
        "suspendFlagsDir", "Directory of marks of suspended DAGs.", "DAGU_SUSPEND_FLAGS_DIR", "DAGU__SUSPEND_FLAGS_DIR"
    ),
    _path("baseConfig", "File whose settings all DAGs inherit.", "DAGU_BASE_CONFIG"),
    _path("dagRunsDir", "Directory of the runs' status files.", "DAGU_DAG_RUNS_DIR"),
    _path("queueDir", "Directory of the queues.", "DAGU_QUEUE_DIR"),
    _path("procDir", "Directory of the liveness files of runs.", "DAGU_PROC_DIR"),
    _path("serviceRegistryDir", "Directory in which services find each other.", "DAGU_SERVICE_REGISTRY_DIR"),
    Definition(
        "coordinator.host",
        Kind.HOST,
        "Address on which the coordinator listens; start-all takes --host when only that is given.",
        "127.0.0.1",
        flag="coordinator.host",
        short="H",
    ),
    Definition(
        "coordinator.port",
        Kind.PORT,
        "Port of the coordinator; 0 takes any free one.",
        "50055",
        flag="coordinator.port",
        short="P",
    ),
    Definition(
        "coordinator.advertise",
        Kind.HOST,
        "Address that workers dial; empty: found out at start.",
        flag="coordinator.advertise",
        short="A",
    ),
    Definition(
        "coordinator.stateDir",
        Kind.PATH,
        "Directory of the coordinator's journal, on a local disk; empty: coordinator in the data directory.",
        flag="coordinator.state-dir",
    ),
    Definition(
        "coordinator.onDamagedJournal",
        Kind.WORD,
        "What to do with a journal file that is damaged: refuse to start, or set it aside and begin a new one.",
        "refuse",
        words=("refuse", "set-aside"),
    ),
    Definition("coordinator.offerTimeout", Kind.DURATION, "How long a worker may take to confirm a task.", "10s"),
    Definition("coordinator.leaseTtl", Kind.DURATION, "How long a task lives without word from its worker.", "30s"),
    Definition(
        "coordinator.reflection",
        Kind.BOOLEAN,
        "Tell gRPC tools such as grpcurl which services and messages there are.",
        "true",
    ),
    Definition("worker.id", Kind.TEXT, "Name of the worker; empty: <hostname>@<pid>.", flag="worker.id", short="w"),
    Definition(
        "worker.maxActiveRuns",
        Kind.INTEGER,
        "How many runs at once; 0 or less takes none.",
        "100",
        flag="worker.max-active-runs",
        short="m",
    ),
    Definition(
        "worker.labels",
        Kind.LABELS,
        "What the worker offers, as key=value,key=value.",
        flag="worker.labels",
        short="l",
    ),
    Definition(
        "worker.coordinatorHost",
        Kind.HOST,
        "Coordinator to ask for tasks; empty: those in the service registry.",
        flag="worker.coordinator-host",
    ),
    Definition(
        "worker.coordinatorPort",
        Kind.PORT,
        "Port of that coordinator.",
        "50055",
        flag="worker.coordinator-port",
    ),
    Definition(
        "worker.drainTimeout", Kind.DURATION, "How long a stopping worker waits for its runs.", "30s", zero=True
    ),
    Definition(
        "worker.freezeLimit", Kind.DURATION, "How long runs stay frozen that no coordinator renews.", "15m", zero=True
    ),
    Definition(
        "peer.insecure",
        Kind.BOOLEAN,
        "Speak clear text (h2c) between coordinators and their clients instead of TLS.",
        "true",
        flag="peer.insecure",
    ),
    Definition("peer.certFile", Kind.PATH, "Certificate shown to the other side, PEM.", flag="peer.cert-file"),
    Definition("peer.keyFile", Kind.PATH, "Key of that certificate, PEM.", flag="peer.key-file"),
    Definition(
        "peer.clientCaFile", Kind.PATH, "Authority that the other side must prove, PEM.", flag="peer.client-ca-file"
    ),
    Definition(
        "peer.skipTlsVerify",
        Kind.BOOLEAN,
        "Do not verify the coordinator's certificate.",
        "false",
        flag="peer.skip-tls-verify",
    ),
    Definition("scheduler.port", Kind.PORT, "Port of the scheduler's health page; 0 takes any free one.", "8090"),
    Definition("scheduler.lockStaleThreshold", Kind.DURATION, "Age at which a scheduler's lock counts as left.", "30s"),
    Definition("scheduler.lockRetryInterval", Kind.DURATION, "How often a waiting scheduler tries its lock.", "5s"),
    Definition(
        "queues.enabled", Kind.BOOLEAN, "Whether runs can be queued.", "true", other_env=("DAGU_QUEUE_ENABLED",)
    ),
    Definition("queues.config", Kind.QUEUES, "Queues, each with name and maxConcurrency."),
)

CONFIG_FLAG = ("config", "c", "Configuration file instead of config.yaml in the configuration directory.")
HOME_FLAG = ("dagu-home", None, "Directory that holds everything; also DAGU_HOME.")
BY_KEY: dict[str, Definition] = {definition.key: definition for definition in DEFINITIONS}
BY_FLAG: dict[str, Definition] = {definition.flag: definition for definition in DEFINITIONS if definition.flag}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """
    A setting of Dagu 1.30.2 that we do not have.

    Given, it is said to have no effect. If it `protects` the web server, and is not ``none`` or ``false``, nobody may open that
    server, because it would be less protected than its owner believes.
    """

    key: str
    env: tuple[str, ...] = ()
    protects: bool = False


ELSEWHERE: tuple[Elsewhere, ...] = (
    Elsewhere("auth.mode", ("DAGU_AUTH_MODE",), protects=True),
    Elsewhere("auth.token.value", ("DAGU_AUTH_TOKEN", "DAGU_AUTHTOKEN"), protects=True),
    Elsewhere("auth.basic.username", ("DAGU_AUTH_BASIC_USERNAME", "DAGU_BASICAUTH_USERNAME"), protects=True),
    Elsewhere("auth.basic.password", ("DAGU_AUTH_BASIC_PASSWORD", "DAGU_BASICAUTH_PASSWORD"), protects=True),
    Elsewhere("auth.builtin"),
    Elsewhere("auth.oidc"),
    Elsewhere("isBasicAuth", protects=True),
    Elsewhere("basicAuthUsername", protects=True),
    Elsewhere("basicAuthPassword", protects=True),
    Elsewhere("isAuthToken", protects=True),
    Elsewhere("authToken", protects=True),
    Elsewhere("tls.certFile", ("DAGU_CERT_FILE", "DAGU_TLS_CERT_FILE"), protects=True),
    Elsewhere("tls.keyFile", ("DAGU_KEY_FILE", "DAGU_TLS_KEY_FILE"), protects=True),
    Elsewhere("tls.caFile", protects=True),
    Elsewhere("permissions.writeDAGs"),
    Elsewhere("permissions.runDAGs"),
    Elsewhere("permissionWriteDAGs"),
    Elsewhere("permissionRunDAGs"),
    Elsewhere("workDir", ("DAGU_WORK_DIR",)),
    Elsewhere("skipExamples", ("DAGU_SKIP_EXAMPLES",)),
    Elsewhere("cache", ("DAGU_CACHE",)),
    Elsewhere("apiBasePath", ("DAGU_API_BASE_URL",)),
    Elsewhere("apiBaseURL"),
    Elsewhere("headless", ("DAGU_HEADLESS",)),
    Elsewhere("latestStatusToday", ("DAGU_LATEST_STATUS_TODAY",)),
    Elsewhere("metrics", ("DAGU_SERVER_METRICS",)),
    Elsewhere("remoteNodes"),
    Elsewhere("ui"),
    Elsewhere("logEncodingCharset"),
    Elsewhere("navbarColor", ("DAGU_UI_NAVBAR_COLOR", "DAGU_NAVBAR_COLOR", "DAGU__ADMIN_NAVBAR_COLOR")),
    Elsewhere("navbarTitle", ("DAGU_UI_NAVBAR_TITLE", "DAGU_NAVBAR_TITLE", "DAGU__ADMIN_NAVBAR_TITLE")),
    Elsewhere("maxDashboardPageLimit", ("DAGU_UI_MAX_DASHBOARD_PAGE_LIMIT",)),
    Elsewhere("paths.executable", ("DAGU_EXECUTABLE",)),
    Elsewhere("executable"),
    Elsewhere("paths.usersDir", ("DAGU_USERS_DIR",)),
    Elsewhere("paths.apiKeysDir"),
    Elsewhere("paths.webhooksDir"),
    Elsewhere("scheduler.zombieDetectionInterval", ("DAGU_SCHEDULER_ZOMBIE_DETECTION_INTERVAL",)),
    Elsewhere("monitoring", ("DAGU_MONITORING_RETENTION", "DAGU_MONITORING_INTERVAL")),
)
