"""
The machine below, as all services see it: its time, its threads, its files and the news of them.

`clock` is the one place where the time is read; `threads` takes work that blocks out of the reactor's way; `waiting` holds what
Deferreds lack; `repeating` does something again and again, whatever goes wrong with it, and `rounds` looks at many things
with one timer and one thread call; `files` makes directories and puts files in place whole; `notices` tells of changes at
`places`. Nothing here knows of DAGs, runs or the network.
"""
