"""
gRPC for Twisted: servers and channels over any stream endpoint. Knows nothing of DAGs.

The protocol itself is `txdagu.wire`, which does no I/O. Here it gets transports, time and coroutines. `server` has the
factory that a server endpoint listens with; `server_call` runs one handler per call, cancels it when the client is gone or
the deadline passes, and answers whatever it returns or raises. `channel` is the client: it connects when first needed, backs
off when that fails, and every call on it ends, whatever happens to the connection; `client_connection` and `client_call` are
its two halves. `health` and `reflection` are the standard services of those names, `rich_status` is about error details.

What clients may ask of a server is bounded by `limits`: `admission` counts connections, `slow_peers` ends what does not go
on, `complaints` keeps the log short.

Reactor, clock, randomness and endpoints are arguments. Hence TLS is the endpoint's affair, and tests join the two ends in
memory (`txdagu.testing.channel`).
"""
