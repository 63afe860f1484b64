"""Ended tasks, remembered for a while for those who ask what became of them."""

from __future__ import annotations

from collections import OrderedDict

from txdagu.dispatch.records import TaskRecord
from txdagu.model.run import RunRef

KEPT_TASKS = 10_000
KEPT_SECONDS = 3600.0


class History:
    """The latest ended task of each run: at most so many, and none longer than so many seconds."""

    def __init__(self, tasks: int = KEPT_TASKS, seconds: float = KEPT_SECONDS) -> None:
        self._limit = tasks
        self._seconds = seconds
        self._ended: OrderedDict[tuple[RunRef, str], tuple[float, TaskRecord]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ended)

    def add(self, record: TaskRecord, now: float) -> None:
        """Remember a task that has just ended, in place of an earlier one of the same run."""
        self._ended.pop(record.same_run, None)
        self._ended[record.same_run] = (now, record)
        if len(self._ended) > self._limit:
            self._ended.popitem(last=False)
        self.expire(now)

    def clear(self) -> None:
        """Forget everything."""
        self._ended.clear()

    def find(self, root: RunRef, run_id: str) -> TaskRecord | None:
        """The ended task of that run, if it is still remembered."""
        found = self._ended.get((root, run_id))
        return found[1] if found else None

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest][0] > now - self._seconds:
                return
            del self._ended[oldest]
