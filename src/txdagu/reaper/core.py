"""What the reaper knows of its worker's tasks, and what it decides. Lines and the time go in, orders come out."""

from __future__ import annotations

from txdagu.reaper.leases import FROZEN, OVER, VALID, Lease, Leases

STOP, CONTINUE, KILL = "stop", "continue", "kill"

# Who forks while signals are sent may leave a child that saw none. So everybody is looked for again, soon and then seldom.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
LOOKS_TO_BE_SURE = 4
LOOKS_TO_CONTINUE = 2
ALL = "."
"""At the end of a target: all tokens that begin so."""


class Order:
    """
    A signal for everybody who belongs to `target`: a token, or with a full stop at its end all that begin so.

    `groups` are process groups that are known to belong to it. `look_at` is when they must be looked for next.
    """

    __slots__ = ("clean", "groups", "look_at", "pause", "signal", "target")

    def __init__(self, target: str, signal: str, groups: tuple[int, ...], now: float) -> None:
        self.target = target
        self.signal = signal
        self.groups = groups
        self.look_at = now
        self.pause = FIRST_PAUSE
        self.clean = 0

    def again(self, now: float) -> None:
        """Something has come that may need the signal."""
        self.look_at, self.pause, self.clean = now, FIRST_PAUSE, 0


class Reaper:
    """
    Takes the worker's lines, says what is to be done. Words of a line, separated by spaces:

    * ``hold TOKEN POLICY TTL LIMIT SENT``: a task whose processes carry that token; see `leases.Lease`
    * ``held`` and the same: one that an earlier reaper watched, and may have frozen
    * ``renewed SENT TOKEN...``: the request that was sent then renewed these leases
    * ``lost TOKEN``: it is not ours any more
    * ``done TOKEN``: it has ended; what it left running stays, if the task was not taken away
    * ``group TOKEN PID``, ``ended TOKEN PID``: a process group of it was begun; its leader has ended
    * ``sweep PREFIX``: end everybody whose token begins so: an earlier worker's processes
    * ``sync WORD``: answered with ``ready WORD`` when nothing is left to sweep

    Without being asked it says ``over TOKEN`` when it gives a task up by the clock. `orders` are those that must be looked
    after now; whoever has done so says `looked`. `words` collects what is to be said to the worker.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self._leases = Leases()
        self._groups: dict[str, dict[int, None]] = {}
        self._orders: dict[str, Order] = {}
        self._syncs: list[str] = []
        self._closed = False

    @property
    def finished(self) -> bool:
        """Whether the worker is gone and nothing of it lives."""
        return self._closed and not self._orders

    def line(self, text: str, now: float) -> None:
        """One line from the worker. `ValueError` if it is none of the above."""
        words = text.split()
        match words:
            case ["hold" | "held" as word, token, policy, ttl, limit, sent]:
                self._groups.setdefault(token, {})
                changes = self._leases.hold(Lease(token, policy, float(ttl), float(limit), float(sent)), now)
                if word == "held" and not changes:
                    self._give(token, CONTINUE, now)  # its lease may have been renewed since it was frozen
                self._changed(changes, now)
            case ["renewed", sent, *tokens]:
                self._changed(self._leases.renewed(tuple(tokens), float(sent), now), now)
            case ["lost", token]:
                self._changed(self._leases.lost(token), now)
            case ["done", token]:
                self._done(token, now)
            case ["group", token, pid]:
                self._groups.setdefault(token, {})[int(pid)] = None
                self._regroup(token, now)
            case ["ended", token, pid]:
                self._groups.get(token, {}).pop(int(pid), None)
                self._regroup(token, None)
            case ["sweep", prefix]:
                self._give(prefix.rstrip(ALL) + ALL, KILL, now)
            case ["sync", word]:
                self._syncs.append(word)
                self._answer()
            case _:
                raise ValueError(f"no such line: {text!r}")

    def closed(self, now: float) -> None:
        """The worker is gone, however it went: so is everything that belongs to its open tasks."""
        self._closed = True
        for token in list(self._groups):
            self._give(token, KILL, now)

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if not self._closed:
            self._changed(self._leases.tick(now), now)

    def next_deadline(self) -> float | None:
        """When `tick` should be called and `orders` looked at next; None: not before the worker says something."""
        times = [order.look_at for order in self._orders.values()]
        lease = None if self._closed else self._leases.next_deadline()
        if lease is not None:
            times.append(lease)
        return min(times, default=None)

    def orders(self, now: float) -> list[Order]:
        """Those that must be looked after."""
        return [order for order in self._orders.values() if order.look_at <= now]

    def looked(self, order: Order, touched: int, now: float) -> None:
        """So many processes were found that did not obey yet, and were sent the signal."""
        order.clean = 0 if touched else order.clean + 1
        order.look_at = now + order.pause
        order.pause = min(order.pause * 2, LONGEST_PAUSE)
        enough = {KILL: LOOKS_TO_BE_SURE, CONTINUE: LOOKS_TO_CONTINUE}.get(order.signal)
        if enough is not None and order.clean >= enough and self._orders.get(order.target) is order:
            del self._orders[order.target]
            self._answer()

    def _changed(self, changes: list[tuple[str, str]], now: float) -> None:
        for token, standing in changes:
            self._give(token, {VALID: CONTINUE, FROZEN: STOP, OVER: KILL}[standing], now)
            if standing == OVER:
                self.words.append(f"over {token}")

    def _give(self, target: str, signal: str, now: float) -> None:
        before = self._orders.get(target)
        if before is not None and before.signal in (signal, KILL):
            before.again(now)
            return
        self._orders[target] = Order(target, signal, tuple(self._groups.get(target, ())), now)

    def _done(self, token: str, now: float) -> None:
        self._leases.release(token)
        order = self._orders.get(token)
        if order is not None and order.signal == STOP:
            self._give(token, CONTINUE, now)  # nobody else would ever wake what it left
        self._groups.pop(token, None)

    def _regroup(self, token: str, now: float | None) -> None:
        order = self._orders.get(token)
        if order is not None:
            order.groups = tuple(self._groups.get(token, ()))
            if now is not None:
                order.again(now)

    def _answer(self) -> None:
        if any(target.endswith(ALL) for target in self._orders):
            return
        self.words += [f"ready {word}" for word in self._syncs]
        self._syncs.clear()
