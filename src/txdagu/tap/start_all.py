"""``twistd dagu-start-all`` and ``dagu start-all``."""

from __future__ import annotations

from typing import Any

from txdagu.config.settings import Settings
from txdagu.tap.options import SettingsOptions, parameters
from txdagu.tap.role import NamedServices, RoleService, role_service


class Options(SettingsOptions):
    """Options of the main instance."""

    longdesc = "Scheduler, web pages and coordinator in one process."
    optParameters = parameters("host", "port", "dags", "coordinator.", "peer.")
    coordinator_follows_host = True


def makeService(options: Options, reactor: Any = None) -> RoleService:
    """The main instance."""
    return role_service("main instance", options, _children, reactor, opens_web=True)


def _children(settings: Settings, reactor: Any) -> NamedServices:
    """In the order of need: the coordinator takes what the scheduler and the web pages hand it."""
    from txdagu.coordinator.service import coordinator_service
    from txdagu.peers.protection import CertificateWatch, protection
    from txdagu.peers.security import End
    from txdagu.scheduler.service import scheduler_service
    from txdagu.web.service import web_service

    protected = protection(settings, [End.SERVER, End.CLIENT])
    return [
        ("certificates", CertificateWatch(protected, reactor)),
        ("coordinator", coordinator_service(settings, reactor, protected)),
        ("scheduler", scheduler_service(settings, reactor, protected)),
        ("web server", web_service(settings, reactor, protected)),
    ]
