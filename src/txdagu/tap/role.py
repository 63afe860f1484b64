"""The parent of a role's services: starts them in order, stops them in reverse order, and waits for each."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from errno import EACCES
from pathlib import Path
from typing import Any, cast

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.logger import Logger

from txdagu.config.settings import Settings
from txdagu.model.errors import DaguError, InvalidInputError, Problem, error_lines
from txdagu.system.clock import monotonic
from txdagu.system.files import make_directories
from txdagu.system.lateness import LatenessWatch
from txdagu.tap.options import SettingsOptions
from txdagu.tap.process import RoleProcess, UnixProcess, exit_with
from txdagu.tap.settings import read_settings

NamedServices = Sequence[tuple[str, IService]]
Build = Callable[[Settings, Any], NamedServices]

EXPECTED = (DaguError, CannotListenError, OSError)
_PORT_SETTINGS = {"coordinator": "coordinator.port", "web server": "port", "scheduler": "scheduler.port"}


class RoleService(Service):
    """
    One role: named services which may start and stop asynchronously.

    `startService` of a child may raise, or return a Deferred or a coroutine; the next child starts when it is done. If one fails,
    those before it are stopped again, the reason is written as one line and `exit_code` becomes 1. A child whose own start fails
    leaves nothing behind by itself; its `stopService` is not called. SIGHUP calls ``reload()`` of the children that have one; it
    returns a sentence for each thing that was reloaded. A second signal to stop calls ``hurry()`` of those that have one; where
    none has, it ends the process.
    """

    log = Logger()

    def __init__(
        self, role: str, children: NamedServices, settings: Settings, reactor: Any, process: RoleProcess
    ) -> None:
        self.role = role
        self.settings = settings
        self.exit_code = 0
        self.ready = False
        """Whether all children have started, and none was stopped yet."""
        self._children = tuple(children)
        self._reactor = reactor
        self._process = process
        self._started: list[tuple[str, IService]] = []
        self._starting: Deferred[None] | None = None

    def privilegedStartService(self) -> None:
        """Let every child do what needs privileges, before twistd gives them up. Ends the program with one line if one cannot."""
        for name, child in self._children:
            try:
                child.privilegedStartService()
            except EXPECTED as error:
                self._process.complain(explain(name, error))
                raise SystemExit(1) from None

    def startService(self) -> None:
        """Start the children as soon as the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """Stop the children that were started, the last one first; fires when all have ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def _begin(self) -> None:
        if not self.running:
            return
        can_hurry = any(hasattr(child, "hurry") for _, child in self._children)
        self._process.watch_signals(
            self._asked_to_stop, self._asked_to_reload, self._asked_to_hurry if can_hurry else None
        )
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(
            lambda failure: self.log.failure("while starting the {role}", failure, role=self.role)
        )

    def _asked_to_stop(self, signal_name: str) -> None:
        self.log.info("{signal}: the {role} is stopping", signal=signal_name, role=self.role)
        self._end_process()

    def _asked_to_hurry(self, signal_name: str) -> None:
        self.log.warn("{signal} again: the {role} ends at once", signal=signal_name, role=self.role)
        for _, child in self._children:
            hurry = getattr(child, "hurry", None)
            if hurry is not None:
                hurry()

    def _asked_to_reload(self, signal_name: str) -> None:
        """Let the children that can do so read their files again. Before they are all ready, and at the end, there is no need."""
        if not self.ready:
            self.log.info(
                "{signal}: the {role} is starting or stopping; nothing to reload", signal=signal_name, role=self.role
            )
            return
        self._process.notify_reloading()
        told: list[str] = []
        for name, child in self._started:
            reload = getattr(child, "reload", None)
            if reload is None:
                continue
            try:
                told += reload()
            except Exception:  # noqa: BLE001 - the process goes on with what it had
                self.log.failure("the {child} could not be reloaded", child=name)
                told.append(f"{name}: failed")
        what = "; ".join(told) or "nothing to reload"
        self.log.info("{signal}: the {role} reloads: {what}", signal=signal_name, role=self.role, what=what)
        self._process.notify("READY=1")

    def _end_process(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            self.log.debug("the reactor is stopping already")

    async def _start(self) -> None:
        for name, child in self._children:
            try:
                await _done(child.startService)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process with that as reason
                if isinstance(error, CancelledError) and not self.running:
                    return
                self._failed(name, error)
                return
            self._started.append((name, child))
        self.ready = True
        self.log.info("the {role} is ready", role=self.role)
        self._process.notify("READY=1")

    def _failed(self, name: str, error: Exception) -> None:
        self.exit_code = 1
        reason = explain(name, error)
        if not isinstance(error, EXPECTED):
            self.log.failure("the {child} could not start", child=name)
        self._process.complain(reason)
        self._end_process()

    async def _stop(self) -> None:
        self.ready = False
        self._process.notify("STOPPING=1")
        if self._starting is not None:
            ended: Deferred[None] = Deferred()
            self._starting.addBoth(lambda _: ended.callback(None))
            self._starting.cancel()
            await ended
        while self._started:
            name, child = self._started.pop()
            try:
                await _done(child.stopService)
            except Exception:  # noqa: BLE001 - the others must be stopped all the same
                self.exit_code = 1
                self.log.failure("the {child} did not stop cleanly", child=name)


def _done(call: Callable[[], object]) -> Awaitable[object]:
    """The end of a call that may raise, return a value, a Deferred or a coroutine."""
    return maybeDeferred(cast("Callable[[], Deferred[object]]", call))


def explain(name: str, error: Exception) -> str:
    """Why a service could not start, as lines for people."""
    if isinstance(error, DaguError):
        return error_lines(error)
    if isinstance(error, CannotListenError):
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        where = f"{error.interface or 'every address'} port {error.port}"
        setting = _PORT_SETTINGS.get(name, "its port")
        return (
            f"Error: the {name} cannot listen on {where}: {reason} "
            f"(end the process that uses it, or choose another with {setting})"
        )
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        return f"Error: the {name} cannot start: {what}"
    return f"Error: the {name} cannot start because of a defect in it: {type(error).__name__}: {error}"


def role_service(
    role: str, options: SettingsOptions, build: Build, reactor: Any = None, *, opens_web: bool = False
) -> RoleService:
    """
    From options to the service of a role; `build` makes its children from settings and reactor.

    Without a reactor we are called by twistd: the process' own reactor is taken, errors become `SystemExit`, which twistd shows
    as one line with exit code 1, and a failed start ends the process with 1. Otherwise raises `DaguError`.
    """
    if reactor is not None:
        return _role_service(role, options, build, reactor, opens_web=opens_web)
    from twisted.internet import reactor as process_reactor  # noqa: TID251 - this is the edge where it comes in

    try:
        service = _role_service(role, options, build, process_reactor, opens_web=opens_web)
    except DaguError as error:
        raise SystemExit(error_lines(error)) from None
    exit_with(lambda: service.exit_code)
    return service


def _role_service(role: str, options: SettingsOptions, build: Build, reactor: Any, *, opens_web: bool) -> RoleService:
    settings = read_settings(options)
    refuse_unprotected(settings, opens_web=opens_web)
    require_directories(settings)
    for warning in settings.warnings:
        RoleService.log.warn("{warning}", warning=warning)
    children = [("clock", LatenessWatch(reactor, monotonic)), *build(settings, reactor)]
    return RoleService(role, children, settings, reactor, UnixProcess(reactor))


def require_directories(settings: Settings) -> None:
    """
    Make the directories that a role cannot do without. Raises `InvalidInputError` if they cannot be had.

    Called before the reactor runs. A directory that is lost later is no reason to end; then a role tries again.
    """
    for key, path in (
        ("paths.dataDir", settings.paths.data_dir),
        ("paths.serviceRegistryDir", settings.paths.service_registry_dir),
    ):
        try:
            make_directories(Path(path))
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
        except OSError as error:
            where = settings.origins.get(key, key)
            advice = "make it usable, or choose another with --dagu-home or DAGU_HOME"
            problem = Problem(f"the directory {path} cannot be used: {error.strerror}", where, advice)
            raise InvalidInputError([problem]) from error


def refuse_unprotected(settings: Settings, *, opens_web: bool) -> None:
    """Raise `InvalidInputError` if settings ask for a protection of the web server that there is not: better closed than open."""
    if opens_web and settings.unprotected:
        raise InvalidInputError(settings.unprotected)
