"""The rule that decides on TLS."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PeerSettings
from txdagu.model.errors import InvalidInputError
from txdagu.peers.security import End, require_possible

COORDINATOR = (End.SERVER,)
WORKER = (End.CLIENT,)
MAIN = (End.SERVER, End.CLIENT)

KEYS = {
    "insecure": "peer.insecure",
    "cert_file": "peer.certFile",
    "key_file": "peer.keyFile",
    "client_ca_file": "peer.clientCaFile",
    "skip_tls_verify": "peer.skipTlsVerify",
}
ENV = {
    "peer.insecure": "DAGU_PEER_INSECURE",
    "peer.certFile": "DAGU_PEER_CERT_FILE",
    "peer.keyFile": "DAGU_PEER_KEY_FILE",
    "peer.clientCaFile": "--peer.client-ca-file",
    "peer.skipTlsVerify": "--peer.skip-tls-verify",
}
PAIR: dict[str, object] = {"cert_file": "/c", "key_file": "/k"}
CA: dict[str, object] = {"client_ca_file": "/ca"}
SKIP: dict[str, object] = {"skip_tls_verify": True}
OFF: dict[str, object] = {"insecure": True}
ON: dict[str, object] = {"insecure": False}
NO_CERTIFICATES = "TLS enabled but no certificates provided"
NO_SERVER = "a coordinator cannot speak it without a certificate"


class Decisions(SynchronousTestCase):
    """Every combination of what can be given."""

    def decide(self, given: dict[str, object], ends: tuple[End, ...]) -> bool | list[str]:
        """Whether TLS is spoken, or what is wrong."""
        origins = {KEYS[name]: ENV[KEYS[name]] for name in given}
        try:
            return require_possible(PeerSettings(**given), origins, ends)  # type: ignore[arg-type]
        except InvalidInputError as error:
            return [str(problem) for problem in error.problems]

    def test_on_or_off(self) -> None:
        """What is given decides, for each kind of process."""
        table: tuple[tuple[dict[str, object], bool | str, bool | str], ...] = (
            ({}, False, False),
            (OFF, False, False),
            (OFF | SKIP, False, False),
            (PAIR, True, True),
            (PAIR | CA, True, True),
            (ON | PAIR, True, True),
            (ON | PAIR | CA | SKIP, True, True),
            (CA, NO_SERVER, True),
            (SKIP, NO_SERVER, True),
            (ON | SKIP, NO_SERVER, True),
            (ON | CA, NO_SERVER, True),
            (ON, NO_SERVER, NO_CERTIFICATES),
            ({"skip_tls_verify": False}, False, False),
            ({"cert_file": ""}, False, False),
        )
        for given, coordinator, worker in table:
            for ends, expected in ((COORDINATOR, coordinator), (WORKER, worker), (MAIN, coordinator)):
                answer = self.decide(given, ends)
                if isinstance(expected, bool):
                    self.assertEqual(answer, expected, (given, ends))
                else:
                    assert isinstance(answer, list), (given, ends)
                    self.assertEqual(len(answer), 1, answer)
                    self.assertIn(expected, answer[0])

    def test_contradiction(self) -> None:
        """Clear text asked for in so many words together with files: both places are named."""
        for files, named in (
            (PAIR, "peer.certFile from DAGU_PEER_CERT_FILE, peer.keyFile from DAGU_PEER_KEY_FILE"),
            (CA, "peer.clientCaFile from --peer.client-ca-file"),
        ):
            for ends in (COORDINATOR, WORKER, MAIN):
                expected = (
                    "peer.insecure from DAGU_PEER_INSECURE: asks for clear text, but there are files for TLS too: "
                    f"{named} (set it to false, or remove those settings)"
                )
                self.assertEqual(self.decide(OFF | files, ends), [expected])

    def test_half_a_pair(self) -> None:
        """A certificate without key, or a key without certificate, is refused, whoever it is."""
        halves: tuple[tuple[dict[str, object], str], ...] = (
            ({"cert_file": "/c"}, "peer.certFile from DAGU_PEER_CERT_FILE: /c is of no use without peer.keyFile"),
            ({"key_file": "/k"}, "peer.keyFile from DAGU_PEER_KEY_FILE: /k is of no use without peer.certFile"),
        )
        nothing: dict[str, object] = {}
        for given, words in halves:
            for ends in (COORDINATOR, WORKER, MAIN):
                for more in (nothing, ON, CA):
                    answer = self.decide(given | more, ends)
                    assert isinstance(answer, list)
                    self.assertEqual([line.startswith(words) for line in answer], [True], answer)

    def test_where(self) -> None:
        """A refusal names the setting that asked for TLS."""
        answer = self.decide(ON, WORKER)
        assert isinstance(answer, list)
        self.assertTrue(
            answer[0].startswith(f"peer.insecure from DAGU_PEER_INSECURE: {NO_CERTIFICATES} (name the"), answer
        )
        answer = self.decide(CA, COORDINATOR)
        assert isinstance(answer, list)
        self.assertTrue(answer[0].startswith("peer.clientCaFile from --peer.client-ca-file: TLS is asked for"), answer)
