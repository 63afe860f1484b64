"""``twistd dagu-coordinator`` and ``dagu coordinator``."""

from __future__ import annotations

from typing import Any

from txdagu.config.settings import Settings
from txdagu.tap.options import SettingsOptions, parameters
from txdagu.tap.role import NamedServices, RoleService, role_service


class Options(SettingsOptions):
    """Options of a coordinator."""

    longdesc = "Hand workflow tasks to workers, matched by labels."
    optParameters = parameters("coordinator.", "peer.")


def makeService(options: Options, reactor: Any = None) -> RoleService:
    """A coordinator."""
    return role_service("coordinator", options, _children, reactor)


def _children(settings: Settings, reactor: Any) -> NamedServices:
    from txdagu.coordinator.service import coordinator_service
    from txdagu.peers.protection import CertificateWatch, protection
    from txdagu.peers.security import End

    protected = protection(settings, [End.SERVER])
    return [
        ("certificates", CertificateWatch(protected, reactor)),
        ("coordinator", coordinator_service(settings, reactor, protected)),
    ]
