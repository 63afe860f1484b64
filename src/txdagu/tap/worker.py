"""``twistd dagu-worker`` and ``dagu worker``."""

from __future__ import annotations

from typing import Any

from txdagu.config.settings import Settings
from txdagu.tap.options import SettingsOptions, parameters
from txdagu.tap.role import NamedServices, RoleService, role_service


class Options(SettingsOptions):
    """Options of a worker."""

    longdesc = (
        "Take workflow tasks from coordinators and run them here. dagu worker list shows the workers that there are; cordon, "
        "drain and resume, each with ids or --selector, keep tasks from them and give them tasks again."
    )
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
