"""
Runs one DAG: which step is next, what its text means, its process, its output, its end.

`plan` is the core that knows the order of steps and the state of the run; `evaluation` turns written text into what a shell
receives. Neither knows files, time or Twisted. `engine` is the way in: it starts a `run`, which opens an attempt in the
store, asks the core what to do, and executes each step with one of `steps` (`command`, `script` and `child`). `processes`
starts programs as groups of their own, with their output straight in the log files, and learns of their end through a
pidfd. `slot` gives a worker's slot back while a run only waits for children elsewhere; `outputs` reads what a step
printed; `runlog` words the lines of the run's log.
"""
