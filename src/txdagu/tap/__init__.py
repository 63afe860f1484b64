"""
What turns options into running roles, for `twistd dagu-…` and for the `dagu` command alike.

`options` derives the option parsers from the table in `txdagu.config.definitions`; `coordinator`, `worker` and `start_all` hold
one `Options` and one `makeService` each: options become `Settings`, settings become services. `role` is the parent of these
services: it starts them one after the other, stops them in reverse order and waits for each, turns signals into an
orderly end, and a failed start into one sentence and exit code 1. `process` is the little it needs from the operating system.
"""
