"""Which coordinators there are to examine: the one that was configured, or those in the registry, with what is odd there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from txdagu.config.presentation import present
from txdagu.config.settings import Settings
from txdagu.model.addresses import join_host_port
from txdagu.model.findings import Finding, failure, ok, warning
from txdagu.registry.entries import Kind, service_file_name
from txdagu.registry.files import FoundFile, machine_name, process_gone, read_directory
from txdagu.registry.membership import STALE_AFTER, Membership


@dataclass(frozen=True, slots=True)
class Target:
    """A coordinator to examine: where it is dialled, how it is called, and where that was learned from."""

    host: str
    port: int
    title: str
    registered: bool = False

    @property
    def address(self) -> str:
        """``host:port``."""
        return join_host_port(self.host, self.port)


def configured(settings: Settings) -> tuple[list[Target], list[Finding]]:
    """The coordinator of ``worker.coordinatorHost``, if that is set."""
    worker = settings.worker
    if not worker.coordinator_host:
        return [], []
    target = Target(worker.coordinator_host, worker.coordinator_port, "the configured coordinator")
    text = f"workers here dial {target.address}: {present(settings, 'worker.coordinatorHost')}"
    return [target], [ok("coordinators", text)]


def registered(settings: Settings, unix: float, host_name: str) -> tuple[list[Target], list[Finding]]:
    """
    The coordinators in the registry, also those that may be gone. Reads files, so it belongs into a thread.

    `unix` is the time in Unix seconds, and `host_name` that of this host.
    """
    directory = str(Path(settings.paths.service_registry_dir, Kind.COORDINATOR.value))
    static = bool(settings.worker.coordinator_host)
    try:
        files = read_directory(directory, {})
    except FileNotFoundError:
        return [], [] if static else [_nobody(directory, settings, "the directory does not exist")]
    except OSError as error:
        text = f"the registry {directory} cannot be read: {error.strerror}"
        make = warning if static else failure
        return [], [make("registry", text, f"give this user access to it; {_where(settings)}")]
    membership, machine = Membership(), machine_name()
    skipped = membership.observe(files, 0.0, lambda entry: process_gone(entry, machine, host_name))
    findings = [
        warning("registry", f"{directory}: {text}", "remove that file, if nobody writes it") for text in skipped
    ]
    for stale in membership.stale():
        text = f"coordinator {stale.entry.id} at {stale.entry.address} is registered, but {stale.reason}"
        path = Path(directory, stale.file.name)
        findings.append(warning("registry", text, f"start it again, or remove {path}; a coordinator does so by and by"))
    targets = []
    for entry in membership.members():
        targets.append(Target(entry.host, entry.port, f"coordinator {entry.id}", registered=True))
        age = _age(files.get(service_file_name(entry.id)), unix)
        if age > STALE_AFTER:
            text = f"the file of coordinator {entry.id} was last renewed {_long(age)} ago: it is gone or frozen, or clocks differ"
            path = Path(directory, service_file_name(entry.id))
            findings.append(warning("registry", text, f"if that coordinator is gone, remove {path}"))
    if targets:
        count = f"{len(targets)} coordinator{'' if len(targets) == 1 else 's'}"
        findings.insert(0, ok("registry", f"{directory} has {count}"))
    elif not static:
        findings.append(_nobody(directory, settings, "no living coordinator is registered there"))
    return targets, findings


def _nobody(directory: str, settings: Settings, why: str) -> Finding:
    advice = (
        "start one with dagu coordinator or dagu start-all, share the directory with it, or name one with "
        f"worker.coordinatorHost or as an argument; {_where(settings)}"
    )
    return failure("registry", f"there is nobody to dial: {directory}: {why}", advice)


def _where(settings: Settings) -> str:
    return present(settings, "paths.serviceRegistryDir")


def _age(file: FoundFile | None, unix: float) -> float:
    return 0.0 if file is None else unix - file.mtime_ns / 1e9


def _long(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}s"
    return f"{seconds:.0f} s"
