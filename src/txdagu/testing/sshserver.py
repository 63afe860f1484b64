"""An SSH server on Conch that does what a test says, for tests of ssh steps."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_ssh_private_key
from twisted.conch.avatar import ConchUser
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.conch.ssh.userauth import SSHUserAuthServer
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure
from zope.interface import implementer, provider


@provider(ILogObserver)
def _ignore(event: object) -> None:
    """Tests look at what comes of it."""


_SILENT = Logger(namespace="txdagu.testing", observer=_ignore)


def new_key() -> Key:
    """A private key, quickly made."""
    return Key(Ed25519PrivateKey.generate())


def new_rsa_key() -> Key:
    """A private RSA key; making one takes a moment."""
    key: RSAPrivateKey = generate_private_key(65537, 2048)
    return Key(key)


def key_text(key: Key, passphrase: bytes = b"") -> bytes:
    """A private key as ssh-keygen writes it; one with a passphrase, which has to be RSA, as it did of old: that is quick."""
    text: bytes = key.toString("openssh", passphrase=passphrase or None, subtype="PEM" if passphrase else "v1")
    return text


def pkcs8_text(key: Key) -> bytes:
    """A private key as OpenSSL writes it."""
    loaded = load_ssh_private_key(key_text(key), None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class ServedCommand(SSHChannel):
    """A command that a client has asked for: `line`. `signals` are those that the client sent, `eof` whether its input ended."""

    name = b"session"
    _log = _SILENT
    conn: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.line = ""
        self.signals: list[str] = []
        self.eof = False
        self.gone: Deferred[None] = Deferred()
        self.signalled: Deferred[str] = Deferred()

    def request_exec(self, data: bytes) -> bool:
        """Begin; the server's `behave` says what that means."""
        self.line = getNS(data)[0].decode()
        server: SshServer = self.avatar.server  # type: ignore[union-attr]
        if server.refuses_commands:
            return False
        server.commands.append(self)
        server.clock.callLater(0, server.behave, self)  # after the client has got its answer
        return True

    def request_env(self, data: bytes) -> bool:
        """No client of ours should ask for that."""
        raise AssertionError(data)

    def request_signal(self, data: bytes) -> bool:
        """Remembered."""
        self.signals.append(getNS(data)[0].decode())
        if not self.signalled.called:
            self.signalled.callback(self.signals[-1])
        return True

    def print(self, data: bytes) -> None:
        """Write to standard output."""
        self.write(data)

    def print_error(self, data: bytes) -> None:
        """Write to standard error."""
        self.writeExtended(1, data)

    def exit(self, code: int = 0) -> None:
        """End with that status."""
        self.conn.sendRequest(self, b"exit-status", struct.pack(">L", code))
        self.loseConnection()

    def die(self, signal: str, message: str = "") -> None:
        """End by a signal, told without SIG."""
        self.conn.sendRequest(self, b"exit-signal", NS(signal.encode()) + b"\0" + NS(message.encode()) + NS(b""))
        self.loseConnection()

    def eofReceived(self) -> None:  # noqa: N802 - Conch's name
        """The client will send nothing."""
        self.eof = True

    def closeReceived(self) -> None:  # noqa: N802 - Conch's name
        """The client does not want more."""
        self.loseConnection()

    def closed(self) -> None:
        """The end of the channel."""
        self.gone.callback(None)


class _Avatar(ConchUser):
    def __init__(self, server: SshServer) -> None:
        super().__init__()
        self.server = server
        self.channelLookup[b"session"] = ServedCommand


class _Connection(SSHConnection):
    _log = _SILENT


class _Authentication(SSHUserAuthServer):
    _log = _SILENT
    transport: Any
    passwordDelay = 0  # noqa: N815 - Conch's name; waits after each failure

    def ssh_USERAUTH_REQUEST(self, packet: bytes) -> Any:  # noqa: N802 - Conch's name
        _, _, method, rest = getNS(packet, 3)
        if method == b"publickey" and rest[:1] == b"\1":
            self.transport.factory.server.algorithms.append(getNS(rest[1:])[0].decode())
        return super().ssh_USERAUTH_REQUEST(packet)


class _Transport(SSHServerTransport):
    _log = _SILENT
    factory: Any

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self.factory.server.connections.remove(self)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.server.connections.append(self)


class _Factory(SSHFactory):
    protocol = _Transport
    portal: Portal

    def __init__(self, server: SshServer) -> None:
        self.server = server
        self.services = {b"ssh-userauth": _Authentication, b"ssh-connection": _Connection}

    def getPublicKeys(self) -> dict[bytes, Key]:  # noqa: N802 - Conch's name
        return {name: key.public() for name, key in self.getPrivateKeys().items()}

    def getPrivateKeys(self) -> dict[bytes, Key]:  # noqa: N802 - Conch's name
        return {key.sshType(): key for key in (self.server.host_key, *self.server.more_host_keys)}

    def getPrimes(self) -> None:  # noqa: N802 - Conch's name
        """No groups of our own."""


@implementer(IRealm)
class SshServer:
    """
    Lets `user` in with `password` or one of `keys`, and has `behave` called with each command.

    `commands` are those that came, `connections` the open ones, `algorithms` what clients signed with. `more_host_keys` are of
    other types than `host_key`, and set before it listens.
    """

    user = "ann"
    password = "secret"  # noqa: S105 - of a test

    def __init__(self, clock: Any, behave: Callable[[ServedCommand], None], keys: list[Key] | None = None) -> None:
        self.clock = clock
        self.behave = behave
        self.host_key = new_key()
        self.more_host_keys: list[Key] = []
        self.commands: list[ServedCommand] = []
        self.connections: list[_Transport] = []
        self.algorithms: list[str] = []
        self.refuses_commands = False
        passwords = InMemoryUsernamePasswordDatabaseDontUse(**{self.user: self.password.encode()})
        known = SSHPublicKeyChecker(InMemorySSHKeyDB({self.user.encode(): [key.public() for key in keys or ()]}))
        self.factory = _Factory(self)
        self.factory.portal = Portal(self, [passwords, known])

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: object) -> Any:  # noqa: N802, N803 - cred's names
        """Anybody who was let in."""
        return IConchUser, _Avatar(self), lambda: None

    def known_hosts_line(self, host: str, port: int) -> str:
        """The line for this server in a known_hosts file."""
        return f"[{host}]:{port} {self.host_key.public().toString('openssh').decode()}\n"
