"""The parts that a process needs to execute runs, put together from its settings."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from txdagu.config.settings import Settings
from txdagu.execution.engine import Engine, IWatch
from txdagu.execution.processes import PidfdProcessRunner
from txdagu.model.dag import Dag
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.dagfiles import load_child
from txdagu.store.interfaces import IRunStore
from txdagu.store.shared_disk import SharedDiskStore
from txdagu.system.clock import local_now
from txdagu.system.threads import threads_of


def run_store(settings: Settings, reactor: Any) -> SharedDiskStore:
    """The store in the data directory of these settings."""
    return SharedDiskStore(settings.paths, reactor, local_now)


def engine(
    settings: Settings, reactor: Any, store: IRunStore, coordinators: ICoordinators, watch: IWatch | None = None
) -> Engine:
    """
    An engine that starts processes on this host, with this process' environment as the base of theirs. `watch` guards runs that
    bring no guard of their own.
    """
    return Engine(
        store,
        coordinators,
        PidfdProcessRunner(reactor),
        reactor,
        now=local_now,
        environ=os.environ,
        execution_mode=settings.default_execution_mode,
        find_dag=child_finder(reactor, settings.paths.dags_dir, settings.paths.base_config),
        default_shell=settings.default_shell,
        watch=watch,
    )


def child_finder(reactor: Any, dags_dir: str, base_config: str) -> Callable[[str, str], Awaitable[Dag]]:
    """What an engine asks for a child by name and the directory of the calling DAG's file; reads in threads."""
    in_thread = threads_of(reactor)

    def find(name: str, directory: str) -> Awaitable[Dag]:
        return in_thread(partial(load_child, name, directory, dags_dir, base_config))

    return find
