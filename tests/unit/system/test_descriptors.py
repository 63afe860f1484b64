"""The limit of open files, of this process and of those it starts."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = """
import resource, subprocess
from txdagu.system.descriptors import raise_open_files, usual_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
soft = raise_open_files()
print(soft, raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))
with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as program:
    usual_open_files(program.pid, soft)
    print(resource.prlimit(program.pid, resource.RLIMIT_NOFILE) == (64, hard))
usual_open_files(program.pid, soft)
"""


class DescriptorTests(SynchronousTestCase):
    def test_limits(self) -> None:
        """This process may open all that it is allowed, once and for all; a program keeps the usual limit; one may be gone."""
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
        self.assertEqual((done.stdout, done.stderr), ("64 64 True\nTrue\n", ""))
