"""
TLS between both programs: the released Dagu 1.30.2 and ours, each as coordinator with the other's worker.

Each test starts real processes of both and runs a DAG whose child goes to the worker.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.testing.certificates import CLIENT, Authority
from txdagu.testing.programs import DAGU, Program, run

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")

FAMILY = """\
name: family
steps:
  - name: remote
    call: child
---
name: child
workerSelector:
  gpu: "true"
steps:
  - name: work
    command: echo done
"""


@unittest.skipUnless(REFERENCE, "the released program is not installed (python tests/interop/install_reference.py)")
class ProtectedClusterTests(SynchronousTestCase):
    """Coordinators of one program with workers of the other, over TLS."""

    def setUp(self) -> None:
        """A home for one cluster, with certificates."""
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-interop-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "dags").mkdir()
        (self.home / "dags" / "family.yaml").write_text(FAMILY)
        self.env = {
            "DAGU_HOME": str(self.home),
            "HOME": str(self.home),
            "DAGU_DEFAULT_EXECUTION_MODE": "local",
            "DAGU_COORDINATOR_ADVERTISE": "127.0.0.1",
        }
        self.authority = Authority()
        self.ca = {"DAGU_PEER_CLIENT_CA_FILE": self.authority.write_authority(self.home)}
        cert_file, key_file = self.authority.issue("coordinator").write(self.home, "coordinator")
        self.server = {"DAGU_PEER_CERT_FILE": cert_file, "DAGU_PEER_KEY_FILE": key_file}
        cert_file, key_file = self.authority.issue("worker", names=[], usages=[CLIENT]).write(self.home, "worker")
        self.client = {"DAGU_PEER_CERT_FILE": cert_file, "DAGU_PEER_KEY_FILE": key_file}
        self.on = {"DAGU_PEER_INSECURE": "false"}

    def start(self, *argv: str, **env: str) -> Program:
        """A program of the cluster, ended with the test."""
        program = Program(argv, self.env | env, cwd=str(self.home))
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def coordinator(self, program: tuple[str, ...], **env: str) -> None:
        """A coordinator that is up."""
        self.start(*program, "coordinator", "--coordinator.port=0", **self.server, **env).wait_for(
            "listens on .* with TLS|Starting to serve"
        )

    def assert_runs(self, starter: tuple[str, ...], worker: str, **env: str) -> None:
        """A parent of that program hands its child to that worker."""
        dag = str(self.home / "dags" / "family.yaml")
        started = run([*starter, "start", dag], self.env | env)
        self.assertEqual(started.process.returncode, 0, started.output)
        found = list(
            (self.home / "data" / "dag-runs").glob("family/dag-runs/*/*/*/*/children/*/attempt_*/status.jsonl")
        )
        child = json.loads(found[-1].read_text().splitlines()[-1])
        self.assertEqual((child["status"], child["workerId"]), (4, worker))

    def our_coordinator(self, server: dict[str, str], clients: dict[str, str]) -> None:
        """Ours with the released worker."""
        self.coordinator(DAGU, **server)
        worker = self.start(REFERENCE, "worker", "--worker.id=theirs", "--worker.labels=gpu=true", **clients)
        worker.wait_for("[Ww]orker")
        self.assert_runs(DAGU, "theirs", **clients)

    def their_coordinator(self, server: dict[str, str], clients: dict[str, str]) -> None:
        """The released one with our worker."""
        self.coordinator((REFERENCE,), **server)
        worker = self.start(*DAGU, "worker", "--worker.id=ours", "--worker.labels=gpu=true", **clients)
        worker.wait_for("coordinator .* answers")
        self.assert_runs((REFERENCE,), "ours", **clients)

    def test_tls_with_their_worker(self) -> None:
        """Our coordinator with a certificate, the released worker with the authority."""
        self.our_coordinator(self.on, self.ca | self.on)

    def test_mutual_tls_with_their_worker(self) -> None:
        """Our coordinator wants certificates, the released worker has one."""
        self.our_coordinator(self.ca | self.on, self.ca | self.client | self.on)

    def test_tls_with_their_coordinator(self) -> None:
        """The released coordinator with a certificate, our worker with the authority."""
        self.their_coordinator({}, self.ca | self.on)

    def test_mutual_tls_with_their_coordinator(self) -> None:
        """The released coordinator wants certificates; our worker has one, and without one says what is missing."""
        self.coordinator((REFERENCE,), **self.ca)
        bare = self.start(*DAGU, "worker", "--worker.id=bare", **self.ca, **self.on)
        told = bare.wait_for("set peer.certFile and peer.keyFile here|peer.certFile here must be")
        self.assertRegex(told.string, "requires? a certificate from us|may have refused our certificate")
        clear = self.start(*DAGU, "worker", "--worker.id=clear")
        clear.wait_for("set peer.insecure: false here")
        clients = self.ca | self.client | self.on
        worker = self.start(*DAGU, "worker", "--worker.id=ours", "--worker.labels=gpu=true", **clients)
        worker.wait_for("coordinator .* answers")
        self.assert_runs((REFERENCE,), "ours", **clients)
