"""Whom to examine when no address is given."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txdagu.config.settings import PathSettings, Settings, WorkerSettings
from txdagu.model.findings import Finding, Mark
from txdagu.peers.diagnosis.registered import Target, configured, registered
from txdagu.registry.entries import ServiceEntry, entry_to_json, service_file_name
from txdagu.registry.files import write_entry

NOW = 1_800_000_000.0


class RegisteredTests(SynchronousTestCase):
    """Registry files and the setting."""

    def setUp(self) -> None:
        """An empty registry."""
        self.root = Path(self.mktemp())
        self.directory = self.root / "coordinator"
        self.settings = self.settings_with(WorkerSettings())

    def settings_with(self, worker: WorkerSettings) -> Settings:
        """Settings for that registry."""
        return Settings(PathSettings("", "", "", "", "", "", "", "", "", str(self.root)), worker=worker)

    def put(self, service_id: str, host: str, *, age: float = 0.0, pid: int = 1) -> Path:
        """A file of a coordinator that was renewed so many seconds ago."""
        path = self.directory / service_file_name(service_id)
        write_entry(path, entry_to_json(ServiceEntry(service_id, host, 50055, pid)))
        os.utime(path, (NOW - age, NOW - age))
        return path

    def look(self, host_name: str = "elsewhere") -> tuple[list[Target], list[Finding]]:
        """Both results."""
        return registered(self.settings, NOW, host_name)

    def test_members(self) -> None:
        """Each coordinator is a target, called by its id."""
        self.put("a@50055", "host1")
        self.put("b@50055", "host2")
        targets, findings = self.look()
        self.assertEqual(
            targets,
            [
                Target("host1", 50055, "coordinator a@50055", registered=True),
                Target("host2", 50055, "coordinator b@50055", registered=True),
            ],
        )
        self.assertEqual(
            [(one.mark, one.text) for one in findings], [(Mark.OK, f"{self.directory} has 2 coordinators")]
        )

    def test_nobody(self) -> None:
        """No directory, or nobody in it: a failure that says where was searched, unless an address is configured."""
        _, (found,) = self.look()
        self.assertEqual(found.mark, Mark.FAILURE)
        self.assertEqual(found.text, f"there is nobody to dial: {self.directory}: the directory does not exist")
        self.assertIn(f"paths.serviceRegistryDir is {self.root} by default", found.advice)
        self.directory.mkdir(parents=True)
        _, (found,) = self.look()
        self.assertIn("no living coordinator is registered there", found.text)
        self.settings = self.settings_with(WorkerSettings(coordinator_host="host1"))
        self.assertEqual(self.look(), ([], []))

    def test_leftovers(self) -> None:
        """A process that is gone, a file that nobody renews, and one that is no entry: each is named with its path."""
        gone = self.put("gone@1", "here", pid=2**22 + 1)
        old = self.put("old@1", "host1", age=7500)
        (self.directory / "broken.json").write_text("{")
        targets, findings = self.look("here")
        self.assertEqual([target.title for target in targets], ["coordinator old@1"])
        self.assertEqual([one.mark for one in findings], [Mark.OK, *[Mark.WARNING] * 3])
        texts = " ".join(one.text + one.advice for one in findings)
        self.assertIn("coordinator gone@1 at here:50055 is registered, but its process 4194305 is gone", texts)
        self.assertIn(f"remove {gone}", texts)
        self.assertIn("the file of coordinator old@1 was last renewed 2 hours ago", texts)
        self.assertIn(f"remove {old}", texts)
        self.assertIn("broken.json is skipped: not readable as JSON", texts)

    def test_unreadable(self) -> None:
        """A registry that cannot be read says why."""
        self.root.mkdir()
        self.directory.write_text("")
        _, (found,) = self.look()
        self.assertEqual(found.mark, Mark.FAILURE)
        self.assertEqual(found.text, f"the registry {self.directory} cannot be read: Not a directory")

    def test_configured(self) -> None:
        """An address in the settings is a target, and who set it is told."""
        self.assertEqual(configured(self.settings), ([], []))
        worker = WorkerSettings(coordinator_host="host1", coordinator_port=7)
        settings = Settings(
            self.settings.paths, worker=worker, origins={"worker.coordinatorHost": "--worker.coordinator-host"}
        )
        (target,), (found,) = configured(settings)
        self.assertEqual(target.address, "host1:7")
        self.assertIn("worker.coordinatorHost is host1 from --worker.coordinator-host", found.text)
