"""
The coordinators of the cluster, as dispatchers, viewers and workers see them.

`interfaces` says what others may ask of them; `discovery` knows where they are (one address that was configured, or the living
in the registry) and keeps one channel to each, opened as `connecting` says; `coordinators` asks them: hands in tasks, follows
and cancels them, and lists the workers; `backoff` says how long to wait before asking again, `merging` makes one list of
workers out of several, and `statuses` puts states of runs into messages and takes them out.

Whether all this goes over TLS is decided in `security`, for coordinators too; `protection` makes what is needed for it and
watches the certificates.

A call that no coordinator answered is always an error that names each address and what was wrong there.
"""
