"""What `twistd` offers: one line for each role. The modules named here are imported only when their command runs."""

from twisted.application.service import ServiceMaker

dagu_coordinator = ServiceMaker(
    "Dagu coordinator",
    "txdagu.tap.coordinator",
    "Hand workflow tasks to workers, matched by labels.",
    "dagu-coordinator",
)
dagu_worker = ServiceMaker(
    "Dagu worker", "txdagu.tap.worker", "Take workflow tasks from coordinators and run them here.", "dagu-worker"
)
dagu_start_all = ServiceMaker(
    "Dagu main instance",
    "txdagu.tap.start_all",
    "Scheduler, web pages and coordinator in one process.",
    "dagu-start-all",
)
