"""
The worker: takes tasks from coordinators and runs them here.

For each coordinator there is a `session`: it beats every second (`heartbeat`), which also tells whether the
coordinator speaks our additions, and parks calls for work (`polling`) as far as there are free `slots`. An offered
task is confirmed, made into a run and followed to its end by `tasks`; `requests` makes the run out of the task,
`running` is the table of what is in hand, `reports` tells the owner how a run ended. `holding` is a slot as the
engine sees it, `identity` says who we are, `surroundings` is what all parts work with, `complaints` keeps lasting
trouble from filling the log. `service` starts and stops it all in order: a worker that is told to leave takes nothing
new, lets running tasks end for a while, hands back those that do not, and says good-bye.

A 1.30.2 coordinator gets one parked call per free slot and no confirmation, because it knows neither.
"""
