"""
Takes runs out of the queues and sees to it that each is executed, here or on a worker.

Of several schedulers over one data directory one leads: `lockdir` is the lock that they share with Dagu 1.30.2,
`leadership` holds it and knows when it no longer may. `consumer` looks at the queues whenever they change and starts
as many runs as each allows; `carrier` carries one run from its queue item to its end. `service` puts them together
with the registry entry.
"""
