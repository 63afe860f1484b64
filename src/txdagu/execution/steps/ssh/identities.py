"""The keys that a client can show: from a file, from an agent, from where OpenSSH keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.conch.error import ConchError
from twisted.conch.ssh.agent import AGENTC_SIGN_REQUEST, SSHAgentClient
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import BadKeyError, EncryptedKeyError, Key
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from txdagu.model.errors import DaguError

DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519", "id_dsa")
_AGENT_TIMEOUT = 5  # seconds
_AGENT_FLAGS = {b"rsa-sha2-256": 2, b"rsa-sha2-512": 4}  # draft-miller-ssh-agent, section 4.5.1


class Identity(Protocol):
    """A key that can be shown and used: its `public` part, and its `name` for people."""

    @property
    def public(self) -> Key:
        """The public key."""

    @property
    def name(self) -> str:
        """Where it comes from."""

    def sign(self, data: bytes, algorithm: bytes) -> Deferred[bytes]:
        """A signature, by one of the names of RFC 8332 and its like."""


@dataclass(frozen=True)
class KeyFile:
    """A private key from a file."""

    private: Key
    name: str

    @property
    def public(self) -> Key:
        """The public key."""
        public: Key = self.private.public()
        return public

    def sign(self, data: bytes, algorithm: bytes) -> Deferred[bytes]:
        """A signature of our own."""
        return succeed(self.private.sign(data, algorithm))


class Agent(SSHAgentClient):
    """The client of an agent. What waits for an answer learns of the connection's end."""

    def sign(self, blob: bytes, data: bytes, algorithm: bytes) -> Deferred[bytes]:
        """A signature of the agent's; RSA keys are asked for one that servers still take."""
        flags = _AGENT_FLAGS.get(algorithm, 0).to_bytes(4, "big")
        answer: Deferred[bytes] = self.sendRequest(AGENTC_SIGN_REQUEST, NS(blob) + NS(data) + flags)
        return answer.addCallback(self._cbSignData)

    def close(self) -> None:
        """Nothing more is asked of it."""
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The agent has gone."""
        waiting, self.deferreds = self.deferreds, []
        for one in waiting:
            one.errback(reason or Failure(ConnectionLost()))


@dataclass(frozen=True)
class AgentKey:
    """A key that an agent keeps to itself."""

    public: Key
    name: str
    agent: Agent

    def sign(self, data: bytes, algorithm: bytes) -> Deferred[bytes]:
        """Ask the agent."""
        return self.agent.sign(self.public.blob(), data, algorithm)


def read_key(path: str) -> KeyFile:
    """The private key in that file. Blocks. Raises `DaguError` with what to do about one that cannot be used."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DaguError(f"failed to load SSH key from {path}: {error.strerror}: correct key") from error
    try:
        key = _parsed(data)
    except EncryptedKeyError as error:
        raise DaguError(
            f"failed to load SSH key from {path}: it is protected by a passphrase: use a key without one, or add it to an "
            "ssh-agent and leave key out"
        ) from error
    except (BadKeyError, UnsupportedAlgorithm, ValueError, TypeError, LookupError) as error:
        raise DaguError(f"failed to load SSH key from {path}: it holds no private key that is understood") from error
    if key.isPublic():
        raise DaguError(f"failed to load SSH key from {path}: it is a public key: name the private one")
    return KeyFile(key, f"the key {path}")


def _parsed(data: bytes) -> Key:
    if data.lstrip().startswith(b"-----BEGIN PRIVATE KEY-----"):
        return Key(load_pem_private_key(data, None))
    if data.lstrip().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"):
        raise EncryptedKeyError
    key: Key = Key.fromString(data)
    return key


def read_default_keys(home: str) -> list[Identity]:
    """The usual keys of that home that can be used without a passphrase. Blocks."""
    found: list[Identity] = []
    for name in DEFAULT_KEYS:
        path = Path(home, ".ssh", name)
        if path.exists():
            try:
                found.append(read_key(str(path)))
            except DaguError:
                continue
    return found


async def ask_agent(reactor: Any, path: str) -> tuple[Agent | None, list[Identity]]:
    """The agent at that socket and the keys it has; None and nothing if there is no agent that answers."""
    try:
        agent: Agent = await connectProtocol(UNIXClientEndpoint(reactor, path, timeout=_AGENT_TIMEOUT), Agent())
    except ConnectError:
        return None, []
    try:
        listed = await agent.requestIdentities().addTimeout(_AGENT_TIMEOUT, reactor)
    except (ConchError, ConnectionLost, ConnectionDone, TimeoutError):
        agent.close()
        return None, []
    return agent, list(_usable(agent, listed))


def _usable(agent: Agent, listed: Iterable[tuple[bytes, bytes]]) -> Iterable[Identity]:
    """The keys among what an agent has; certificates and types that nobody here knows are none."""
    for blob, comment in listed:
        try:
            key = Key.fromString(blob)
        except (BadKeyError, UnsupportedAlgorithm, ValueError, LookupError):
            continue
        yield AgentKey(key, f"the agent's key {comment.decode('utf-8', 'replace')}".rstrip(), agent)
