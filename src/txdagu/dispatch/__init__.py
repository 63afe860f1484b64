"""
Which task runs on which worker, decided without a clock, a socket or a file.

`machine` is the law: one table says what may happen to a task in which state, what follows, and the sentence that
explains it. `core` receives what arrives from outside (a task, a waiting poll, an acknowledgement, a heartbeat, the
time) and returns a `turn.Turn`: entries for the journal, to be committed first, effects to perform after that, and
the answer to give last. Of its parts, `lifecycle` moves tasks, `membership` knows the workers, and `maintenance`
cordons and drains them. `records` are
the core's notes on tasks and workers; `placement` finds the task for a worker and the worker for a task; `matching`
says in words why a worker may or may not take a task; `leases` keeps deadlines; `history` remembers ended tasks for a
while; `journal` is where transitions are kept so that none is lost with the process. `routing` decides whether work
needs a worker at all.

Every `now` is in seconds of one monotonic clock; no wall clock is ever compared.
"""
