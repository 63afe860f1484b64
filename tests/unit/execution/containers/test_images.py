"""Names of images, and credentials for their registries."""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.containers.images import ImageName, image_name, registry_header
from txdagu.model.errors import DaguError

PLAIN = base64.b64encode(b"ann:pa:ss").decode()


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Registry, repository and tag, with Docker's defaults; a port is no tag, a digest stands for one."""
        for written, wanted in {
            "alpine": ImageName("docker.io/library/alpine", "latest", "docker.io"),
            "alpine:3": ImageName("docker.io/library/alpine", "3", "docker.io"),
            "me/tool": ImageName("docker.io/me/tool", "latest", "docker.io"),
            "ghcr.io/me/tool:1.2": ImageName("ghcr.io/me/tool", "1.2", "ghcr.io"),
            "localhost/x": ImageName("localhost/x", "latest", "localhost"),
            "host:5000/x/y": ImageName("host:5000/x/y", "latest", "host:5000"),
            "alpine@sha256:ab": ImageName("docker.io/library/alpine", "sha256:ab", "docker.io"),
            "a.b/c:1@sha256:ab": ImageName("a.b/c", "sha256:ab", "a.b"),
        }.items():
            self.assertEqual(image_name(written), wanted, written)

    def test_no_name(self) -> None:
        """A tag alone names nothing."""
        self.assertRaises(DaguError, image_name, ":1")


class CredentialTests(SynchronousTestCase):
    def told(self, auths: dict[str, Any], registry: str = "ghcr.io") -> dict[str, str]:
        header = registry_header(auths, registry)
        return json.loads(base64.urlsafe_b64decode(header)) if header else {}

    def test_forms(self) -> None:
        """All ways to write credentials say the same."""
        wanted = {"username": "ann", "password": "pa:ss", "serveraddress": "ghcr.io"}
        for auth in (
            {"username": "ann", "password": "pa:ss"},
            {"auth": PLAIN},
            PLAIN,
            '{"username": "ann", "password": "pa:ss"}',
        ):
            self.assertEqual(self.told({"ghcr.io": auth}), wanted, str(auth))
            self.assertEqual(self.told({"https://ghcr.io/v2/": auth}), wanted)
            self.assertEqual(self.told({"_json": json.dumps({"auths": {"ghcr.io": auth}})}), wanted)

    def test_default_registry(self) -> None:
        """All names of Docker's own registry are the same one."""
        auths = {"https://index.docker.io/v1/": {"username": "u", "password": 7}}
        self.assertEqual(self.told(auths, "docker.io")["password"], "7")

    def test_nobody(self) -> None:
        """For other registries there are no credentials."""
        self.assertEqual(self.told({"ghcr.io": PLAIN}, "quay.io"), {})
        self.assertEqual(self.told({}), {})

    def test_mistakes_quote_nothing(self) -> None:
        """What is wrong is told with the registry, and never with the credential."""
        bad: tuple[Any, ...] = ("secret!", base64.b64encode(b"secret").decode(), {"password": "secret"}, "{secret", 3)
        for auth in bad:
            with self.assertRaises(DaguError) as caught:
                self.told({"ghcr.io": auth})
            self.assertIn("ghcr.io", str(caught.exception))
            self.assertNotIn("secret", str(caught.exception))
        for whole in ("{", "[]"):
            with self.assertRaisesRegex(DaguError, "registryAuths"):
                self.told({"_json": whole})
