"""
The reaper: a tiny process beside a worker, or beside a run in the foreground, that outlives it by moments.

It shares nothing with it but a socket. `leases` is the arithmetic of leases and their freezing, the same for the worker and
for the reaper; `core` is what the reaper knows and decides; `strays` finds and signals processes; `__main__` is the loop
around them. Nothing here needs more than the standard library, and little of that, so that it starts fast and stays small.
"""
