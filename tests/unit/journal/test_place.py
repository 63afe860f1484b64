"""Which directories are on this host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.journal.place import network_file_system

MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:45 / /srv/nfs rw,relatime shared:9 - nfs4 files:/export rw,vers=4.2
31 30 8:2 / /srv/nfs/local rw - xfs /dev/sdb1 rw
32 21 0:46 / /mnt/with\\040blank rw shared:3 master:1 - cifs //server/share rw
33 21 8:3 / /data rw - ext4 /dev/sdc1 rw
34 21 0:47 / /data rw - fuse.sshfs me@host: rw
a line that is none
"""


class MountTests(SynchronousTestCase):
    """The list of mounts."""

    def test_longest_mount_counts(self) -> None:
        """The innermost mount decides, the later of two on one point, and names that only begin alike do not count."""
        cases = {
            "/var/lib/dagu": "",
            "/srv/nfs": "nfs4",
            "/srv/nfs/dagu/data": "nfs4",
            "/srv/nfs/local/dagu": "",
            "/srv/nfs2": "",
            "/mnt/with blank/x": "cifs",
            "/data/x": "fuse.sshfs",
        }
        self.assertEqual(cases, {path: network_file_system(path, MOUNTS) for path in cases})

    def test_nothing_told(self) -> None:
        """Where the system does not tell, a directory counts as local."""
        self.assertEqual("", network_file_system("/srv/nfs", ""))
