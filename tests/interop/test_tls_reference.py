"""
TLS between both programs: the released Dagu 1.30.2 and ours, each as coordinator with the other's worker.

Real processes of both run a DAG whose child goes to the worker. Clusters with TLS and with mutual TLS run side by side.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from txdagu.config.settings import PathSettings, PeerSettings, Settings
from txdagu.peers.connecting import connector
from txdagu.protocol import health_pb2 as health
from txdagu.protocol.services import HEALTH_CHECK
from txdagu.testing.certificates import CLIENT, Authority
from txdagu.testing.programs import DAGU, Program
from txdagu.wire.status import RpcError

REFERENCE = os.environ.get("TXDAGU_REFERENCE", "")
NOWHERE = PathSettings("", "", "", "", "", "", "", "", "", "")

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


class Cluster:
    """
    A home with certificates for a coordinator and for those who call it, and the programs that were started there.

    `mutual`: the coordinator asks for certificates, and clients have one.
    """

    def __init__(self, *, mutual: bool) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="txdagu-interop-"))
        (self.home / "dags").mkdir()
        (self.home / "dags" / "family.yaml").write_text(FAMILY)
        self.env = {
            "DAGU_HOME": str(self.home),
            "HOME": str(self.home),
            "DAGU_DEFAULT_EXECUTION_MODE": "local",
            "DAGU_COORDINATOR_ADVERTISE": "127.0.0.1",
            "DAGU_PEER_INSECURE": "false",
        }
        authority = Authority()
        self.ca_file = authority.write_authority(self.home)
        self.ca = {"DAGU_PEER_CLIENT_CA_FILE": self.ca_file}
        self.server = self._pair(*authority.issue("coordinator").write(self.home, "coordinator"))
        self.client = dict(self.ca)
        if mutual:
            self.server |= self.ca
            self.client |= self._pair(*authority.issue("worker", names=[], usages=[CLIENT]).write(self.home, "worker"))
        self._programs: list[Program] = []

    def _pair(self, cert_file: str, key_file: str) -> dict[str, str]:
        return {"DAGU_PEER_CERT_FILE": cert_file, "DAGU_PEER_KEY_FILE": key_file}

    def start(self, *argv: str, **env: str) -> Program:
        """A program of the cluster."""
        program = Program(argv, self.env | env, cwd=str(self.home))
        self._programs.append(program)
        return program

    def coordinator(self, *program: str) -> Program:
        """A coordinator that begins; `Program.wait_for` its `SERVES`."""
        return self.start(*program, "coordinator", "--coordinator.port=0", **self.server)

    def child(self) -> tuple[int, str]:
        """Status and worker of the child that ran."""
        found = list(
            (self.home / "data" / "dag-runs").glob("family/dag-runs/*/*/*/*/children/*/attempt_*/status.jsonl")
        )
        child = json.loads(found[-1].read_text().splitlines()[-1])
        return child["status"], child["workerId"]

    def end(self) -> None:
        """Nothing is left."""
        for program in self._programs:
            program.__exit__(None, None, None)
        shutil.rmtree(self.home, ignore_errors=True)


SERVES = "listens on .* with TLS|Starting to serve.*addr=(\\S+):(\\d+)"


@unittest.skipUnless(REFERENCE, "the released program is not installed (python tests/interop/install_reference.py)")
class ProtectedClusterTests(SynchronousTestCase):
    """Coordinators of one program with workers of the other, over TLS and over mutual TLS."""

    def assert_works(self, ours: Sequence[str], theirs: Sequence[str], answers: str) -> None:
        """A parent of the coordinator's program hands its child to the other's worker, whose log says that it `answers`."""
        clusters = [Cluster(mutual=False), Cluster(mutual=True)]
        for cluster in clusters:
            self.addCleanup(cluster.end)
        for coordinator in [cluster.coordinator(*ours) for cluster in clusters]:
            coordinator.wait_for(SERVES)
        labels = ("--worker.id=other", "--worker.labels=gpu=true")
        for worker in [cluster.start(*theirs, "worker", *labels, **cluster.client) for cluster in clusters]:
            worker.wait_for(answers)
        dags = [str(cluster.home / "dags" / "family.yaml") for cluster in clusters]
        runs = [
            cluster.start(*ours, "start", dag, **cluster.client) for cluster, dag in zip(clusters, dags, strict=True)
        ]
        for cluster, run in zip(clusters, runs, strict=True):
            self.assertEqual(run.wait(), 0, run.output)
            self.assertEqual(cluster.child(), (4, "other"))

    def test_their_worker(self) -> None:
        """Our coordinator; the released worker has the authority, and a certificate where one is wanted."""
        self.assert_works(DAGU, (REFERENCE,), "[Ww]orker")

    def test_their_coordinator(self) -> None:
        """The released coordinator; our worker has the authority, and a certificate where one is wanted."""
        self.assert_works((REFERENCE,), DAGU, "coordinator .* answers")


@unittest.skipUnless(REFERENCE, "the released program is not installed (python tests/interop/install_reference.py)")
class RefusedTests(TestCase):
    """The released coordinator, and clients of ours that cannot get through."""

    async def test_what_is_missing(self) -> None:
        """Without a certificate where one is wanted, and in clear text, our side says what to set."""
        from twisted.internet import reactor  # noqa: TID251 - a real socket needs the real one

        cluster = Cluster(mutual=True)
        self.addCleanup(cluster.end)
        where = cluster.coordinator(REFERENCE).wait_for(SERVES)
        for peer, words, advice in (
            (
                PeerSettings(insecure=False, client_ca_file=cluster.ca_file),
                "requires? a certificate from us|may have refused our certificate",
                "set peer.certFile and peer.keyFile here|peer.certFile here must be",
            ),
            (PeerSettings(), "closed the connection without a word|expects TLS", "set peer.insecure: false here"),
        ):
            channel = connector(Settings(NOWHERE, peer=peer), reactor)(where[1], int(where[2]))
            try:
                await channel.unary(HEALTH_CHECK, health.HealthCheckRequest(), timeout=20)
            except RpcError as error:
                self.assertRegex(error.message, words)
                self.assertRegex(error.message, advice)
            else:
                self.fail("it got through")
            finally:
                await channel.close()
