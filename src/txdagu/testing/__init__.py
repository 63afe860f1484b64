"""
What tests need, ours and those of users: production code never imports this package.

`channel`, `store` and `processes` are providers in memory of our interfaces: whole flows are tested without sockets, files or
processes. `engine`, `coordinator` and `scheduling` put them together around the part under test; `scripted`, `coordinators`
and `recording` stand for a single neighbour and note what was asked of it; `dispatch`, `wire` and `echo` are short ways to drive
the cores and gRPC, `foreign` is a server that misbehaves.
`simulation` runs whole clusters in virtual time, with everything going wrong.
`programs` runs real ones for the few tests at the top.
"""
