"""
Runs one DAG: which step is next, what its text means, its process, its output, its end.

`plan` is the core that knows the order of steps and the state of the run; `evaluation` turns written text into what a shell
receives. Neither knows files, time or Twisted. `engine` is the way in (`assembly` makes one from the settings, `interfaces`
says what it needs from outside): it takes a `request` and starts a `run`, which opens an attempt in the store, lets
`preparation` evaluate env and params, and goes on a `walk` through the steps: the core says which, one of `steps` executes
each; `remote` follows a run that a worker executes, `backtick` runs commands in backticks. What happens is told to the
`record`, which writes states and the lines worded by `runlog`.

Mail is written by `message`, sent by `smtp` through `mailing`; `runmail` sends what `reports` says about a run.

`processes` starts programs as groups of their own, with their output straight in the log files, and learns of their end
through a pidfd; `groups` waits for all of a stopped group, `stop` carries the wish that something should end. `slot` gives a
worker's slot back while a run only waits for children elsewhere; `shells` chooses shells; `files` does what blocks.
"""
