"""``twistd dagu-worker`` and ``dagu worker``."""

from __future__ import annotations

from typing import Any

from txdagu.config.settings import Settings
from txdagu.tap.options import SettingsOptions, parameters
from txdagu.tap.role import NamedServices, RoleService, role_service


class Options(SettingsOptions):
    """Options of a worker."""

    longdesc = "Take workflow tasks from coordinators and run them here."
    optParameters = parameters("worker.", "peer.")


def makeService(options: Options, reactor: Any = None) -> RoleService:
    """A worker."""
    return role_service("worker", options, _children, reactor)


def _children(settings: Settings, reactor: Any) -> NamedServices:
    from txdagu.peers.protection import CertificateWatch, protection
    from txdagu.peers.security import End
    from txdagu.worker.service import worker_service

    protected = protection(settings, [End.CLIENT])
    return [
        ("certificates", CertificateWatch(protected, reactor)),
        ("worker", worker_service(settings, reactor, protected)),
    ]
