"""The client's side of RFC 4252 and RFC 4256: keys first, then the password."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.transport import DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE
from twisted.conch.ssh.userauth import MSG_USERAUTH_REQUEST, SSHUserAuthClient
from twisted.internet.defer import Deferred, fail, succeed

from txdagu.execution.steps.ssh.identities import Identity
from txdagu.execution.steps.ssh.known_hosts import fingerprint
from txdagu.execution.steps.ssh.silence import SILENT

_RSA = (b"rsa-sha2-512", b"rsa-sha2-256", b"ssh-rsa")


class Authentication(SSHUserAuthClient):
    """
    Shows each of the `identities`, then gives the `password`, also where it is asked for as one question of a dialogue.

    `tried` says for people what was shown, `offered` what the server wanted to have.
    """

    _log = SILENT
    transport: Any

    def __init__(self, user: str, service: Any, identities: Sequence[Identity], password: str) -> None:
        super().__init__(user.encode(), service)
        self.tried: list[str] = []
        self.offered: list[str] = []
        self._left = list(identities)
        self._password = password
        self._current: Identity | None = None
        self._in_dialogue = False

    def ssh_USERAUTH_FAILURE(self, packet: bytes) -> Any:  # noqa: N802 - Conch's name
        """What has been tried was not enough."""
        self.offered = packet[4 : 4 + int.from_bytes(packet[:4], "big")].decode("ascii", "replace").split(",")
        return super().ssh_USERAUTH_FAILURE(packet)

    def auth_publickey(self) -> bool:  # type: ignore[override]  # Conch takes both
        """Ask whether the next key would do."""
        if not self._left:
            return False
        self._current = self._left.pop(0)
        key = self._current.public
        self.tried.append(f"{self._current.name} ({fingerprint(key.blob())})")
        self.askForAuth(b"publickey", b"\x00" + NS(self._algorithm()) + NS(key.blob()))
        return True

    def ssh_USERAUTH_PK_OK_publickey(self, packet: bytes) -> Deferred[None]:  # noqa: N802 - Conch's name
        """It would: sign with it."""
        identity = self._current
        assert identity is not None
        named = NS(b"publickey") + b"\x01" + NS(self._algorithm()) + NS(identity.public.blob())
        session = NS(self.transport.sessionID) + bytes((MSG_USERAUTH_REQUEST,))
        signing = identity.sign(session + NS(self.user) + NS(self.instance.name) + named, self._algorithm())
        return signing.addCallbacks(self._signed, self._ebAuth)

    def _signed(self, signature: bytes) -> None:
        assert self._current is not None
        blob = self._current.public.blob()
        self.askForAuth(b"publickey", b"\x01" + NS(self._algorithm()) + NS(blob) + NS(signature))

    def _algorithm(self) -> bytes:
        """
        How the current key signs. RSA has several ways: one that the server names (RFC 8308), the oldest if it names none at
        all, the best if it forgets to name any for RSA, as servers on Conch with other host keys do.
        """
        assert self._current is not None
        key = self._current.public
        if key.type() != "RSA":
            return bytes(key.sshType())
        named = self.transport.peerExtensions.get(b"server-sig-algs")
        if named is None:
            return b"ssh-rsa"
        return next((name for name in _RSA if name in named.split(b",")), _RSA[0])

    def getPassword(self, prompt: bytes | None = None) -> Deferred[bytes] | None:  # noqa: N802 - Conch's name
        """The password, once."""
        if not self._password or "the password" in self.tried:
            return None
        self.tried.append("the password")
        return succeed(self._password.encode())

    def auth_keyboard_interactive(self) -> bool:
        """Begin a dialogue, once, and only with a password to give."""
        if not self._password or self._in_dialogue:
            return False
        self._in_dialogue = True
        self.tried.append("the password in a dialogue")
        return bool(super().auth_keyboard_interactive())

    def getGenericAnswers(  # noqa: N802 - Conch's name
        self, name: bytes, instruction: bytes, prompts: list[tuple[bytes, bool]]
    ) -> Deferred[list[str]]:
        """The password for one hidden question; nothing to others."""
        if len(prompts) > 1 or any(echo for _, echo in prompts):
            return fail(ValueError("questions that only a person can answer"))
        return succeed([self._password for _ in prompts])

    def ssh_USERAUTH_PK_OK_password(self, packet: bytes) -> None:  # noqa: N802 - Conch's name
        """The server wants a new password, which nobody here can choose."""
        self.tried.append("the password has expired and must be changed there")
        self.transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"the password has expired")

    def explain(self, shown: str) -> str:
        """Why the server did not let us in."""
        tried = ", ".join(self.tried) or "nothing that it takes"
        return (
            f"{shown} does not let us in: tried {tried}; it takes {', '.join(self.offered)}: correct user, key or password, or "
            "add the public key to ~/.ssh/authorized_keys there"
        )
