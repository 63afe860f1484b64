"""A login on another host, and the commands that run in it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeoutError

from txdagu.execution.steps.ssh.authentication import Authentication
from txdagu.execution.steps.ssh.identities import Agent, Identity, ask_agent, read_default_keys, read_key
from txdagu.execution.steps.ssh.known_hosts import KnownHosts
from txdagu.execution.steps.ssh.session import CommandChannel, RemoteEnd, Write
from txdagu.execution.steps.ssh.target import Target
from txdagu.execution.steps.ssh.transport import Connection, LoginError, Transport
from txdagu.execution.stop import Stop
from txdagu.model.errors import DaguError
from txdagu.system.threads import InThread

LOGIN_TIMEOUT = 30  # seconds for connecting, keys and login together
ALIVE = 30  # seconds between questions whether the host is still there
GIVE_UP = 3  # so many unanswered ones mean that it is not
CUT = 2  # seconds for a goodbye


class Client:
    """An open login. `close` ends it."""

    def __init__(self, reactor: Any, transport: Transport, connection: Connection) -> None:
        self._reactor = reactor
        self._transport = transport
        self._connection = connection
        self._channel: CommandChannel | None = None
        self._trouble = ""
        self._unanswered = 0
        self._later = reactor.callLater(ALIVE, self._ask)
        transport.lost.addCallback(self._lost)

    async def run(self, line: str, write: Write, stop: Stop) -> RemoteEnd:
        """
        Execute a command; what it prints goes to `write`.

        A request to stop becomes a signal to it, one by force its end: the connection is cut then.
        """
        stop.check()
        if self._trouble:
            return RemoteEnd(trouble=self._trouble)
        channel = self._channel = CommandChannel(line, write)
        self._connection.openChannel(channel)
        stop.attach(partial(self._stop, channel, stop))
        try:
            return await channel.ended
        finally:
            stop.detach()
            self._channel = None

    def close(self) -> None:
        """Say goodbye; the connection is cut if that takes long."""
        if self._later.active():
            self._later.cancel()
        if not self._trouble:
            self._transport.close()
            self._later = self._reactor.callLater(CUT, self._transport.abort)

    def _stop(self, channel: CommandChannel, stop: Stop, force: bool) -> None:
        if not force:
            channel.signal(signal.Signals(stop.signal).name)
            return
        channel.signal("SIGKILL")
        channel.drop()

    def _ask(self) -> None:
        """Ask whether somebody is there, as OpenSSH's keepalive does; any answer will do."""
        self._unanswered += 1
        if self._unanswered > GIVE_UP:
            self._transport.abort(
                f"the connection is lost: the host has not answered for {ALIVE * GIVE_UP} s: look there"
            )
            return
        asked: Any = self._connection.sendGlobalRequest(b"keepalive@openssh.com", b"", wantReply=1)
        asked.addBoth(self._answered)
        self._later = self._reactor.callLater(ALIVE, self._ask)

    def _answered(self, _: object) -> None:
        self._unanswered = 0

    def _lost(self, reason: DaguError) -> None:
        self._trouble = str(reason)
        if self._later.active():
            self._later.cancel()
        if self._channel is not None:
            self._channel.lost(self._trouble)


async def log_in(reactor: Any, target: Target, agent_socket: str, in_thread: InThread) -> Client:
    """
    Connect and log in. `agent_socket` is where an agent listens, or empty.

    Raises `DaguError` with one sentence: what failed, and what to do about it. Cancelling it ends the connection.
    """
    known = await in_thread(partial(_known_hosts, target)) if target.strict else None
    agent, identities = await _identities(reactor, target, agent_socket, in_thread)
    try:
        return await _connected(reactor, target, known, identities)
    finally:
        if agent is not None:
            agent.close()


def _known_hosts(target: Target) -> KnownHosts:
    path = target.known_hosts
    try:
        text = Path(path).read_text("utf-8", "replace")
    except OSError as error:
        raise DaguError(
            f"the host key of {target.address} cannot be checked: {path}: {error.strerror}: make the file with ssh-keyscan, or "
            "name another as knownHostFile"
        ) from error
    return KnownHosts(text, path, target.host, target.port)


async def _identities(
    reactor: Any, target: Target, agent_socket: str, in_thread: InThread
) -> tuple[Agent | None, Sequence[Identity]]:
    if target.key:
        return None, [await in_thread(partial(read_key, target.key))]
    if target.password:
        return None, []
    agent, identities = await ask_agent(reactor, agent_socket) if agent_socket else (None, [])
    identities = [*identities, *await in_thread(partial(read_default_keys, target.home))]
    if not identities:
        if agent is not None:
            agent.close()
        raise DaguError(
            f"there is nothing to log in with as {target}: no SSH key specified, none in an ssh-agent and no usable default key "
            f"in {target.home}/.ssh: give key or password"
        )
    return agent, identities


async def _connected(reactor: Any, target: Target, known: KnownHosts | None, identities: Sequence[Identity]) -> Client:
    connection = Connection()
    authentication = Authentication(target.user, connection, identities, target.password)
    transport = Transport(known, authentication, str(target))
    try:
        endpoint = HostnameEndpoint(reactor, target.host, target.port, timeout=LOGIN_TIMEOUT)
        await connectProtocol(endpoint, transport)
    except ValueError as error:
        raise LoginError(f"{target.host!r} is not the name or address of a host: correct host, and port") from error
    except (ConnectError, DNSLookupError) as error:
        raise LoginError(f"no connection to {target}: {_reason(error)}") from error
    opened = connection.opened
    transport.lost.addCallback(_tell, opened)
    late = reactor.callLater(LOGIN_TIMEOUT, opened.cancel)
    try:
        await opened
    except LoginError:
        raise
    except BaseException as error:
        transport.abort()
        if not late.active():
            raise LoginError(f"{target} did not let us in within {LOGIN_TIMEOUT} s: look there") from error
        raise
    finally:
        if late.active():
            late.cancel()
    return Client(reactor, transport, connection)


def _tell(reason: DaguError, opened: Deferred[Any]) -> DaguError:
    if not opened.called:
        opened.errback(reason)
    return reason


def _reason(error: Exception) -> str:
    if isinstance(error, DNSLookupError):
        return "no host of that name is known: correct host"
    if isinstance(error, ConnectTimeoutError):
        return f"no answer within {LOGIN_TIMEOUT} s: look whether the host is up and a firewall lets us through"
    return f"{str(error).strip().rstrip('.')}: look whether its sshd runs, and correct host and port"
