"""Settings as messages write them."""

from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.presentation import present, value_of
from txdagu.config.settings import PathSettings, PeerSettings, Settings

SETTINGS = Settings(
    PathSettings("", "/data", "", "", "", "", "", "", "", ""),
    peer=PeerSettings(insecure=False),
    origins={"peer.insecure": "config.yaml:3"},
)


class PresentationTests(SynchronousTestCase):
    def test_given_default_and_unset(self) -> None:
        """Who gave a value is named; a default and an empty value are told as such."""
        self.assertEqual(present(SETTINGS, "peer.insecure"), "peer.insecure is false from config.yaml:3")
        self.assertEqual(present(SETTINGS, "coordinator.port"), "coordinator.port is 50055 by default")
        self.assertEqual(present(SETTINGS, "peer.certFile"), "peer.certFile is not set")
        self.assertEqual(present(SETTINGS, "port"), "port is 8080 by default")
        self.assertEqual(present(SETTINGS, "debug"), "debug is false by default")
        self.assertEqual(value_of(SETTINGS, "paths.dataDir"), "/data")
