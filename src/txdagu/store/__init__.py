"""
How runs are kept, so that they outlive every process and others can read them.

`interfaces` is what the rest of the program sees: a store that begins attempts and answers questions, a sink that takes
what one attempt writes, and the queue. `shared_disk` provides them on a directory that all hosts see, in the format of
Dagu 1.30.2, so that both programs can share it.

From the bottom up: `layout` knows names; `stepjson`, `statusjson`, `dagjson` and `outputsjson` turn values into records and
back (states in `statusreading`), all of them pure. `messages` keeps conversations. `directories`, `dirlock`, `statusfile`,
`liveness` and `queuefiles` each do one kind of file work, `attempt` and `opening` write and begin attempts, and `runs` is
all of it for callers that may block, such as the command line; none of them knows Twisted. `watching` and `sink` put that
work into threads and tell watchers of changes: inotify makes it fast, a sweep each second makes it right. `dagfiles` finds
the file that a name means.
"""
