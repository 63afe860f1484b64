"""
What tests need, ours and those of users: production code never imports this package.

In-memory providers of our interfaces (channel, store, process runner) make tests of whole flows possible without sockets,
files or processes; `programs` runs real ones for the few tests at the top.
"""
