"""Flags, environment, files and defaults become one `Settings`. Pure: everything from outside comes in as an argument."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from txdagu.config.definitions import CONFIG_FLAG, DEFINITIONS, ELSEWHERE, ENV_PREFIX, Definition, Elsewhere, Kind
from txdagu.config.files import FileSettings, Given
from txdagu.config.places import Places, find_places
from txdagu.config.settings import (
    CoordinatorSettings,
    PathSettings,
    PeerSettings,
    QueueSettings,
    SchedulerSettings,
    ServerSettings,
    Settings,
    WorkerSettings,
)
from txdagu.config.values import Surroundings, UnfitError, read_value
from txdagu.model.errors import InvalidInputError, Problem

_SECTIONS: dict[str, type[Any]] = {
    "server": ServerSettings,
    "coordinator": CoordinatorSettings,
    "worker": WorkerSettings,
    "peer": PeerSettings,
    "scheduler": SchedulerSettings,
}
_NOTHING = frozenset(("", "none", "false", "0"))


@dataclass(frozen=True, slots=True)
class Sources:
    """
    All that settings are made of, and the surroundings that relative paths and defaults refer to.

    `flags` maps long option names without dashes to what was given; `read_file` returns a file's text, None if there is no such
    file, and raises `InvalidInputError` if it cannot be read. `home_dir` is the user's home, `cwd` an absolute directory.
    `coordinator_follows_host` is for start-all: ``--host`` is the coordinator's address too unless that has its own.
    """

    flags: Mapping[str, str]
    environ: Mapping[str, str]
    read_file: Callable[[str], str | None]
    home_dir: str
    hostname: str
    pid: int
    cwd: str
    path_exists: Callable[[str], bool]
    coordinator_follows_host: bool = False


def load_settings(
    *,
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    read_file: Callable[[str], str | None],
    home_dir: str,
    hostname: str,
    pid: int,
    cwd: str,
    path_exists: Callable[[str], bool],
    coordinator_follows_host: bool = False,
) -> Settings:
    """
    Merge what was given: flags win over environment, environment over files, files over defaults.

    The arguments are those of `Sources`. Raises `InvalidInputError` with every mistake in the values that count; a value that
    a stronger source replaces is not looked at.
    """
    sources = Sources(flags, environ, read_file, home_dir, hostname, pid, cwd, path_exists, coordinator_follows_host)
    return _Loading(sources).settings()


@dataclass(slots=True)
class _Loading:
    sources: Sources
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def settings(self) -> Settings:
        places = self._places()
        files, config_file = self._files(places)
        self.problems += files.problems
        self.warnings += files.warnings
        values: dict[tuple[str, str], object] = {}
        for definition in DEFINITIONS:
            given = self._given(definition, files)
            if given is not None:
                self._read(definition, given, values)
        unprotected = self._elsewhere(files)
        self._misspelled()
        if self.problems:
            raise InvalidInputError(self.problems)
        return self._assembled(values, places, config_file, unprotected)

    def _places(self) -> Places:
        sources = self.sources
        try:
            places = find_places(
                flags=sources.flags,
                environ=sources.environ,
                home_dir=sources.home_dir,
                cwd=sources.cwd,
                path_exists=sources.path_exists,
            )
        except InvalidInputError as error:
            self.problems += error.problems
            return Places("/", "/")
        if places.warning:
            self.warnings.append(places.warning)
        if places.origin:
            self.origins["home"] = places.origin
        return places

    def _files(self, places: Places) -> tuple[FileSettings, str]:
        chosen = self.sources.flags.get(CONFIG_FLAG[0], "").strip()
        origin = f"--{CONFIG_FLAG[0]}"
        path = posixpath.join(places.config_dir, "config.yaml")
        files = FileSettings()
        if chosen:
            definition = Definition("config", Kind.PATH, "")
            given = Given(chosen, origin, self.sources.cwd)
            found: dict[tuple[str, str], object] = {}
            self._read(definition, given, found)
            path = str(found.get(definition.place, ""))
        if not path:
            return files, ""
        text = self._text(path)
        if text is None and chosen and not any(problem.where.startswith(path) for problem in self.problems):
            self.problems.append(Problem(f"{path} does not exist", origin, "name a YAML file that does"))
        admin_path = posixpath.join(posixpath.dirname(path), "admin.yaml")
        for name, content in ((path, text), (admin_path, self._text(admin_path))):
            if content is not None:
                files.add(content, name)
        return files, path if text is not None else ""

    def _text(self, path: str) -> str | None:
        try:
            return self.sources.read_file(path)
        except InvalidInputError as error:
            self.problems += error.problems
            return None

    def _given(self, definition: Definition, files: FileSettings) -> Given | None:
        """What the strongest source says; None if none says anything. Empty variables and flags of paths say nothing."""
        flag = self.sources.flags.get(definition.flag) if definition.flag else None
        if flag is not None:
            return Given(flag, f"--{definition.flag}", self.sources.cwd)
        by_variable = {name: self.sources.environ.get(name, "").strip() for name in definition.env}
        named = {name: value for name, value in by_variable.items() if value}
        if named:
            name, value = next(iter(named.items()))
            if name.startswith("DAGU__"):
                self.warnings.append(f"{name} is an old name, set {definition.env[0]}")
            for other, other_value in named.items():
                if other_value != value:
                    self.warnings.append(f"{name} and {other} differ; {definition.key} is taken from {name}")
            return Given(value, name, self.sources.cwd)
        return files.given.get(definition.key)

    def _read(self, definition: Definition, given: Given, values: dict[tuple[str, str], object]) -> None:
        where = f"{definition.key} from {given.origin}"
        surroundings = Surroundings(given.base_dir, self.sources.home_dir, self.sources.environ)
        try:
            value = read_value(definition, given.value, surroundings)
        except UnfitError as error:
            self.problems.append(Problem(str(error), where, error.advice))
        except InvalidInputError as error:
            self.problems += [replace(problem, where=where) for problem in error.problems]
        else:
            if value != "" or definition.kind in (Kind.LABELS, Kind.QUEUES):
                values[definition.place] = value
                self.origins[definition.key] = given.origin

    def _elsewhere(self, files: FileSettings) -> tuple[Problem, ...]:
        """What was set of the things that only Dagu has: protecting settings are returned, the rest goes into one warning."""
        unprotected: list[Problem] = []
        idle: list[str] = []
        for entry in ELSEWHERE:
            for given in self._all_of(entry, files):
                if not entry.protects:
                    idle.append(f"{entry.key} ({given.origin})")
                elif str(given.value).strip().lower() not in _NOTHING:
                    unprotected.append(
                        Problem(
                            f"{entry.key} is set, but this version cannot protect the web server",
                            given.origin,
                            "remove the setting and put a proxy that asks for credentials in front",
                        )
                    )
        if idle:
            self.warnings.append(f"without effect here: {', '.join(idle)}")
        return tuple(unprotected)

    def _all_of(self, entry: Elsewhere, files: FileSettings) -> list[Given]:
        environ = self.sources.environ
        given = [Given(environ[name], name, "") for name in entry.env if environ.get(name, "").strip()]
        return [*given, files.elsewhere[entry.key]] if entry.key in files.elsewhere else given

    def _misspelled(self) -> None:
        """Warn of variables that are nearly, but not quite, the name of a setting. Others may be anybody's."""
        from txdagu.config.nearest import within_edits

        known = {name for definition in DEFINITIONS for name in definition.env} | {"DAGU_HOME"}
        other = {name for entry in ELSEWHERE for name in entry.env}
        for name in sorted(self.sources.environ):
            if name.startswith(ENV_PREFIX) and name not in known and name not in other:
                meant = within_edits(name, sorted(known), 2 if len(name) > len("DAGU_LOG_DIR") else 1)
                if meant:
                    self.warnings.append(f"{name} is no setting (did you mean {meant}?)")

    def _assembled(
        self, values: dict[tuple[str, str], object], places: Places, config_file: str, unprotected: tuple[Problem, ...]
    ) -> Settings:
        sources = self.sources

        def given_in(section: str) -> dict[str, Any]:
            return {name: value for (head, name), value in values.items() if head == section}

        paths = given_in("paths")
        paths.setdefault("data_dir", places.default_of("data_dir", ""))
        for each in fields(PathSettings):
            paths.setdefault(each.name, places.default_of(each.name, paths["data_dir"]))
        paths.update(config_file=config_file, home=places.home)
        if (
            sources.coordinator_follows_host
            and "coordinator.host" not in self.origins
            and self.origins.get("host") == "--host"
        ):
            values["coordinator", "host"] = values["server", "host"]
            self.origins["coordinator.host"] = self.origins["host"]
        values.setdefault(("coordinator", "state_dir"), places.default_of("state_dir", paths["data_dir"]))
        base_path = str(values.get(("server", "base_path"), "")).strip("/")
        values["server", "base_path"] = f"/{base_path}" if base_path else ""
        values.setdefault(("worker", "id"), f"{sources.hostname}@{sources.pid}")
        top = given_in("")
        top.setdefault("default_shell", sources.environ.get("SHELL", "").strip() or "sh")
        queues = given_in("queues")
        return Settings(
            paths=PathSettings(**paths),
            queues=QueueSettings(enabled=queues.get("enabled", True), limits=queues.get("config", {})),
            **{name: section(**given_in(name)) for name, section in _SECTIONS.items()},
            **top,
            origins=self.origins,
            warnings=tuple(dict.fromkeys(self.warnings)),
            unprotected=unprotected,
        )
