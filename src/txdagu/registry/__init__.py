"""
Who is there: one small JSON file for each coordinator, scheduler, web server and worker in a directory that all can see.

`entries` turns an entry into a file's bytes and name and back, `files` does the blocking part; `publication` keeps
our own file there and fresh; `watching` tells soon when a directory changes; `membership` decides, by change alone
and never by comparing clocks of different hosts, who is alive, and `MembershipView` in `views` shows that to those
who ask; `cleaning` removes the files that the dead left. Files are how peers find each other. Whether a worker is
healthy is told by its RPC heartbeats, not here.

Layout, names and format are those of Dagu 1.30.2 (``internal/persistence/fileserviceregistry``), so that both
programs find each other; files of workers and web servers are our addition.
"""
