"""
When a lease holds, when its task is frozen, when it is over. The one place that decides it, for workers and reapers alike.

A lease is counted from when the request was *sent* that was granted; the coordinator counts from when it came, which is
later. So whoever keeps to this never runs a task which the coordinator has given away. All times are seconds of one clock,
handed in; between processes of a host that is the boot-time clock, which goes on while the machine sleeps.
"""

from __future__ import annotations

REDISTRIBUTE, FAIL, WAIT = "redistribute", "fail", "wait"
POLICIES = (REDISTRIBUTE, FAIL, WAIT)

VALID, FROZEN, OVER = "valid", "frozen", "over"

FREEZE_MARGIN = 3.0
"""So many seconds before the end of its lease a task is frozen, if the lease is long enough."""


def freeze_after(ttl: float) -> float:
    """Seconds after which a task is frozen that nobody renews: 3 s before the end, at two thirds of a short lease."""
    return max(ttl - FREEZE_MARGIN, ttl * 2 / 3)


class Lease:
    """
    One task's lease. `policy` is what becomes of the task when its worker is lost; ``wait`` stands for no lease at all.

    `limit` is how many seconds the task may be frozen. `standing` is what was last told of it.
    """

    __slots__ = ("limit", "policy", "sent_at", "standing", "token", "ttl")

    def __init__(self, token: str, policy: str, ttl: float, limit: float, sent_at: float) -> None:
        self.token = token
        self.policy = policy
        self.ttl = ttl
        self.limit = limit
        self.sent_at = sent_at
        self.standing = VALID

    @property
    def freeze_at(self) -> float:
        """When the task is frozen unless the lease is renewed."""
        return self.sent_at + freeze_after(self.ttl) if self.policy != WAIT else float("inf")

    @property
    def over_at(self) -> float:
        """When the task is given up: ``fail`` with the end of the lease, else after it was frozen as long as it may."""
        if self.policy == FAIL:
            return self.sent_at + self.ttl
        return self.freeze_at + self.limit

    def stands(self, now: float) -> str:
        """What the clock says of it. What is over stays so."""
        if self.standing == OVER or now >= self.over_at:
            return OVER
        return FROZEN if now >= self.freeze_at else VALID


class Leases:
    """
    All leases of one worker. Every method that may change how a task stands returns the changes: ``(token, standing)``.

    ``VALID`` after ``FROZEN`` means that the task goes on; ``OVER`` that it must not run any more, which is final.
    """

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}

    def get(self, token: str) -> Lease | None:
        """The lease of that token, None if it is not held."""
        return self._leases.get(token)

    def hold(self, lease: Lease, now: float) -> list[tuple[str, str]]:
        """A lease was granted. Again: it is as if it had been so all along. `ValueError` for a policy that does not exist."""
        if lease.policy not in POLICIES:
            raise ValueError(f"no such policy: {lease.policy}")
        self._leases[lease.token] = lease
        return self._look((lease.token,), now)

    def renewed(self, tokens: tuple[str, ...], sent_at: float, now: float) -> list[tuple[str, str]]:
        """
        A renewal that was sent at that time was granted. Answers may overtake each other: the latest request counts.

        One that was so long on its way that its time has passed thaws nothing, and what is over by the clock stays so, noticed
        or not: another process that keeps the same lease has noticed.
        """
        for token in tokens:
            lease = self._leases.get(token)
            if lease is not None and lease.stands(now) != OVER:
                lease.sent_at = max(lease.sent_at, sent_at)
        return self._look(tokens, now)

    def lost(self, token: str) -> list[tuple[str, str]]:
        """The coordinator says that the task is not ours any more."""
        lease = self._leases.get(token)
        if lease is None or lease.standing == OVER:
            return []
        lease.standing = OVER
        return [(token, OVER)]

    def release(self, token: str) -> None:
        """The task has ended; nothing of it is watched any more."""
        self._leases.pop(token, None)

    def tick(self, now: float) -> list[tuple[str, str]]:
        """What the clock has changed."""
        return self._look(tuple(self._leases), now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to say, at the earliest; None if never."""
        times = []
        for lease in self._leases.values():
            if lease.standing == VALID:
                times.append(lease.freeze_at)
            elif lease.standing == FROZEN:
                times.append(lease.over_at)
        earliest = min(times, default=float("inf"))
        return earliest if earliest != float("inf") else None

    def _look(self, tokens: tuple[str, ...], now: float) -> list[tuple[str, str]]:
        changes = []
        for token in tokens:
            lease = self._leases.get(token)
            if lease is None:
                continue
            standing = lease.stands(now)
            if standing != lease.standing:
                lease.standing = standing
                changes.append((token, standing))
        return changes
