"""
A whole cluster in one process and in virtual time, with everything going wrong: the real coordinators and workers between a
network, disks and clocks that fail, all drawn from one seed.

`simulate` runs a seed. What is real: `txdagu.dispatch`, the coordinator's `Dispatcher` and `CoordinatorService`, the worker's
sessions, tasks and slots, `RunCore`, the conversions and the journal's rows. `world` is time and processes, `network` carries
calls, `disk` keeps journals, `files` the runs, `runs` executes steps that only take time, `coordinators`, `workers`,
`foreign` and `dispatchers` are who takes part, `faults` draws what goes wrong, `invariants` sees what must hold, `cluster`
puts one seed together, `campaign` runs many.
"""

from txdagu.testing.simulation.cluster import Cluster, Result, simulate
from txdagu.testing.simulation.coordinators import Parts

__all__ = ["Cluster", "Parts", "Result", "simulate"]
