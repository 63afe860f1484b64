"""
Build h2spec, the conformance tester for HTTP/2 servers, into an ignored folder beside this script.

Needs Go (1.19 or later; Debian package golang-go). The versions of h2spec and of all it is built from stand in
``h2spec/go.mod``. Exits 0 when the program is there afterwards, 1 with one sentence otherwise; its tests then skip.
"""

import shutil
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parent / "h2spec"
FOLDER = MODULE.parent / ".h2spec"


def program(folder: Path = FOLDER) -> Path:
    """Where the program lies once it is built."""
    return folder / "h2spec"


def main() -> int:
    """Build it if it is not there yet."""
    found = program()
    if found.exists():
        return 0
    go = shutil.which("go")
    if go is None:
        sys.stderr.write("Go is not installed: tests with h2spec will be skipped\n")
        return 1
    done = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", str(found), "github.com/summerwind/h2spec/cmd/h2spec"],
        cwd=MODULE,
        check=False,
    )
    if done.returncode or not found.exists():
        sys.stderr.write("Go could not build h2spec: its tests will be skipped\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
