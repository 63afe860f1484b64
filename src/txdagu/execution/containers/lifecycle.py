"""A container from its image to its removal."""

from __future__ import annotations

import re
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from txdagu.execution.containers.blueprint import Blueprint
from txdagu.execution.containers.engine import ContainerEngine, Print
from txdagu.execution.containers.images import image_name, registry_header
from txdagu.execution.containers.stopping import until_stopped
from txdagu.execution.containers.transport import EngineError
from txdagu.execution.stop import Stop
from txdagu.model.container import PullPolicy
from txdagu.model.errors import ConflictError, DaguError, NotFoundError

READY_SECONDS = 120.0
LOOK_SOON, LOOK_LATE = 0.02, 0.5  # seconds between looks, growing
LAST_WORDS = 400  # characters of a container's log in an error
_COMING = frozenset({"created", "restarting"})

Warn = Callable[[str], Awaitable[None]]


async def provide_image(engine: ContainerEngine, plan: Blueprint, auths: Mapping[str, Any], stop: Stop) -> None:
    """Fetch the image of a plan if its policy says so. `auths` are evaluated."""
    if plan.pull is PullPolicy.NEVER:
        return
    if plan.pull is PullPolicy.MISSING:
        known = await stop.race(engine.image(plan.image))
        if known is not None and _fits(known, plan.platform):
            return
    name = image_name(plan.image)
    credentials = registry_header(auths, name.registry)
    try:
        await stop.race(engine.pull(plan.image, plan.platform, credentials))
    except EngineError as error:
        advice = "check its name" if credentials else "check its name, or give the DAG registryAuths"
        raise DaguError(
            f"the image {plan.image} cannot be fetched from {name.registry}: {error.reason}; {advice}"
        ) from error


def _fits(image: Mapping[str, Any], platform: str) -> bool:
    """Whether an image is for a platform as ``linux/arm64``; any is, where nothing is demanded."""
    theirs = (image.get("Os"), image.get("Architecture"))
    return not platform or all(ours == has for ours, has in zip(platform.lower().split("/"), theirs, strict=False))


async def create(engine: ContainerEngine, plan: Blueprint, body: Mapping[str, Any]) -> str:
    """Make the container of a plan; its id. Never given up half-way: nobody would know the container."""
    try:
        return await engine.create(body, plan.name, plan.platform)
    except EngineError as error:
        if error.status == HTTPStatus.NOT_FOUND and "no such image" in error.reason.lower():
            raise NotFoundError(
                f"the image {plan.image} is not there, and may not be fetched: {error.reason}; "
                f"run docker pull {plan.image}, or write pullPolicy: missing"
            ) from error
        if error.status == HTTPStatus.CONFLICT and plan.name:
            raise ConflictError(
                f'container with name "{plan.name}" already exists, and does not run: remove it with '
                f"docker rm {plan.name}, or take another name"
            ) from error
        raise DaguError(f"a container of {plan.image} cannot be created: {error.reason}") from error


async def start(engine: ContainerEngine, plan: Blueprint, container: str) -> None:
    """Let a container that was made for a plan run."""
    try:
        await engine.start(container)
    except EngineError as error:
        reason = f"the container of {plan.image} cannot be started: {error.reason}"
        if "executable file not found" in error.reason:
            reason += "; the image has no such program, and no shell is put around a command: write sh -c '…' for one"
        raise DaguError(reason) from error


async def run_alone(
    engine: ContainerEngine,
    plan: Blueprint,
    words: tuple[str, ...],
    stop: Stop,
    clock: IReactorTime,
    write: Print,
    warn: Warn,
) -> int:
    """
    Run one command as the program of a container of its own; its exit status.

    A stop is passed on as a signal to it. Whatever happens, the container is removed, or has at least ended where the plan keeps
    it. Raises `StopRequested` when the end was wanted before the start.
    """
    stop.check()
    container = await create(engine, plan, plan.for_command(words))
    keep = ended = False
    try:
        framed = not plan.body.get("Tty")
        listening = engine.listen(await engine.attach(container), write, framed=framed)
        try:
            await start(engine, plan, container)
        except BaseException:
            listening.addErrback(lambda _: None)
            listening.cancel()
            raise
        keep = plan.keep

        async def end() -> int:
            await listening
            return await engine.wait(container)

        async def pass_on(force: bool) -> None:
            await engine.kill(container, signal.Signals(stop.signal).name)

        what = f"the container {container[:12]}"
        code = await until_stopped(Deferred.fromCoroutine(end()), pass_on, stop, clock, what)
        ended = True
        return code
    finally:
        if not (keep and ended):
            await discard(engine, container, warn, keep=keep)


async def discard(engine: ContainerEngine, container: str, warn: Warn, *, keep: bool = False) -> None:
    """Remove a container, or only end it at once where it is to be kept. What goes wrong is told to `warn`."""
    try:
        await (engine.kill(container, "SIGKILL") if keep else engine.remove(container))
    except DaguError as error:
        await warn(f"container {container[:12]} could not be {'ended' if keep else 'removed'}: {error}\n")


async def find_running(engine: ContainerEngine, name: str, stop: Stop, clock: IReactorTime, *, needed: bool) -> str:
    """
    The id of the running container of that name; one that is about to run is waited for.

    Where there is none: empty, or `NotFoundError` if it is `needed`.
    """
    deadline, pause = clock.seconds() + READY_SECONDS, LOOK_SOON
    while True:
        known = await stop.race(engine.inspect(name))
        state = _state(known)
        if state.get("Running") and not state.get("Paused"):
            return str((known or {}).get("Id") or name)
        status = state.get("Status") or "not found"
        if not needed:
            return ""
        if status not in _COMING or clock.seconds() > deadline:
            what = (
                f"there is no container {name} at {engine.where}" if known is None else f"container {name} is {status}"
            )
            raise NotFoundError(
                f"{what}: it has to run before the step begins; start it, or write image instead of exec"
            )
        await stop.race(deferLater(clock, pause))
        pause = min(pause * 2, LOOK_LATE)


async def wait_ready(
    engine: ContainerEngine, plan: Blueprint, container: str, stop: Stop, clock: IReactorTime, warn: Warn
) -> None:
    """
    Wait until commands can be executed in a container: it runs, or is healthy, and has printed what the plan waits for.

    Raises `DaguError` if it ends before, becomes unhealthy, or takes more than `READY_SECONDS`.
    """
    pattern = _pattern(plan.log_pattern)
    deadline, pause = clock.seconds() + READY_SECONDS, LOOK_SOON
    while not await _is_ready(engine, plan, container, stop, warn):
        if clock.seconds() > deadline:
            raise DaguError(f"the container of {plan.image} was not {plan.wait_for} within {READY_SECONDS:g} s")
        await stop.race(deferLater(clock, pause))
        pause = min(pause * 2, LOOK_LATE)
    if pattern is not None:
        await _wait_for_line(engine, plan, container, pattern, stop, clock)


async def _is_ready(engine: ContainerEngine, plan: Blueprint, container: str, stop: Stop, warn: Warn) -> bool:
    state = _state(await stop.race(engine.inspect(container)))
    status = state.get("Status") or "gone"
    if not state.get("Running"):
        if status in _COMING:
            return False
        raise DaguError(
            f"the container of {plan.image} is not running; status={status}, exitCode={state.get('ExitCode')}"
            + await _last_words(engine, container)
            + "; what startup names has to go on while the commands run"
        )
    if plan.wait_for != "healthy":
        return True
    health = (state.get("Health") or {}).get("Status", "none")
    if health == "none":
        await warn(f"the image {plan.image} has no health check: waited until it ran\n")
    if health == "unhealthy":
        raise DaguError(f"the container of {plan.image} is unhealthy" + await _last_words(engine, container))
    return bool(health != "starting")


async def _wait_for_line(
    engine: ContainerEngine,
    plan: Blueprint,
    container: str,
    pattern: re.Pattern[str],
    stop: Stop,
    clock: IReactorTime,
) -> None:
    found: Deferred[None] = Deferred()
    line = ""

    async def search(data: bytes, _error: bool) -> None:
        nonlocal line
        *whole, line = (line + data.decode("utf-8", "replace")).split("\n")
        if not found.called and any(map(pattern.search, (*whole, line))):
            found.callback(None)

    listening = engine.listen(await stop.race(engine.logs(container, follow=True)), search)
    listening.addCallbacks(partial(_ended_before, found), partial(_broke, found))
    late = clock.callLater(READY_SECONDS, found.cancel)
    try:
        await stop.race(found)
    except CancelledError:
        raise DaguError(
            f"the container of {plan.image} printed nothing that matches {plan.log_pattern!r} within "
            f"{READY_SECONDS:g} s" + await _last_words(engine, container)
        ) from None
    except EOFError:
        raise DaguError(
            f"the container of {plan.image} ended before it printed what matches {plan.log_pattern!r}"
            + await _last_words(engine, container)
        ) from None
    finally:
        if late.active():
            late.cancel()
        listening.cancel()


def _ended_before(found: Deferred[None], _: None) -> None:
    if not found.called:
        found.errback(EOFError())


def _broke(found: Deferred[None], failure: Any) -> None:
    if not found.called and not failure.check(CancelledError):
        found.errback(failure)


async def _last_words(engine: ContainerEngine, container: str) -> str:
    """The end of a container's log, as a part of a sentence; empty if there is none or it cannot be read."""
    said = bytearray()

    async def keep(data: bytes, _error: bool) -> None:
        said.extend(data)
        del said[:-LAST_WORDS]

    try:
        await engine.listen(await engine.logs(container, follow=False, tail="5"), keep)
    except DaguError:
        return ""
    text = said.decode("utf-8", "replace").strip()
    return f"; its last words: {text}" if text else ""


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise DaguError(f"invalid logPattern regex: {text!r}: {error}") from None


def _state(known: Mapping[str, Any] | None) -> Mapping[str, Any]:
    state = (known or {}).get("State")
    return state if isinstance(state, Mapping) else {}
