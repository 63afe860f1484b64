"""Where the container engine is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.containers.address import EngineAddress, engine_address
from txdagu.model.errors import DaguError


class AddressTests(SynchronousTestCase):
    def test_default(self) -> None:
        """Docker's own socket, where nothing is said."""
        self.assertEqual(engine_address({"DOCKER_HOST": ""}).path, "/var/run/docker.sock")

    def test_forms(self) -> None:
        """Sockets, hosts with and without port, TLS by a directory of certificates, a demanded version."""
        written = "tcp://[::1]:9"
        self.assertEqual(
            engine_address({"DOCKER_HOST": written}), EngineAddress(written, host="::1", port=9, verify=False)
        )
        self.assertEqual(engine_address({"DOCKER_HOST": "tcp://h"}).port, 2375)
        found = engine_address(
            {
                "DOCKER_HOST": "tcp://h",
                "DOCKER_CERT_PATH": "/c",
                "DOCKER_TLS_VERIFY": "1",
                "DOCKER_API_VERSION": "v1.41",
            }
        )
        self.assertEqual((found.port, found.certificates, found.verify, found.api), (2376, "/c", True, "1.41"))
        self.assertEqual(engine_address({"DOCKER_HOST": "unix:///a/b.sock"}).path, "/a/b.sock")

    def test_others(self) -> None:
        """What cannot be spoken to is refused with the setting and what to write."""
        for written, phrase in {
            "ssh://me@host": "forward the socket",
            "/var/run/docker.sock": "unix:///path",
            "tcp://h:x": "Port could not be cast",
            "unix://": "unix:///path",
            "https://h": "DOCKER_CERT_PATH",
        }.items():
            with self.assertRaises(DaguError) as caught:
                engine_address({"DOCKER_HOST": written})
            self.assertIn(f"DOCKER_HOST={written}", str(caught.exception))
            self.assertIn(phrase, str(caught.exception))
