"""h2spec (built by install_h2spec.py, or named by ``TXDAGU_H2SPEC``) against our server."""

import os
import re
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest

from txdagu.testing.outside import ForeignPeerTests

CASES = 146
SKIPPED = 1
"""The case of section 5.1.2 that exceeds our limit of concurrent streams: we announce none."""


# Go and its modules are not everywhere, and tests/unit/wire/test_rfc9113_*.py hold the same cases.
@pytest.mark.optional
class H2specTests(ForeignPeerTests):
    async def test_all(self) -> None:
        """All cases, the strict ones too: none fails, and none is skipped but the one that needs a stream limit."""
        program = os.environ.get("TXDAGU_H2SPEC")
        if program is None or not Path(program).exists():  # noqa: ASYNC240  # a look at the disk that takes no time
            raise SkipTest("h2spec is not installed: run tests/interop/install_h2spec.py, which needs Go")
        said = await self.output(
            program, "--strict", "--timeout", "5", "--host", "127.0.0.1", "--port", str(self.port), *self.options()
        )
        found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", said)
        assert found is not None, said[-2000:]
        counted = tuple(int(number) for number in found.groups())
        self.assertEqual(counted, (CASES, CASES - SKIPPED, SKIPPED, 0), said[said.find("Failures") :])

    def options(self) -> list[str]:
        """What else h2spec needs to know."""
        return ["--tls", "--insecure"] if self.scheme == "https" else []
