"""
Random faults for real processes, and the checker that judges what came of them.

`schedule` draws the faults from a seed, `checker` compares what was handed in with what processes wrote and with the
coordinator's journal; both are pure. `network` is what lies between coordinator and workers, `cluster` the processes, `suite`
one run of all. ``python -m txdagu.testing.faults --help`` runs it.
"""
