"""
One file per kind of step: `command` for commands and scripts, `child` for runs of other DAGs (`remote` where those run on
a worker). Each is a coroutine that takes a `context.StepContext` and returns a `plan.StepEnd`.
"""
