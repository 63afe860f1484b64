"""
Distributed execution of workflow DAGs on Twisted.

A main instance (scheduler, web pages, coordinator) hands tasks to workers over gRPC on HTTP/2; workers are matched
by labels, run the DAGs' steps as processes and report. Files, wire protocol, YAML and command line are those of
Dagu 1.30.2, so that both programs can share one cluster.

The packages form three rings. Values: `model`, `yamltree`, `dagfile`, `config`. Cores, which do no I/O and have no clock:
`wire`, `protocol`, `dispatch`, `execution.plan`. Shell, on Twisted: `grpc`, `registry`, `store`, `peers`, `execution`,
`coordinator`, `worker`, `scheduler`, `web`, `tap`, `cli`. A package imports only what stands below it.
"""

__version__ = "0.1.0"
