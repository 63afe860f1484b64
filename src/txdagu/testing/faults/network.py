"""
What lies between the coordinator and each worker, and can be cut: packets vanish then, and nobody is told.

`Namespaces` gives each worker a network of its own, which takes root on Linux; `Proxies` needs nothing.
"""

from __future__ import annotations

import ctypes
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

_CLONE_NEWNET = 0x40000000
_HUB = "10.77.0.1"


class Network(ABC):
    """Workers are called by their ids."""

    description: str
    # Where the coordinator listens, for whoever is not behind a link.
    host: str

    @abstractmethod
    def coordinator_listens(self, port: int) -> None:
        """The coordinator has this port, now and after each restart."""

    @abstractmethod
    def address(self, worker: str) -> str:
        """Where that worker reaches the coordinator: ``host:port``."""

    @abstractmethod
    def command(self, worker: str, argv: Sequence[str]) -> tuple[str, ...]:
        """The command that runs `argv` at the worker's end; the process keeps its id."""

    @abstractmethod
    def cut(self, worker: str) -> None:
        """From now on nothing passes, in either direction."""

    @abstractmethod
    def mend(self, worker: str) -> None:
        """Everything passes again."""

    @abstractmethod
    def close(self) -> None:
        """Take all of it down."""


class Namespaces(Network):
    """
    This process leaves the host's network for an empty one, where a bridge connects it to those of the workers.

    Who is cut off loses the port at the bridge: its own end sees nothing. All of it vanishes with the processes. Make it
    before there are threads, sockets or a reactor. Raises `OSError` where that is not allowed or ``ip``, ``unshare`` or
    ``nsenter`` is missing.
    """

    description = "network namespaces"
    host = _HUB

    def __init__(self, workers: Sequence[str]) -> None:
        self._port = 0
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._links = {worker: f"link{number}" for number, worker in enumerate(workers, 2)}
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, "unshare")
        try:
            _ip("link", "set", "lo", "up")
            _ip("link", "add", "hub", "type", "bridge")
            _ip("addr", "add", f"{_HUB}/24", "dev", "hub")
            _ip("link", "set", "hub", "up")
            for number, worker in enumerate(workers, 2):
                self._connect(worker, f"10.77.0.{number}/24")
        except subprocess.CalledProcessError as error:
            self.close()
            raise OSError(error.returncode, error.stderr.decode().strip() or str(error)) from error
        except OSError:
            self.close()
            raise

    def _connect(self, worker: str, address: str) -> None:
        # A namespace lives as long as somebody is in it.
        holder = subprocess.Popen(("unshare", "--net", "sleep", "infinity"), stdin=subprocess.DEVNULL)
        self._holders[worker] = holder
        ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{holder.pid}/ns/net")
        while holder.poll() is None and theirs.readlink() == ours.readlink():
            time.sleep(0.005)  # noqa: TID251 - there is no reactor yet
        link = self._links[worker]
        _ip("link", "add", link, "type", "veth", "peer", "name", "uplink")
        _ip("link", "set", "uplink", "netns", str(holder.pid))
        inside = self.command(worker, ())
        _ip("link", "set", "lo", "up", inside=inside)
        _ip("addr", "add", address, "dev", "uplink", inside=inside)
        _ip("link", "set", "uplink", "up", inside=inside)
        _ip("link", "set", link, "master", "hub", "up")

    def coordinator_listens(self, port: int) -> None:
        """See `Network`."""
        self._port = port

    def address(self, worker: str) -> str:
        """See `Network`."""
        return f"{_HUB}:{self._port}"

    def command(self, worker: str, argv: Sequence[str]) -> tuple[str, ...]:
        """See `Network`."""
        return ("nsenter", f"--net=/proc/{self._holders[worker].pid}/ns/net", "--", *argv)

    def cut(self, worker: str) -> None:
        """See `Network`."""
        _ip("link", "set", self._links[worker], "nomaster")

    def mend(self, worker: str) -> None:
        """See `Network`."""
        _ip("link", "set", self._links[worker], "master", "hub")

    def close(self) -> None:
        """See `Network`."""
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
        self._holders.clear()


def _ip(*words: str, inside: Sequence[str] = ()) -> None:
    subprocess.run((*inside, "ip", *words), check=True, capture_output=True)


class _Link(Factory):
    """One worker's way to the coordinator; while it is cut, bytes and ends of connections are held back in both directions."""

    def __init__(self, reactor: Any, port: int) -> None:
        self._reactor = reactor
        self._port = port
        self._is_cut = False
        self._held: list[Callable[[], object]] = []

    def buildProtocol(self, addr: Any) -> _Side:
        """A connection of the worker's."""
        return _Side(self)

    def connect_onwards(self, side: _Side) -> None:
        """Give a worker's connection its other half."""
        self._reactor.connectTCP("127.0.0.1", self._port, _Onward(self, side))

    def through(self, passing: Callable[[], object]) -> None:
        """Let something pass, now or when the way is mended."""
        if self._is_cut:
            self._held.append(passing)
        else:
            passing()

    def cut(self) -> None:
        """Hold everything back."""
        self._is_cut = True

    def mend(self) -> None:
        """Let everything pass that was held back, in its order."""
        self._is_cut = False
        held, self._held = self._held, []
        for passing in held:
            passing()


class _Side(Protocol):
    """Half of a forwarded connection: the worker's, or with a `peer` the coordinator's."""

    transport: Any

    def __init__(self, link: _Link, peer: _Side | None = None) -> None:
        self._link = link
        self.peer = peer

    def connectionMade(self) -> None:
        """Read nothing from the worker before there is somebody to send it to."""
        if self.peer is None:
            self.transport.pauseProducing()
            self._link.through(lambda: self._link.connect_onwards(self))
        else:
            self.peer.peer = self
            self.peer.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        self._link.through(lambda: self.peer and self.peer.transport.write(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on."""
        self._link.through(lambda: self.peer and self.peer.transport.loseConnection())


class _Onward(ClientFactory):
    """The other half of a worker's connection; where nobody listens the worker's ends."""

    def __init__(self, link: _Link, side: _Side) -> None:
        self._link = link
        self._side = side

    def buildProtocol(self, addr: Any) -> _Side:
        """It is there."""
        return _Side(self._link, self._side)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:  # noqa: N802 - as Twisted calls it
        """It is not to be had."""
        self._side.transport.loseConnection()


class Proxies(Network):
    """A port on this host for each worker, whose connections are forwarded to the coordinator's."""

    description = "proxies that drop"
    host = "127.0.0.1"

    def __init__(self, reactor: Any, workers: Sequence[str]) -> None:
        self._reactor = reactor
        self._workers = tuple(workers)
        self._links: dict[str, _Link] = {}
        self._ports: dict[str, Any] = {}

    def coordinator_listens(self, port: int) -> None:
        """See `Network`."""
        for worker in self._workers:
            if worker not in self._links:
                link = self._links[worker] = _Link(self._reactor, port)
                self._ports[worker] = self._reactor.listenTCP(0, link, interface="127.0.0.1")

    def address(self, worker: str) -> str:
        """See `Network`."""
        return f"127.0.0.1:{self._ports[worker].getHost().port}"

    def command(self, worker: str, argv: Sequence[str]) -> tuple[str, ...]:
        """See `Network`."""
        return tuple(argv)

    def cut(self, worker: str) -> None:
        """See `Network`."""
        self._links[worker].cut()

    def mend(self, worker: str) -> None:
        """See `Network`."""
        self._links[worker].mend()

    def close(self) -> None:
        """See `Network`."""
        for port in self._ports.values():
            port.stopListening()
