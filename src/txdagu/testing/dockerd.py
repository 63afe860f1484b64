"""A Docker engine of one's own, for tests: without network, with one image that holds nothing but busybox."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

IMAGE = "txdagu/busybox:1"
SECONDS = 30.0
_APPLETS = ("sh", "echo", "cat", "sleep", "env", "id", "pwd", "ls", "grep", "kill", "touch", "hostname", "tr", "sort")
_USERS = {"etc/passwd": "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n", "etc/group": "root:x:0:\nann:x:1000:\n"}


def lacking() -> str:
    """Why there can be no engine here; empty if there can."""
    missing = [name for name in ("dockerd", "docker", "busybox") if not shutil.which(name, path=_path())]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install docker.io busybox-static"
    return "" if os.geteuid() == 0 else "an engine can only be started by root"


class OwnEngine:
    """Starts an engine that keeps everything in one short-named `directory`; `host` is for ``DOCKER_HOST``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.host = f"unix://{directory}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and give it its image. `AssertionError` has the end of its log where that does not work."""
        where = self._directory
        options = ("--iptables=false", "--bridge=none", "--storage-driver=vfs")
        places = (f"--host={self.host}", f"--data-root={where}/r", f"--exec-root={where}/x", f"--pidfile={where}/pid")
        with Path(where, "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["dockerd", *options, *places], stdout=log, stderr=log, env={**os.environ, "PATH": _path()}
            )
        deadline = time.monotonic() + SECONDS
        while self._docker("version", check=False).returncode:
            said = Path(where, "log").read_text("utf-8", "replace")[-2000:]
            assert self._process.poll() is None and time.monotonic() < deadline, f"dockerd does not work here: {said}"
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        self._docker("import", "--change", 'CMD ["sh", "-c", "echo the image itself"]', "-", IMAGE, data=_root())

    def begin(self, name: str, *words: str) -> None:
        """Start a container in the background."""
        self._docker("run", "--detach", "--name", name, "--network", "none", IMAGE, *words)

    def containers(self, label: str = "") -> list[str]:
        """The names of all containers, running or not, or of those with a label."""
        those = ("--filter", f"label={label}") if label else ()
        return self._docker("ps", "--all", "--format", "{{.Names}}", *those).stdout.decode().split()

    def processes(self, name: str) -> str:
        """The command lines that run in a container."""
        return self._docker("top", name).stdout.decode()

    def remove(self, *names: str) -> None:
        """Remove containers."""
        if names:
            self._docker("rm", "--force", *names)

    def stop(self) -> None:
        """End it, and all that runs in it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.remove(*self.containers())
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(SECONDS)

    def _docker(self, *words: str, data: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            ["docker", "--host", self.host, *words],
            input=data,
            capture_output=True,
            check=False,
            timeout=SECONDS,
            env={**os.environ, "PATH": _path()},
        )
        assert not (check and done.returncode), done.stderr.decode("utf-8", "replace")
        return done


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _root() -> bytes:
    """The files of the image, as a tar."""
    busybox = shutil.which("busybox", path=_path()) or ""
    whole = BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, mode
            tar.addfile(directory)
        tar.add(busybox, "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in _USERS.items():
            file = tarfile.TarInfo(name)
            file.size = len(text)
            tar.addfile(file, BytesIO(text.encode()))
    return whole.getvalue()
