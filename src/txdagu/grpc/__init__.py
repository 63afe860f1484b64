"""
gRPC for Twisted: servers and channels over any stream endpoint. Knows nothing of DAGs.

The protocol itself is `txdagu.wire`, which does no I/O. Here it gets transports, time and coroutines. `server` has the
factory that a server endpoint listens with, `server_connection` one connection; `server_call` runs one handler per call,
cancels it when the client is gone or the deadline passes, and answers whatever it returns or raises; `context` is what the
handler sees. `channel` is the client: it connects when first needed, backs
off when that fails, and every call on it ends, whatever happens to the connection; `client_connection` and `client_call` are
its two halves. `health` and `reflection` are the standard services of those names, `rich_status` is about error details.

What clients may ask of a server is bounded by `limits`: `admission` counts connections, `slow_peers` ends what does not go
on, `complaints` keeps the log short.

Reactor, clock, randomness and endpoints are arguments. Hence TLS is the endpoint's affair, and tests join the two ends in
memory (`txdagu.testing.channel`). `tls` makes of files what protects connections, and reads them again when they change;
`tls_endpoints` has the endpoints, `tls_protocol` one connection; `tls_failures` says why it could not be protected, and
`certificates` what is wrong with files. `clear_text` is the endpoint without TLS.

`probe` finds out what is behind an address: `greeting` is what it says there, `tls_sight` what it sees of TLS, `trust` whether
a chain of certificates leads to an authority.
"""
