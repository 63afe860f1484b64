"""TLS between nodes as the settings say: made from files at start, watched while it is in use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from txdagu.config.settings import PeerSettings, Settings
from txdagu.grpc.certificates import Part
from txdagu.grpc.tls import ClientTls, ServerTls, TlsFiles
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.peers.advice import CLIENT_ADVICE, SERVER_ADVICE
from txdagu.peers.security import End, require_possible
from txdagu.system.clock import local_now
from txdagu.system.repeating import Repeating

DAY = 24 * 60 * 60.0

_KEYS = {Part.CERTIFICATE: "peer.certFile", Part.KEY: "peer.keyFile", Part.AUTHORITY: "peer.clientCaFile"}


@dataclass(frozen=True, slots=True)
class Protection:
    """How this process talks to other nodes: as a server, and as a client. None is clear text, or not being that."""

    server: ServerTls | None = None
    client: ClientTls | None = None

    @property
    def both(self) -> tuple[TlsFiles, ...]:
        """What there is."""
        return tuple(each for each in (self.server, self.client) if each is not None)

    def warnings(self) -> list[str]:
        """What should be told at start: doubtful files, and verification that was switched off."""
        told = [doubt for each in self.both for doubt in each.doubts()]
        if self.client is not None and not self.client.verify:
            told.append(
                "peer.skipTlsVerify: any coordinator is believed, whatever certificate it shows; "
                "whoever can redirect connections can read and change everything"
            )
        return list(dict.fromkeys(told))

    def expiring(self) -> list[str]:
        """Certificates whose time is over, or will be within 30 days."""
        return list(dict.fromkeys(sentence for each in self.both for sentence in each.expiring()))


def protection(settings: Settings, ends: Collection[End], now: Callable[[], datetime] = local_now) -> Protection:
    """
    What the settings ask for. Reads at most three small files; meant for the time before the reactor runs.

    Raises `InvalidInputError` with everything that is wrong with settings and files.
    """
    peer, origins = settings.peer, settings.origins
    if not require_possible(peer, origins, ends):
        return Protection()
    made = Protection(
        _server(peer, now) if End.SERVER in ends else None, _client(peer, now) if End.CLIENT in ends else None
    )
    problems = _file_problems(made, origins, of_both=len(set(ends)) > 1)
    if problems:
        raise InvalidInputError(problems)
    return made


def _server(peer: PeerSettings, now: Callable[[], datetime]) -> ServerTls:
    return ServerTls(peer.cert_file, peer.key_file, peer.client_ca_file, advice=SERVER_ADVICE, now=now)


def _client(peer: PeerSettings, now: Callable[[], datetime]) -> ClientTls:
    return ClientTls(
        peer.client_ca_file,
        peer.cert_file,
        peer.key_file,
        verify=not peer.skip_tls_verify,
        advice=CLIENT_ADVICE,
        now=now,
    )


def _file_problems(made: Protection, origins: Mapping[str, str], *, of_both: bool) -> list[Problem]:
    problems: dict[Problem, None] = {}
    for each in made.both:
        for finding in each.findings:
            shown_to_itself = (
                finding.of_usage and of_both and made.server is not None and made.server.wants_certificates
            )
            if not finding.fatal and not shown_to_itself:
                continue
            key = _KEYS[finding.part]
            advice = finding.advice
            if shown_to_itself:
                advice += "; the main instance uses it as a server and as a client, so it must be good for both"
            where = f"{key} from {origins[key]}" if key in origins else key
            problems[Problem(f"{finding.file}: {finding.message}", where, advice)] = None
    return list(problems)


class CertificateWatch(Service):
    """
    Warns at start of what is doubtful, and every day of certificates that will expire; reads all files again when asked to.

    Files that change are used without this too, for the next connection.
    """

    log = Logger()

    def __init__(self, protected: Protection, reactor: Any) -> None:
        self._protected = protected
        self._daily = Repeating(reactor, DAY, self._warn_of_expiry, "looking at the dates of certificates")

    def startService(self) -> None:
        """Say how nodes talk, and what is doubtful about it."""
        super().startService()  # type: ignore[no-untyped-call]
        for sentence in self._protected.warnings():
            self.log.warn("{sentence}", sentence=sentence)
        self._daily.start(now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._daily.stop()

    def reload(self) -> Sequence[str]:
        """Read all files again; says for each end what is in use now."""
        told = []
        for name, tls in (("as a server", self._protected.server), ("as a client", self._protected.client)):
            if tls is not None:
                outcome = "read again" if tls.reload() else "unusable, the previous are kept"
                told.append(f"TLS files {name}: {outcome}; {tls.describe()}")
        return told

    def _warn_of_expiry(self) -> None:
        for sentence in self._protected.expiring():
            self.log.warn("{sentence}: have it renewed", sentence=sentence)
