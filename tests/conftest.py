"""
What all tests share: where outside programs are, and that none of them is missed silently where it must be there.

``TXDAGU_REFERENCE`` names the released Dagu program, ``TXDAGU_H2SPEC`` the tester h2spec; without them the copies that
``tests/interop/install_reference.py`` and ``install_h2spec.py`` install are taken. With ``TXDAGU_REQUIRE=1`` (as in CI) a
test that would skip because a program is missing fails instead, unless it is marked ``optional``.
"""

import os
import runpy
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# The same cases every time. HYPOTHESIS_PROFILE=fuzz (`make fuzz`) looks for new ones, a hundred times as long.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

for variable, script in (("TXDAGU_REFERENCE", "install_reference.py"), ("TXDAGU_H2SPEC", "install_h2spec.py")):
    installer = runpy.run_path(str(Path(__file__).parent / "interop" / script))
    if variable not in os.environ and installer["program"]().exists():
        os.environ[variable] = str(installer["program"]())


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test works in an empty directory of its own, so that trial's `mktemp` litters nothing."""
    monkeypatch.chdir(tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn skips into failures where everything must run."""
    report = yield
    if report.skipped and os.environ.get("TXDAGU_REQUIRE") and item.get_closest_marker("optional") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped although everything must run here: {report.longrepr}"
    return report
