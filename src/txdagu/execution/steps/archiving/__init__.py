"""
The program that an ``archive`` step runs: zip and tar files created, extracted and listed.

`options` is what the step asks for; `formats` says which format a name or a file has; `members` is what is in an archive,
`reading` and `writing` its two ways in and out. `creation`, `extraction` and `listing` are the operations, `paths` decides which
members take part and where one may be put. Everything blocks, and nothing of Twisted is imported: each step runs this
in a process of its own.
"""
