"""
Install the released program that we must get along with, Dagu 1.30.2, into an ignored folder beside this script.

Needs npm. Exits 0 when the program is there afterwards, 1 with one sentence otherwise; tests that need it then skip.
"""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "1.30.2"
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
FOLDER = Path(__file__).resolve().parent / ".reference"


def program(folder: Path = FOLDER) -> Path:
    """Where the program lies once it is installed."""
    package = f"dagu-linux-{ARCHITECTURES.get(platform.machine(), platform.machine())}"
    return folder / "node_modules" / "@dagu-org" / package / "bin" / "dagu"


def main() -> int:
    """Install it if it is not there yet."""
    found = program()
    if found.exists():
        return 0
    npm = shutil.which("npm")
    if npm is None:
        sys.stderr.write("npm is not installed: tests against the released program will be skipped\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "package.json").write_text('{"private": true}\n')
    package = f"@dagu-org/{found.parent.parent.name}@{VERSION}"
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", package],
        cwd=FOLDER,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode or not found.exists():
        sys.stderr.write(f"npm could not install {package}: tests against the released program will be skipped\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
