"""What the sources of settings come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.definitions import DEFINITIONS, ELSEWHERE, Definition, Kind, snake
from txdagu.config.loading import load_settings
from txdagu.config.settings import Settings
from txdagu.model.errors import InvalidInputError

CONFIG = "/home/u/.config/dagu/config.yaml"
ADMIN = "/home/u/.config/dagu/admin.yaml"

SAMPLES: dict[Kind, tuple[str, object]] = {
    Kind.TEXT: ("some-text", "some-text"),
    Kind.HOST: ("node7.example", "node7.example"),
    Kind.PATH: ("/srv/x/../y", "/srv/y"),
    Kind.PORT: ("4711", 4711),
    Kind.INTEGER: ("-3", -3),
    Kind.DURATION: ("1m30s", 90.0),
    Kind.LABELS: ("Region=eu, gpu=true", {"Region": "eu", "gpu": "true"}),
}


def load(
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    *,
    existing: tuple[str, ...] = (),
    **more: Any,
) -> Settings:
    """Settings of a user u on host box, process 42, in directory /cwd."""
    return load_settings(
        flags=flags or {},
        environ=environ or {},
        read_file=(files or {}).get,
        home_dir="/home/u",
        hostname="box",
        pid=42,
        cwd="/cwd",
        path_exists=lambda path: path in existing,
        **more,
    )


def problems(**sources: Any) -> list[str]:
    """The lines with which loading refuses."""
    try:
        load(**sources)
    except InvalidInputError as error:
        return [str(problem) for problem in error.problems]
    raise AssertionError("loading should have refused")


def sample(definition: Definition) -> tuple[str, object]:
    """A value that is not the default: as text, and as it is read."""
    if definition.kind is Kind.BOOLEAN:
        return ("false", False) if definition.default == "true" else ("true", True)
    if definition.kind is Kind.WORD:
        return (definition.words[1], definition.words[1])
    if definition.key == "basePath":
        return ("dagu/", "/dagu")
    return SAMPLES[definition.kind]


def value_of(found: Settings, definition: Definition) -> object:
    """What a definition's place in the settings holds."""
    section, field = definition.place
    if definition.kind is Kind.QUEUES:
        return found.queues.limits
    return getattr(getattr(found, section) if section else found, field)


def yaml_of(key: str, value: str) -> str:
    """One setting as nested YAML, quoted."""
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(key.split("."))]
    return "\n".join(lines) + f' "{value}"\n'


class EverySpelling(SynchronousTestCase):
    """Each row of the table, by each of its names."""

    def test_environment(self) -> None:
        """Every environment variable of every setting reaches its place, and is named as the origin."""
        for definition in DEFINITIONS:
            if definition.kind is Kind.QUEUES:
                continue
            text, value = sample(definition)
            for name in definition.env:
                found = load(environ={name: text})
                self.assertEqual(value_of(found, definition), value, name)
                self.assertEqual(found.origins[definition.key], name)

    def test_flags(self) -> None:
        """Every flag reaches its place, and is named as the origin."""
        for definition in DEFINITIONS:
            if definition.flag:
                text, value = sample(definition)
                found = load(flags={definition.flag: text})
                self.assertEqual(value_of(found, definition), value, definition.flag)
                self.assertEqual(found.origins[definition.key], f"--{definition.flag}")

    def test_file(self) -> None:
        """Every key is read from the file in camelCase, snake_case, capitals and by its old names."""
        for definition in DEFINITIONS:
            if definition.kind is Kind.QUEUES:
                continue
            text, value = sample(definition)
            for key in (definition.key, snake(definition.key), definition.key.upper(), *definition.old_keys):
                found = load(files={CONFIG: yaml_of(key, text)})
                self.assertEqual(value_of(found, definition), value, key)
                depth = key.count(".") + 1
                self.assertEqual(found.origins[definition.key], f"{CONFIG}:{depth}")
                old = key in definition.old_keys
                self.assertEqual(any("old name" in warning for warning in found.warnings), old, key)

    def test_defaults(self) -> None:
        """The defaults that the table tells are those that apply."""
        found = load()
        for definition in DEFINITIONS:
            if definition.default:
                again = load(environ={definition.env[0]: definition.default})
                self.assertEqual(value_of(found, definition), value_of(again, definition), definition.key)
        self.assertEqual(found.origins, {})

    def test_seed_names(self) -> None:
        """The two spellings of the registry variable mean the same."""
        for name in ("DAGU_SERVICE_REGISTRY_DIR", "DAGU_PATHS_SERVICE_REGISTRY_DIR"):
            self.assertEqual(load(environ={name: "/nfs/r"}).paths.service_registry_dir, "/nfs/r")

    def test_names_are_unique(self) -> None:
        """No variable, flag or letter means two settings."""
        names = [name for definition in DEFINITIONS for name in definition.env]
        names += [name for entry in ELSEWHERE for name in entry.env]
        flags = [definition.flag for definition in DEFINITIONS if definition.flag]
        letters = [definition.short for definition in DEFINITIONS if definition.short]
        for each in (names, flags, letters):
            self.assertEqual(len(each), len(set(each)), each)


class Precedence(SynchronousTestCase):
    """Who wins."""

    def test_order(self) -> None:
        """Flag over environment over admin.yaml over config.yaml over default, for each subset of sources."""
        ranked = [("flag", 1), ("env", 2), ("admin", 3), ("config", 4)]
        for mask in range(16):
            present = [item for bit, item in enumerate(ranked) if mask & 1 << bit]
            names = {name for name, _ in present}
            found = load(
                flags={"coordinator.port": "1"} if "flag" in names else {},
                environ={"DAGU_COORDINATOR_PORT": "2"} if "env" in names else {},
                files={
                    **({ADMIN: "coordinator: {port: 3}"} if "admin" in names else {}),
                    **({CONFIG: "coordinator: {port: 4}"} if "config" in names else {}),
                },
            )
            self.assertEqual(found.coordinator.port, present[0][1] if present else 50055)

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(["coordinator.port", "worker.id", "host", "worker.labels"]),
                st.sampled_from(["1", "2", "3"]),
            ),
            min_size=4,
            max_size=4,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_merge(self, layers: list[dict[str, str]]) -> None:
        """Settings are merged one by one: each comes from the strongest source that gives it, whatever the others give."""
        flag_layer, env_layer, admin_layer, config_layer = layers
        by_key = {definition.key: definition for definition in DEFINITIONS}

        def text(key: str, value: str) -> str:
            return f"l={value}" if key == "worker.labels" else value

        found = load(
            flags={by_key[key].flag: text(key, value) for key, value in flag_layer.items()},
            environ={by_key[key].env[0]: text(key, value) for key, value in env_layer.items()},
            files={
                path: "\n".join(
                    f"{section}: {{{items}}}" if section else items for section, items in grouped(layer, text)
                )
                for path, layer in ((ADMIN, admin_layer), (CONFIG, config_layer))
            },
        )
        for key, definition in by_key.items():
            given_values = [layer[key] for layer in layers if key in layer]
            if given_values:
                expected: object = text(key, given_values[0])
                expected = {"l": given_values[0]} if key == "worker.labels" else expected
                expected = int(given_values[0]) if key == "coordinator.port" else expected
                self.assertEqual(value_of(found, definition), expected, key)

    def test_empty_variable(self) -> None:
        """A variable that is set to nothing says nothing, as container files often leave them."""
        self.assertEqual(load(environ={"DAGU_PORT": "", "DAGU_HOST": " "}).server.port, 8080)

    def test_overridden_mistake(self) -> None:
        """A bad value that a stronger source replaces stops nobody."""
        found = load(flags={"coordinator.port": "7"}, environ={"DAGU_COORDINATOR_PORT": "tcp://10.0.0.1:50055"})
        self.assertEqual(found.coordinator.port, 7)

    def test_two_spellings(self) -> None:
        """Two variables of one setting that differ: one counts, and a warning says which."""
        found = load(environ={"DAGU_SERVICE_REGISTRY_DIR": "/a", "DAGU_PATHS_SERVICE_REGISTRY_DIR": "/b"})
        self.assertEqual(found.paths.service_registry_dir, "/b")
        self.assertIn("is taken from DAGU_PATHS_SERVICE_REGISTRY_DIR", found.warnings[0])

    def test_labels_replace(self) -> None:
        """Labels of a stronger source replace those of a weaker one; they are not mixed."""
        found = load(environ={"DAGU_WORKER_LABELS": "a=1"}, files={CONFIG: "worker: {labels: {b: 2}}"})
        self.assertEqual(found.worker.labels, {"a": "1"})

    def test_no_labels(self) -> None:
        """An empty flag takes all labels away."""
        found = load(flags={"worker.labels": ""}, files={CONFIG: "worker: {labels: {b: 2}}"})
        self.assertEqual(found.worker.labels, {})


def grouped(layer: Mapping[str, str], text: Any) -> list[tuple[str, str]]:
    """A layer's keys as YAML, one line a section."""
    sections: dict[str, list[str]] = {}
    for key, value in layer.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(f'{name}: "{text(key, value)}"')
    return [(section, ("\n" if not section else ", ").join(items)) for section, items in sections.items()]


class Values(SynchronousTestCase):
    """What values become."""

    def test_label_scalars(self) -> None:
        """Label keys keep their case, and every scalar becomes the text that was written."""
        found = load(
            files={CONFIG: "worker:\n  labels:\n    Region: us\n    mem: 64\n    cuda: 11.80\n    gpu: true\n"}
        )
        self.assertEqual(found.worker.labels, {"Region": "us", "mem": "64", "cuda": "11.80", "gpu": "true"})

    def test_relative_paths(self) -> None:
        """Relative paths start from the directory of their source; ~ and variables are replaced."""
        found = load(
            flags={"dags": "d", "peer.key-file": "~/key.pem"},
            environ={"DAGU_LOG_DIR": "./logs", "DAGU_QUEUE_DIR": "${BASE}/queue", "BASE": "/base"},
            files={CONFIG: "paths: {dataDir: ../data, procDir: ~}\npeer: {certFile: '~/cert.pem'}"},
        )
        self.assertEqual(found.paths.dags_dir, "/cwd/d")
        self.assertEqual(found.paths.log_dir, "/cwd/logs")
        self.assertEqual(found.paths.queue_dir, "/base/queue")
        self.assertEqual(found.paths.data_dir, "/home/u/.config/data")
        self.assertEqual(found.paths.proc_dir, "/home/u/.config/data/proc")
        self.assertEqual(found.peer.cert_file, "/home/u/cert.pem")
        self.assertEqual(found.peer.key_file, "/home/u/key.pem")

    def test_queues(self) -> None:
        """Queues are read by name; the older maxActiveRuns wins, and a limit is at least 1."""
        found = load(
            files={
                CONFIG: "queues:\n  enabled: no\n  config:\n    - {name: a, maxConcurrency: 3}\n"
                "    - {name: b, max_concurrency: 3, maxActiveRuns: 2}\n    - {name: c, maxConcurrency: 0}\n"
            }
        )
        self.assertFalse(found.queues.enabled)
        self.assertEqual(found.queues.limits, {"a": 3, "b": 2, "c": 1})

    def test_worker_id(self) -> None:
        """A worker without a name is called after host and process."""
        self.assertEqual(load().worker.id, "box@42")

    def test_start_all_host(self) -> None:
        """--host is the coordinator's address too, only where asked for, and not over a coordinator.host of any source."""
        both = load(flags={"host": "0.0.0.0"}, coordinator_follows_host=True)
        self.assertEqual((both.server.host, both.coordinator.host), ("0.0.0.0", "0.0.0.0"))
        self.assertEqual(both.origins["coordinator.host"], "--host")
        self.assertEqual(load(flags={"host": "0.0.0.0"}).coordinator.host, "127.0.0.1")
        own = load(flags={"host": "::"}, files={CONFIG: "coordinator: {host: 10.1.1.1}"}, coordinator_follows_host=True)
        self.assertEqual(own.coordinator.host, "10.1.1.1")
        quiet = load(environ={"DAGU_HOST": "0.0.0.0"}, coordinator_follows_host=True)
        self.assertEqual(quiet.coordinator.host, "127.0.0.1")

    def test_shell(self) -> None:
        """The default shell is $SHELL, then sh."""
        self.assertEqual(load(environ={"SHELL": "/bin/zsh"}).default_shell, "/bin/zsh")
        self.assertEqual(load().default_shell, "sh")


class Mistakes(SynchronousTestCase):
    """What is refused, and what is warned of."""

    def test_all_at_once(self) -> None:
        """Every mistake of every source is told, each with its key and its place."""
        found = problems(
            flags={"coordinator.port": "x"},
            environ={"DAGU_PORT": "70000", "DAGU_WORKER_LABELS": "gpu", "DAGU_DEBUG": "maybe", "DAGU_HOST": "http://x"},
            files={
                CONFIG: "peer: {insecure: perhaps}\ncoordinator:\n  leaseTtl: 5\n  offerTimeout: 0s\nqueues: {config: [{}]}\n"
                "worker: {maxActiveRuns: many, id: [1]}\nlogFormat: xml\n"
            },
        )
        for expected in (
            'coordinator.port from --coordinator.port: "x" is not a port (give a number from 0 to 65535)',
            'port from DAGU_PORT: "70000" is not a port (give a number from 0 to 65535)',
            "worker.labels from DAGU_WORKER_LABELS: label 'gpu' is not key=value",
            'debug from DAGU_DEBUG: "maybe" is neither true nor false',
            'host from DAGU_HOST: "http://x" is not a host name or address',
            f'peer.insecure from {CONFIG}:1: "perhaps" is neither true nor false',
            f'coordinator.leaseTtl from {CONFIG}:3: "5" is not a duration',
            f'coordinator.offerTimeout from {CONFIG}:4: "0s" is no time at all',
            f"queues.config from {CONFIG}:5: a queue has no name",
            f'worker.maxActiveRuns from {CONFIG}:6: "many" is not a whole number',
            f"worker.id from {CONFIG}:6: holds a map or a list where a text is due",
            f'logFormat from {CONFIG}:7: "xml" is none of text, json',
        ):
            self.assertTrue(any(line.startswith(expected) for line in found), f"{expected} not in {found}")
        self.assertEqual(len(found), 12)

    def test_kubernetes_service_link(self) -> None:
        """The variable that Kubernetes makes for a Service named dagu-coordinator is recognised, with the cure."""
        (line,) = problems(environ={"DAGU_COORDINATOR_PORT": "tcp://10.96.0.7:50055"})
        self.assertTrue(
            line.startswith('coordinator.port from DAGU_COORDINATOR_PORT: "tcp://10.96.0.7:50055" is not a port')
        )
        self.assertIn("enableServiceLinks: false", line)

    def test_missing_config_file(self) -> None:
        """A file that was asked for must be there; the usual one need not."""
        self.assertEqual(
            problems(flags={"config": "my.yaml"}),
            ["--config: /cwd/my.yaml does not exist (name a YAML file that does)"],
        )

    def test_chosen_config_file(self) -> None:
        """--config names the file, and admin.yaml beside that one is merged."""
        found = load(
            flags={"config": "my.yaml"}, files={"/cwd/my.yaml": "port: 1\nhost: a", "/cwd/admin.yaml": "port: 2"}
        )
        self.assertEqual((found.server.port, found.server.host, found.paths.config_file), (2, "a", "/cwd/my.yaml"))

    def test_broken_yaml(self) -> None:
        """Bad syntax is told with file and line, together with other mistakes."""
        found = problems(environ={"DAGU_PORT": "x"}, files={CONFIG: "coordinator: [\n", ADMIN: "- a list\n"})
        self.assertEqual(len(found), 3, found)
        self.assertTrue(any(line.startswith(f"{CONFIG}:") for line in found))
        self.assertTrue(any(line.startswith(f"{ADMIN}:1: the file is not a map of settings") for line in found), found)

    def test_section_that_is_none(self) -> None:
        """A section with a single value instead of settings is refused with its line."""
        self.assertEqual(
            problems(files={CONFIG: "\ncoordinator: 7\n"}), [f"{CONFIG}:2: coordinator is not a map of settings"]
        )

    def test_given_twice(self) -> None:
        """A key in both spellings is refused, rather than one of them picked."""
        (line,) = problems(files={CONFIG: "worker:\n  maxActiveRuns: 1\n  max_active_runs: 2\n"})
        self.assertTrue(line.startswith(f"{CONFIG}:3: worker.max_active_runs is given twice"), line)

    def test_several_documents(self) -> None:
        """A configuration file is one document."""
        (line,) = problems(files={CONFIG: "port: 1\n---\nport: 2\n"})
        self.assertIn("several YAML documents", line)

    def test_unknown_key(self) -> None:
        """Unknown keys are warned of, with the nearest known one, and change nothing."""
        found = load(files={CONFIG: "coordinator:\n  prot: 1\nworkr: {id: x}\nsomething: else\n"})
        self.assertEqual(
            found.warnings,
            (
                f"{CONFIG}:2: coordinator.prot is no setting (did you mean coordinator.port?)",
                f"{CONFIG}:3: workr is no setting (did you mean worker?)",
                f"{CONFIG}:4: something is no setting (it has no effect)",
            ),
        )

    def test_unknown_variable(self) -> None:
        """A variable that is nearly a setting is warned of; others, which may be anybody's, are not."""
        found = load(
            environ={"DAGU_COORDINATER_HOST": "x", "DAGU_MY_OWN": "y", "DAGU_COORDINATOR_SERVICE_HOST": "10.0.0.1"}
        )
        self.assertEqual(found.warnings, ("DAGU_COORDINATER_HOST is no setting (did you mean DAGU_COORDINATOR_HOST?)",))

    def test_settings_of_dagu_only(self) -> None:
        """Settings that only the other program has are named once, as being without effect."""
        found = load(environ={"DAGU_CACHE": "low"}, files={CONFIG: "ui: {navbarTitle: x}\nheadless: true\n"})
        self.assertEqual(
            found.warnings, (f"without effect here: cache (DAGU_CACHE), headless ({CONFIG}:2), ui ({CONFIG}:1)",)
        )

    def test_protection_that_is_not_there(self) -> None:
        """A token or certificate for the web server is kept as a reason to refuse; mode none is no wish for protection."""
        self.assertEqual(load(files={CONFIG: "auth: {mode: none}\nisBasicAuth: false\n"}).unprotected, ())
        found = load(environ={"DAGU_AUTH_TOKEN": "secret"}, files={CONFIG: "tls: {certFile: x}\n"})
        self.assertEqual([problem.where for problem in found.unprotected], ["DAGU_AUTH_TOKEN", f"{CONFIG}:1"])
        self.assertNotIn("secret", str(found))

    def test_unset_variable_in_path(self) -> None:
        """A path with a variable that is not set is refused; it would lead somewhere else."""
        (line,) = problems(environ={"DAGU_DATA_DIR": "$NOWHERE/data"})
        self.assertIn("uses the variable NOWHERE, which is not set", line)


class Places(SynchronousTestCase):
    """The layout of directories, as Dagu 1.30.2 chooses it."""

    def test_xdg(self) -> None:
        """Without a home directory: ~/.config/dagu and the data home; XDG_CONFIG_HOME is not looked at."""
        paths = load(environ={"XDG_CONFIG_HOME": "/xdg/config", "XDG_DATA_HOME": "/xdg/data"}).paths
        self.assertEqual(paths.dags_dir, "/home/u/.config/dagu/dags")
        self.assertEqual(paths.base_config, "/home/u/.config/dagu/base.yaml")
        self.assertEqual(paths.data_dir, "/xdg/data/dagu/data")
        self.assertEqual(paths.log_dir, "/xdg/data/dagu/logs")
        self.assertEqual(paths.admin_logs_dir, "/xdg/data/dagu/logs/admin")
        self.assertEqual(paths.suspend_flags_dir, "/xdg/data/dagu/suspend")
        self.assertEqual(paths.service_registry_dir, "/xdg/data/dagu/data/service-registry")
        self.assertEqual(load().paths.data_dir, "/home/u/.local/share/dagu/data")
        self.assertEqual(load(environ={"XDG_DATA_HOME": "relative"}).paths.data_dir, "/home/u/.local/share/dagu/data")

    def test_home_precedence(self) -> None:
        """--dagu-home over DAGU_HOME over an existing ~/.dagu; in a home everything lies together."""
        old = ("/home/u/.dagu",)
        for flags, environ, home in (
            ({"dagu-home": "h"}, {"DAGU_HOME": "/e"}, "/cwd/h"),
            ({}, {"DAGU_HOME": "/e"}, "/e"),
            ({}, {"DAGU_HOME": "rel"}, "/cwd/rel"),
            ({}, {}, "/home/u/.dagu"),
        ):
            found = load(flags, environ, {f"{home}/config.yaml": "port: 81"}, existing=old)
            self.assertEqual(found.server.port, 81)
            paths = found.paths
            self.assertEqual(
                (paths.home, paths.dags_dir, paths.data_dir, paths.log_dir, paths.suspend_flags_dir, paths.base_config),
                (home, f"{home}/dags", f"{home}/data", f"{home}/logs", f"{home}/suspend", f"{home}/base.yaml"),
            )
            self.assertEqual(found.coordinator.state_dir, f"{home}/data/coordinator")
            self.assertEqual(any("deprecated" in warning for warning in found.warnings), home.endswith(".dagu"))

    def test_below_data(self) -> None:
        """What lies in the data directory moves with it, unless it has its own place."""
        paths = load(environ={"DAGU_DATA_DIR": "/d", "DAGU_QUEUE_DIR": "/q"}).paths
        self.assertEqual(paths.dag_runs_dir, "/d/dag-runs")
        self.assertEqual(paths.proc_dir, "/d/proc")
        self.assertEqual(paths.service_registry_dir, "/d/service-registry")
        self.assertEqual(paths.queue_dir, "/q")
